#include "config/config_reader.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "config/units.h"
#include "config/validation.h"
#include "config/yaml_walker.h"

namespace tailrace::config {
namespace {

template <typename T>
struct Word {
  std::string_view text;
  T value;
};

constexpr std::array<Word<Binary>, 3> binaries{
    {{"auto", Binary::automatic}, {"on", Binary::on}, {"off", Binary::off}}};
constexpr std::array<Word<Origin>, 2> origins{{{"any", Origin::any}, {"none", Origin::none}}};
constexpr std::array<Word<SchemaMode>, 2> schema_modes{
    {{"copy", SchemaMode::copy}, {"expect", SchemaMode::expect}}};
constexpr std::array<Word<OnError>, 2> errors{{{"stop", OnError::stop}, {"quarantine", OnError::quarantine}}};
constexpr std::array<Word<ThenBad>, 2> thens{{{"hold", ThenBad::hold}, {"continue", ThenBad::go_on}}};
constexpr std::array<Word<OnSchemaError>, 2> schema_errors{
    {{"hold", OnSchemaError::hold}, {"stop", OnSchemaError::stop}}};
constexpr std::array<Word<ToastCompression>, 2> compressions{
    {{"lz4", ToastCompression::lz4}, {"server", ToastCompression::server}}};
constexpr std::array<Word<ConflictPolicy>, 5> policies{
    {{"error", ConflictPolicy::error},
     {"apply_remote", ConflictPolicy::apply_remote},
     {"keep_local", ConflictPolicy::keep_local},
     {"last_update_wins", ConflictPolicy::last_update_wins},
     {"first_update_wins", ConflictPolicy::first_update_wins}}};
constexpr std::array<Word<InsertPolicy>, 4> insert_policies{{{"by_policy", InsertPolicy::by_policy},
                                                             {"update", InsertPolicy::update},
                                                             {"nothing", InsertPolicy::nothing},
                                                             {"error", InsertPolicy::error}}};
constexpr std::array<Word<log::Level>, 4> levels{{{"debug", log::Level::debug},
                                                  {"info", log::Level::info},
                                                  {"warn", log::Level::warn},
                                                  {"error", log::Level::error}}};
constexpr std::array<Word<ChosenType::Misfit>, 2> misfits{
    {{"text", ChosenType::Misfit::text}, {"error", ChosenType::Misfit::error}}};
constexpr std::array<Word<log::Format>, 2> formats{{{"text", log::Format::text}, {"json", log::Format::json}}};

template <typename T, std::size_t N>
std::string_view word_of(const std::array<Word<T>, N>& words, T value) {
  for (const auto& word : words)
    if (word.value == value) return word.text;
  return "?";
}

template <typename T, std::size_t N>
auto one_of(const std::array<Word<T>, N>& words) {
  return [&words](const std::string& text) -> std::expected<T, std::string> {
    std::string all;
    for (const auto& word : words) {
      if (word.text == text) return word.value;
      all += (all.empty() ? "" : ", ") + std::string(word.text);
    }
    return std::unexpected(fmt::format("must be one of: {}", all));
  };
}

std::expected<Lsn, std::string> parse_lsn(const std::string& text) {
  if (auto lsn = Lsn::parse(text); lsn && lsn->valid()) return *lsn;
  return std::unexpected("must be a position as pg_current_wal_insert_lsn() prints it, such as 16/B374D848");
}

/// As chmod takes it. Whoever keeps a file in step reads and writes it, and nobody executes it.
std::expected<unsigned, std::string> parse_file_mode(const std::string& text) {
  unsigned mode = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  bool whole = error == std::errc() && end == text.data() + text.size();
  if (whole && (mode & 0600U) == 0600U && (mode & ~0666U) == 0) return mode;
  return std::unexpected(
      "must be permissions as chmod takes them that leave reading and writing to the owner, "
      "such as 0600 or 0640");
}

/// The whole of a small file without its last line break.
std::expected<std::string, std::string> read_secret(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || file.bad()) return std::unexpected(fmt::format("cannot read the file {}", path));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

/// `conninfo` with this password in place of any other, in its own notation.
std::string with_password(std::string conninfo, std::string_view password) {
  if (conninfo.contains("://")) {
    conninfo += conninfo.contains('?') ? "&password=" : "?password=";
    for (char c : password) conninfo += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    return conninfo;
  }
  conninfo += " password='";
  for (char c : password) {
    if (c == '\'' || c == '\\') conninfo += '\\';
    conninfo += c;
  }
  return conninfo + "'";
}

class Reader {
 public:
  explicit Reader(const std::string& file)
      : walker_(file), folder_(std::filesystem::path(file).parent_path()) {}

