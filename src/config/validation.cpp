#include "config/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "config/units.h"
#include "pg/connection.h"

namespace tailrace::config {
namespace {

bool lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/// Slot names allow less than anything else that the name becomes.
std::string slot_name_from(const std::string& name) {
  std::string out;
  for (char c : name) {
    char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    out += lower_or_digit(lower) ? lower : '_';
  }
  return out;
}

class Judge {
 public:
  explicit Judge(const Config& config) : config_(config) {}

  Problems all(Needs needs) {
    if (needs.source && config_.source.empty())
      add("source", "is missing: give a PostgreSQL URL such as postgres://user@host/database");
    if (needs.target && !config_.target.given())
      add("target", "is missing: give a target such as duckdb:shop.duckdb");
    if (config_.target.kind == "duckdb" && std::filesystem::is_directory(config_.target.path, failed_))
      add("target", fmt::format("{0} is a directory: name a file in it, such as duckdb:{0}/shop.duckdb",
                                config_.target.path));
    names();
    tables();
    if (config_.on_error == OnError::quarantine && config_.target.given() && config_.target.kind != "postgres")
      add("on_error", "quarantine is for PostgreSQL targets; a DuckDB file takes every change");
    if (!config_.spool.empty() && !std::filesystem::is_directory(config_.spool))
      add("spool", fmt::format("{} is no directory", config_.spool));
    if (config_.start_lsn && config_.snapshot.enabled)
      add("start_lsn", "says as of when rows are that are there already: it needs snapshot: {enabled: off}");
    if (!config_.types.empty() && config_.target.kind == "postgres")
      add("types", "is for a DuckDB file: a PostgreSQL database has the source's types");
    if (config_.file_mode && config_.target.kind == "postgres")
      add("file_mode", "is for a DuckDB file, and the target is a PostgreSQL database");
    structure();
    numbers();
    limits();
    if (config_.target.kind == "duckdb" && !config_.conflicts.is_default())
      add("conflicts", "is for a PostgreSQL target: nobody else writes to a DuckDB file");
    at_least("conflicts.keep_deletions", config_.conflicts.keep_deletions, Milliseconds(60'000));
    return std::move(problems_);
  }

 private:
  void add(std::string field, std::string what) {
    problems_.push_back({std::move(field), std::move(what), "", 0, 0});
  }

  void names() {
    auto name_character = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
    };
    if (config_.name.empty() || config_.name.size() > 63 || !std::ranges::all_of(config_.name, name_character))
      add("name", "must be 1 to 63 letters, digits, - or _");
    const std::string& slot = config_.slot.name;
    auto slot_character = [](char c) { return lower_or_digit(c) || c == '_'; };
    if (slot.size() > 63 || !std::ranges::all_of(slot, slot_character))
      add("slot.name", "must be at most 63 lower-case letters, digits or _ (PostgreSQL's rule for slots)");
    auto publications = config_.publication.names;
    for (const std::string& name : publications)
      if (name.empty() || name.size() > 63) add("publication.name", "must be 1 to 63 bytes");
    if (publications.size() > 1 && config_.publication.create.value_or(false))
      add("publication.create",
          "tailrace makes one publication of its own; several are existing ones: set it to off");
    std::ranges::sort(publications);
    if (auto twice = std::ranges::adjacent_find(publications); twice != publications.end())
      add("publication.name", fmt::format("'{}' is listed twice", *twice));
  }

  void tables() {
    const auto& rules = config_.tables.rules;
    for (std::size_t i = 0; i < rules.size(); ++i) {
      std::string field = fmt::format("tables[{}]", i);
      auto columns = rules[i].columns;
      std::ranges::sort(columns);
      if (auto twice = std::ranges::adjacent_find(columns); twice != columns.end())
        add(field, fmt::format("column '{}' is listed twice", *twice));
      bool options = !rules[i].columns.empty() || !rules[i].where.empty();
      if (options && !makes_publication(config_))
        add(field, "columns and where go into the publication, and existing publications are left alone");
    }
  }

  void structure() {
    bool duckdb = config_.target.kind == "duckdb";
    for (auto [field, wanted] : {std::pair("schema.owners", config_.schema.owners),
                                 std::pair("schema.privileges", config_.schema.privileges)}) {
      if (!wanted) continue;
      if (duckdb) add(field, "a DuckDB file has none: for PostgreSQL targets only");
      if (config_.schema.mode == SchemaMode::expect) add(field, "nothing is made with mode: expect");
    }
    if (duckdb && config_.sequences.enabled.value_or(false))
      add("sequences.enabled", "a DuckDB file has no sequences to set: for PostgreSQL targets only");
    if (config_.origin == Origin::none && config_.sequences.enabled.value_or(false))
      add("sequences.enabled",
          "with origin: none, two databases would drive each other's sequences on and on; give each its own "
          "numbers "
          "instead, such as odd and even");
  }

  void numbers() {
    if (config_.sequences.margin < 0) add("sequences.margin", "must not be negative");
    at_least("sequences.interval", config_.sequences.interval, Milliseconds(100));
    if (config_.snapshot.readers < 1 || config_.snapshot.readers > 64)
      add("snapshot.readers", "must be between 1 and 64");
    if (config_.apply.connections < 1 || config_.apply.connections > 16)
      add("apply.connections", "must be between 1 and 16");
    at_least("intervals.status", config_.intervals.status, Milliseconds(100));
    at_least("connect.timeout", config_.connect.timeout, Milliseconds(1000));
    at_least("connect.backoff_min", config_.connect.backoff_min, Milliseconds(1));
    if (config_.connect.backoff_max < config_.connect.backoff_min)
      add("connect.backoff_max", "must not be less than connect.backoff_min");
  }

  void at_least(std::string field, Milliseconds value, Milliseconds least) {
    if (value < least) add(std::move(field), fmt::format("must be at least {}", format_duration(least)));
  }

  void limits() {
    const Limits& limits = config_.limits;
    constexpr std::uint64_t least_memory = 128ULL << 20, least_part = 1ULL << 20, least_duckdb = 64ULL << 20;
    if (limits.memory < least_memory)
      return add("limits.memory", fmt::format("must be at least {}", format_size(least_memory)));
    if (limits.queue < least_part) add("limits.queue", "must be at least 1MB");
    if (limits.batch < least_part) add("limits.batch", "must be at least 1MB");
    if (limits.duckdb_memory < least_duckdb)
      add("limits.duckdb_memory", fmt::format("must be at least {}", format_size(least_duckdb)));
    std::uint64_t parts = limits.queue + limits.batch + limits.duckdb_memory;
    if (parts > limits.memory)
      add("limits.memory", fmt::format("is {}, but queue, batch and duckdb_memory together are {}",
                                       format_size(limits.memory), format_size(parts)));
  }

  const Config& config_;
  Problems problems_;
  std::error_code failed_;  ///< nobody asks why
};

}  // namespace

Problems complete(Config& config, Needs needs) {
  if (config.slot.name.empty()) config.slot.name = slot_name_from(config.name);
  if (config.publication.names.empty()) config.publication.names = {config.name};
  // Half for DuckDB, an eighth each for what waits and for what is being applied; the last quarter holds the
  // program itself, libpq's buffers and the snapshot readers.
  if (config.limits.queue == 0) config.limits.queue = config.limits.memory / 8;
  if (config.limits.batch == 0) config.limits.batch = config.limits.memory / 8;
  if (config.limits.duckdb_memory == 0) config.limits.duckdb_memory = config.limits.memory / 2;
  return Judge(config).all(needs);
}

std::string publication_names(const Config& config) {
  return fmt::format("{}", fmt::join(config.publication.names, ", "));
}

std::string spool_directory(const Config& config) {
  if (!config.spool.empty()) return config.spool;
  if (config.target.kind == "duckdb") {
    auto folder = std::filesystem::path(config.target.path).parent_path();
    return folder.empty() ? "." : folder.string();
  }
  const char* directory = std::getenv("TMPDIR");
  return directory != nullptr && *directory != '\0' ? directory : "/var/tmp";
}

std::string Target::url() const {
  return kind == "postgres" ? pg::redact(path) : kind + ":" + path;
}

std::expected<Target, std::string> parse_target(const std::string& url) {
  if (url.starts_with("postgres://") || url.starts_with("postgresql://")) return Target{"postgres", url};
  constexpr std::string_view scheme = "duckdb:";
  if (!url.starts_with(scheme)) {
    // What may be a connection string is not repeated: a password may stand in it.
    bool plain_file = url.find_first_of(":=@") == std::string::npos;
    return std::unexpected(plain_file ? fmt::format("must say what it is: write duckdb:{}", url)
                                      : "must be duckdb:FILE or postgres://..., such as duckdb:shop.duckdb");
  }
  std::string path = url.substr(scheme.size());
  if (path.contains("password=") || path.contains("://"))
    return std::unexpected(
        "must name a file; a PostgreSQL target is a URL, such as postgres://user@host/database");
  constexpr std::array elsewhere = {
      "md:",    "motherduck:", "s3:",    "gs:", "gcs:",      "r2:",    "az:",    "azure:",
      "abfss:", "http:",       "https:", "hf:", "ducklake:", "mysql:", "sqlite:"};
  for (std::string_view scheme_of : elsewhere)
    if (path.starts_with(scheme_of))
      return std::unexpected(fmt::format(
          "must name a file of this host; to keep one of the name {0}... write duckdb:./{0}...", scheme_of));
  if (path.starts_with("///")) path.erase(0, 2);
  if (path.empty() || path == ":memory:" || path.ends_with('/'))
    return std::unexpected("must name a file, such as duckdb:shop.duckdb");
  return Target{"duckdb", std::move(path)};
}

}  // namespace tailrace::config
