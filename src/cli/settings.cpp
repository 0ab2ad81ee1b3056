#include <cstdlib>

#include "cli/command.h"
#include "config/units.h"
#include "pg/connection.h"
#include "pg/message_socket.h"

namespace tailrace::cli {
namespace {

template <typename T>
void assign_word(T& field, const std::string& text, std::initializer_list<T> values, const char* flag,
                 config::Problems& problems) {
  if (text.empty()) return;
  std::string known;
  for (T value : values) {
    if (config::to_string(value) == text) {
      field = value;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(config::to_string(value));
  }
  problems.push_back({flag, "must be one of: " + known, "", 0, 0});
}

/// Names that only derive from the old name follow the new one; those that the file says stay.
void rename(config::Config& config, const std::string& name) {
  config::Config derived;
  derived.name = config.name;
  config::complete(derived);
  if (config.slot.name == derived.slot.name) config.slot.name.clear();
  if (config.publication.names == derived.publication.names) config.publication.names.clear();
  config.name = name;
}

void overlay(const Options& options, config::Config& config, config::Problems& problems) {
  auto text = [](std::string& field, const std::string& given) {
    if (!given.empty()) field = given;
  };
  if (!options.name.empty()) rename(config, options.name);
  text(config.source, options.source);
  text(config.slot.name, options.slot);
  if (!options.publications.empty()) config.publication.names = options.publications;
  assign_word(config.origin, options.origin, {config::Origin::any, config::Origin::none}, "--origin", problems);
  if (options.readers != 0) config.snapshot.readers = options.readers;
  if (!options.memory.empty()) {
    if (auto size = config::parse_size(options.memory))
      config.limits = config::Limits{*size, 0, 0, 0};  // the shares are derived anew: the file's may not fit
    else
      problems.push_back({"--memory", size.error(), "", 0, 0});
  }
  if (!options.http.empty()) {
    if (auto address = config::parse_listen_address(options.http))
      config.http = *address;
    else
      problems.push_back({"--http", address.error(), "", 0, 0});
  }
  if (!options.tables.empty()) config.tables.rules.clear();
  for (const std::string& pattern : options.tables) {
    if (auto parsed = TablePattern::parse(pattern))
      config.tables.rules.push_back({std::move(*parsed), {}, {}});
    else
      problems.push_back({"--table", parsed.error(), "", 0, 0});
  }
  assign_word(config.log.level, options.log_level,
              {log::Level::debug, log::Level::info, log::Level::warn, log::Level::error}, "--log-level",
              problems);
  assign_word(config.log.format, options.log_format, {log::Format::text, log::Format::json}, "--log-format",
              problems);
}

void take_target(const std::string& url, config::Config& config, config::Problems& problems) {
  if (auto target = config::parse_target(url))
    config.target = std::move(*target);
  else
    problems.push_back({"target", target.error(), "", 0, 0});
}

}  // namespace

config::Config load(const Options& given, config::Needs needs) {
  Options options = given;
  // `tailrace verify duckdb:shop.duckdb`: the one thing said is no source.
  if (options.target.empty() && options.source.starts_with("duckdb:"))
    std::swap(options.source, options.target);
  config::Config config;
  if (!options.config_file.empty()) {
    auto read = config::read_file(options.config_file);
    if (!read) throw UsageProblems{read.error()};
    config = std::move(*read);
  }
  config::Problems problems;
  overlay(options, config, problems);
  if (!options.target.empty()) take_target(options.target, config, problems);
  const char* source = std::getenv("TAILRACE_SOURCE");
  if (config.source.empty() && source != nullptr) config.source = source;
  const char* target = std::getenv("TAILRACE_TARGET");
  if (!config.target.given() && options.target.empty() && target != nullptr)
    take_target(target, config, problems);
  auto connects = [&](const char* field, const std::string& conninfo) {
    if (conninfo.empty()) return;
    if (auto problem = pg::conninfo_problem(conninfo); !problem.empty())
      problems.push_back({field, problem, "", 0, 0});
  };
  connects("source", config.source);
  if (config.target.kind == "postgres") connects("target", config.target.path);
  // Where the target was given but is wrong, that it is missing would be a second word for one mistake.
  if (!problems.empty()) needs.target = needs.target && options.target.empty();
  for (auto& problem : config::complete(config, needs)) problems.push_back(std::move(problem));
  if (!problems.empty()) throw UsageProblems{std::move(problems)};
  log::configure(config.log.level, config.log.format);
  // What one message or one answer of a server may need: it is in memory twice for a moment.
  pg::set_largest_answer(config.limits.memory / 4);
  return config;
}

serve::SocketPlaces control_places(const config::Config& config) {
  if (!config.control_socket.empty()) return serve::named_place(config.control_socket);
  if (config.target.kind == "duckdb") return serve::places_beside(config.target.path);
  // Several mirrors may share a PostgreSQL target; the name tells them apart.
  return serve::places_of(config.target.url() + " " + config.name);
}

}  // namespace tailrace::cli