  std::expected<Config, Problems> read(const std::string& yaml) {
    try {
      root(YAML::Load(yaml));
    } catch (const YAML::Exception& error) {
      walker_.problem(error.mark, "", syntax_hint(error.msg));
    }
    // What is derived from a broken part would only repeat its problem in other words.
    walker_.place(complete(config_));
    if (walker_.failed()) return std::unexpected(walker_.take_problems());
    return std::move(config_);
  }

 private:
  using Field = YamlWalker::Field;
  using Node = YAML::Node;

  static std::string syntax_hint(const std::string& message) {
    bool star = message.contains("alias") || message.contains("anchor");
    return message + (star ? "; put patterns that begin with * or ! in double quotes" : "");
  }

  void root(const Node& node) {
    walker_.mapping(
        node, "",
        {string("name", config_.name),
         string("source", config_.source),
         string("source_file", source_file_),
         string("password_file", password_file_),
         {"target",
          [this](const Node& n, const std::string& p) {
            assign(config_.target, walker_.parsed(n, p, parse_target));
          }},
         {"slot", [this](const Node& n, const std::string& p) { slot(n, p); }},
         {"publication", [this](const Node& n, const std::string& p) { publication(n, p); }},
         {"tables", [this](const Node& n, const std::string& p) { tables(n, p); }},
         {"types", [this](const Node& n, const std::string& p) { types(n, p); }},
         word("origin", config_.origin, origins),
         {"schema", [this](const Node& n, const std::string& p) { schema(n, p); }},
         {"sequences", [this](const Node& n, const std::string& p) { sequences(n, p); }},
         word("on_error", config_.on_error, errors),
         word("on_schema_error", config_.on_schema_error, schema_errors),
         section("quarantine", {word("then", config_.quarantine.then, thens)}),
         word("binary", config_.binary, binaries),
         boolean("streaming", config_.streaming),
         string("spool", config_.spool),
         section("snapshot",
                 {boolean("enabled", config_.snapshot.enabled), integer("readers", config_.snapshot.readers)}),
         {"start_lsn",
          [this](const Node& n, const std::string& p) {
            if (auto lsn = walker_.parsed(n, p, parse_lsn)) config_.start_lsn = *lsn;
          }},
         section("apply", {integer("connections", config_.apply.connections),
                           word("toast_compression", config_.apply.toast_compression, compressions)}),
         section("limits",
                 {size("memory", config_.limits.memory), size("queue", config_.limits.queue),
                  size("batch", config_.limits.batch), size("duckdb_memory", config_.limits.duckdb_memory),
                  size("backlog", config_.limits.backlog)}),
         section("intervals", {duration("status", config_.intervals.status)}),
         section("connect", {duration("timeout", config_.connect.timeout),
                             duration("backoff_min", config_.connect.backoff_min),
                             duration("backoff_max", config_.connect.backoff_max)}),
         section("conflicts",
                 {word("policy", config_.conflicts.rules.policy, policies),
                  word("inserts", config_.conflicts.rules.inserts, insert_policies),
                  word("log", config_.conflicts.log, levels),
                  boolean("record", config_.conflicts.record),
                  duration("keep_deletions", config_.conflicts.keep_deletions),
                  {"tables", [this](const Node& n, const std::string& p) { conflict_tables(n, p); }}}),
         section("log",
                 {word("level", config_.log.level, levels), word("format", config_.log.format, formats)}),
         {"file_mode",
          [this](const Node& n, const std::string& p) {
            if (auto mode = walker_.parsed(n, p, parse_file_mode)) config_.file_mode = mode;
          }},
         string("control_socket", config_.control_socket),
         {"http", [this](const Node& n, const std::string& p) {
            if (auto address = walker_.parsed(n, p, parse_listen_address)) config_.http = *address;
          }}});
    secrets(node);
  }

  void secrets(const Node& node) {
    auto load = [&](const std::string& file, const char* field) -> std::optional<std::string> {
      if (file.empty()) return std::nullopt;
      auto path = std::filesystem::path(file).is_absolute() ? std::filesystem::path(file) : folder_ / file;
      auto secret = read_secret(path.string());
      if (secret) return std::move(*secret);
      walker_.problem(node[field], field, secret.error());
      return std::nullopt;
    };
    if (!source_file_.empty() && !config_.source.empty())
      walker_.problem(node["source_file"], "source_file", "give either source or source_file");
    assign(config_.source, load(source_file_, "source_file"));
    auto password = load(password_file_, "password_file");
    if (!password) return;
    if (config_.source.empty())
      walker_.problem(node["password_file"], "password_file", "needs source or source_file beside it");
    else
      config_.source = with_password(std::move(config_.source), *password);
  }

  void slot(const Node& node, const std::string& path) {
    if (node.IsScalar()) return assign(config_.slot.name, walker_.text(node, path));
    walker_.mapping(
        node, path,
        {string("name", config_.slot.name), boolean("create", config_.slot.create),
         boolean("failover", config_.slot.failover), boolean("acknowledge", config_.slot.acknowledge),
         size("wal_room", config_.slot.wal_room)});
  }

  void schema(const Node& node, const std::string& path) {
    auto mode = word("mode", config_.schema.mode, schema_modes);
    if (node.IsScalar()) return mode.read(node, path);
    walker_.mapping(
        node, path,
        {mode, boolean("owners", config_.schema.owners), boolean("privileges", config_.schema.privileges),
         boolean("trust_source", config_.schema.trust_source)});
  }

  void sequences(const Node& node, const std::string& path) {
    auto enabled = boolean("enabled", config_.sequences.enabled);
    if (node.IsScalar()) return enabled.read(node, path);
    walker_.mapping(node, path,
                    {enabled, integer("margin", config_.sequences.margin),
                     duration("interval", config_.sequences.interval)});
  }

  void publication(const Node& node, const std::string& path) {
    auto names = [this](const Node& n, const std::string& p) { publication_names(n, p); };
    if (!node.IsMap()) return names(node, path);
    walker_.mapping(node, path,
                    {{"name", names},
                     boolean("create", config_.publication.create),
                     boolean("via_partition_root", config_.publication.via_partition_root)});
  }

  void publication_names(const Node& node, const std::string& path) {
    config_.publication.names.clear();
    auto add = [&](const Node& n) {
      if (auto name = walker_.text(n, path)) config_.publication.names.push_back(std::move(*name));
    };
    if (!node.IsSequence()) return add(node);
    if (node.size() == 0) walker_.problem(node, path, "must be a publication's name, or a list of names");
    for (const Node& entry : node) add(entry);
  }

  void tables(const Node& node, const std::string& path) {
    if (node.IsScalar()) return rule(node, path);
    if (!node.IsSequence()) return walker_.problem(node, path, "must be a list of patterns such as public.*");
    int index = 0;
    for (const Node& entry : node) rule(entry, fmt::format("{}[{}]", path, index++));
  }

  void rule(const Node& node, const std::string& path) {
    TableRule rule;
    std::optional<TablePattern> pattern;
    // An unquoted !public.audit_* is a YAML tag on an empty text. What is meant is clear, so it is taken. (A
    // quoted text has the tag "!".)
    if (const std::string& tag = node.Tag(); tag.size() > 1 && tag.starts_with('!')) {
      if (!node.IsScalar() || !node.Scalar().empty())
        return walker_.problem(node, path, fmt::format("write \"{}\" in quotes, on a line of its own", tag));
      auto parsed = TablePattern::parse(tag);
      if (!parsed) return walker_.problem(node, path, parsed.error());
      pattern = std::move(*parsed);
    } else if (node.IsMap()) {
      walker_.mapping(node, path,
                      {{"table",
                        [&](const Node& n, const std::string& p) {
                          pattern =
                              walker_.parsed(n, p, [](const std::string& t) { return TablePattern::parse(t); });
                        }},
                       {"columns", [&](const Node& n, const std::string& p) { columns(n, p, rule); }},
                       string("where", rule.where)});
      if (!node["table"]) walker_.problem(node, path, "needs 'table', a pattern such as public.orders");
    } else {
      pattern = walker_.parsed(node, path, [](const std::string& t) { return TablePattern::parse(t); });
    }
    if (!pattern) return;
    if (pattern->excludes() && (!rule.columns.empty() || !rule.where.empty()))
      walker_.problem(node, path, "an excluded table takes neither columns nor where");
    rule.pattern = std::move(*pattern);
    config_.tables.rules.push_back(std::move(rule));
  }

  void types(const Node& node, const std::string& path) {
    if (!node.IsSequence())
      return walker_.problem(node, path, "must be a list of entries with type or column, and as");
    int index = 0;
    for (const Node& entry : node) {
      auto place = fmt::format("{}[{}]", path, index++);
      TypeRule rule;
      std::optional<ChosenType> becomes;
      auto misfit = ChosenType::Misfit::text;
      walker_.mapping(
          entry, place,
          {{"column",
            [&](const Node& n, const std::string& p) {
              rule.column = walker_.parsed(n, p, [](const std::string& t) { return ColumnPattern::parse(t); });
            }},
           string("type", rule.type),
           {"as",
            [&](const Node& n, const std::string& p) {
              becomes = walker_.parsed(n, p, [](const std::string& t) { return ChosenType::parse(t); });
            }},
           word("misfit", misfit, misfits)});
      if (!entry.IsMap() || !entry["as"] ||
          static_cast<bool>(entry["column"]) == static_cast<bool>(entry["type"])) {
        walker_.problem(entry, place, "needs 'as', and either 'type' (such as numeric) or 'column'");
      } else if (becomes && (rule.column || !rule.type.empty())) {
        rule.becomes = *becomes;
        rule.becomes.misfit = misfit;
        config_.types.push_back(std::move(rule));
      }
    }
  }

  void conflict_tables(const Node& node, const std::string& path) {
    if (!node.IsSequence())
      return walker_.problem(node, path, "must be a list of entries with table, and policy or inserts");
    int index = 0;
    for (const Node& entry : node) {
      auto place = fmt::format("{}[{}]", path, index++);
      std::optional<TablePattern> pattern;
      ConflictSettings::Override rule;
      walker_.mapping(
          entry, place,
          {{"table",
            [&](const Node& n, const std::string& p) {
              pattern = walker_.parsed(n, p, [](const std::string& t) { return TablePattern::parse(t); });
              if (pattern && pattern->excludes()) walker_.problem(n, p, "must not exclude");
            }},
           {"policy",
            [&](const Node& n, const std::string& p) { rule.policy = walker_.parsed(n, p, one_of(policies)); }},
           {"inserts", [&](const Node& n, const std::string& p) {
              rule.inserts = walker_.parsed(n, p, one_of(insert_policies));
            }}});
      if (!entry.IsMap() || !entry["table"]) {
        walker_.problem(entry, place, "needs 'table', a pattern such as public.orders");
      } else if (pattern) {
        rule.pattern = std::move(*pattern);
        config_.conflicts.tables.push_back(std::move(rule));
      }
    }
  }

  void columns(const Node& node, const std::string& path, TableRule& rule) {
    if (!node.IsSequence() || node.size() == 0)
      return walker_.problem(node, path, "must be a list of column names");
    for (const Node& entry : node)
      if (auto name = walker_.text(entry, path)) rule.columns.push_back(std::move(*name));
  }

  template <typename T>
  static void assign(T& field, std::optional<T> value) {
    if (value) field = std::move(*value);
  }

  Field string(std::string_view key, std::string& field) {
    return {key, [this, &field](const Node& n, const std::string& p) { assign(field, walker_.text(n, p)); }};
  }
  Field boolean(std::string_view key, bool& field) {
    return {key, [this, &field](const Node& n, const std::string& p) { assign(field, walker_.boolean(n, p)); }};
  }
  Field boolean(std::string_view key, std::optional<bool>& field) {
    return {key, [this, &field](const Node& n, const std::string& p) {
              if (auto value = walker_.boolean(n, p)) field = value;
            }};
  }
  template <typename Integer>
  Field integer(std::string_view key, Integer& field) {
    return {key, [this, &field](const Node& n, const std::string& p) {
              if (auto value = walker_.integer(n, p)) field = *value;
            }};
  }
  Field size(std::string_view key, std::uint64_t& field) {
    return {key, [this, &field](const Node& n, const std::string& p) {
              assign(field, walker_.parsed(n, p, parse_size));
            }};
  }
  Field duration(std::string_view key, Milliseconds& field) {
    return {key, [this, &field](const Node& n, const std::string& p) {
              assign(field, walker_.parsed(n, p, parse_duration));
            }};
  }
  template <typename T, std::size_t N>
  Field word(std::string_view key, T& field, const std::array<Word<T>, N>& words) {
    return {key, [this, &field, &words](const Node& n, const std::string& p) {
              assign(field, walker_.parsed(n, p, one_of(words)));
            }};
  }
  Field section(std::string_view key, std::vector<Field> fields) {
    return {key, [this, fields = std::move(fields)](const Node& n, const std::string& p) {
              walker_.mapping(n, p, fields);
            }};
  }

  YamlWalker walker_;
  std::filesystem::path folder_;
  Config config_;
  std::string source_file_;
  std::string password_file_;
};

}  // namespace

std::string Problem::str() const {
  std::string out;
  if (!file.empty()) out += line > 0 ? fmt::format("{}:{}:{}: ", file, line, column) : file + ": ";
  if (!field.empty()) out += field + ": ";
  return out + what;
}

std::expected<Config, Problems> read_file(const std::string& path) {
  auto text = read_secret(path);
  if (!text) return std::unexpected(Problems{{"", text.error(), "", 0, 0}});
  return read_text(*text, path);
}

std::expected<Config, Problems> read_text(const std::string& text, const std::string& file) {
  return Reader(file).read(text);
}

std::string join(const Problems& problems) {
  std::string out;
  for (const Problem& problem : problems) out += (out.empty() ? "" : "\n") + problem.str();
  return out;
}

std::string_view to_string(Binary binary) {
  return word_of(binaries, binary);
}
std::string_view to_string(Origin origin) {
  return word_of(origins, origin);
}
std::string_view to_string(SchemaMode mode) {
  return word_of(schema_modes, mode);
}
std::string_view to_string(OnError on_error) {
  return word_of(errors, on_error);
}
std::string_view to_string(ThenBad then) {
  return word_of(thens, then);
}
std::string_view to_string(OnSchemaError on_schema_error) {
  return word_of(schema_errors, on_schema_error);
}
std::string_view to_string(ToastCompression compression) {
  return word_of(compressions, compression);
}
std::string_view to_string(ChosenType::Misfit misfit) {
  return word_of(misfits, misfit);
}
std::string_view to_string(log::Level level) {
  return word_of(levels, level);
}
std::string_view to_string(log::Format format) {
  return word_of(formats, format);
}

}  // namespace tailrace::config
