#include "config/config_template.h"

#include <fmt/format.h>

#include "config/units.h"
#include "config/validation.h"

namespace tailrace::config {
namespace {

/// In double quotes, as YAML and then the reader's own expansion take them back.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"' || c == '\\') out += '\\';
    if (c == '$' && text.substr(i).starts_with("${")) out += '$';
    out += c;
  }
  return out + "\"";
}

std::string tables(const TableSelection& selection) {
  std::string out = "# Which tables: patterns, of which later ones win. Without this section: every table.\n";
  if (selection.rules.empty()) {
    return out +
           "#tables:\n"
           "#  - \"public.*\"\n"
           "#  - \"!public.audit_*\"\n"
           "#  - table: public.customers\n"
           "#    columns: [id, email]\n"
           "#  - table: public.orders\n"
           "#    where: \"region = 'eu'\"\n";
  }
  out += "tables:\n";
  for (const auto& rule : selection.rules) out += fmt::format("  - {}\n", quoted(rule.pattern.text()));
  return out;
}

std::string names(const Config& config) {
  Config derived;
  derived.name = config.name;
  complete(derived);
  std::string out =
      "# At the source, called after the name where nothing else is said. The slot holds back WAL while the "
      "mirror\n"
      "# is away: set max_slot_wal_keep_size at the source, or say here how much its disk has room for.\n";
  bool own_slot = config.slot.name != derived.slot.name;
  out += fmt::format(
      "{0}slot:\n{0}  name: {1}\n#  create: on\n#  failover: off\n#  acknowledge: on\n#  wal_room: 50GB\n",
      own_slot ? "" : "#", quoted(config.slot.name));
  bool own_publication = config.publication.names != derived.publication.names;
  const char* mark = own_publication ? "" : "#";
  out += fmt::format("{0}publication:\n{0}  name:\n", mark);
  for (const auto& name : config.publication.names) out += fmt::format("{}    - {}\n", mark, quoted(name));
  return out +
         fmt::format("#  create: {}\n#  via_partition_root: on\n", makes_publication(config) ? "on" : "off");
}

constexpr const char* for_postgres =
    "# What the target lacks is made like the source's; or `expect`: what is missing is an error.\n"
    "#schema:\n#  mode: copy\n#  owners: off\n#  privileges: off\n#  trust_source: off\n"
    "# none: leave out what came to the source by replication, as where two databases follow each other.\n"
    "#origin: any\n"
    "# Its sequences are kept ahead of the source's.\n"
    "#sequences:\n#  enabled: on\n#  margin: 1000\n#  interval: 10s\n"
    "# A change that the target refuses: stop, or quarantine.\n"
    "#on_error: stop\n#quarantine:\n#  then: hold\n"
    "# When others write to the target too: see docs/conflicts.md.\n"
    "#conflicts:\n#  policy: apply_remote\n#  inserts: by_policy\n#  log: warn\n#  record: off\n"
    "#  keep_deletions: 24h\n"
    "#apply:\n#  connections: 2\n#  toast_compression: lz4\n\n";

constexpr const char* for_duckdb =
    "# What columns become, where not what docs/types.md says; a value that does not fit: text, or error.\n"
    "#types:\n#  - type: numeric\n#    as: DECIMAL(38,10)\n#    misfit: text\n"
    "#  - column: \"public.*.score\"\n#    as: DOUBLE\n"
    "#  - type: enum\n#    as: ENUM\n\n"
    "# Permissions of a new file.\n#file_mode: 0600\n\n";

}  // namespace

std::string config_template(const Config& config) {
  bool postgres = config.target.kind == "postgres";
  std::string out =
      "# A mirror, for tailrace run -c THIS_FILE. What is left in comments has the value that is shown.\n"
      "# docs/configuration.md has every key. ${NAME} is taken from the environment, ${NAME:-default} too.\n\n"
      "# Slot, publication and connections are called after it. Two mirrors of one server need two names.\n";
  out += fmt::format("name: {}\n\n", quoted(config.name));
  out +=
      "# Whatever libpq takes. A password is better left out: libpq finds it in ~/.pgpass or the file that\n"
      "# PGPASSFILE names, or take it from the environment, as in postgres://app:${SHOP_PASSWORD}@db/shop, or\n"
      "# from a file of its own:\n"
      "# password_file: /run/secrets/shop\n";
  out += fmt::format("source: {}\n\n", quoted(config.source));
  if (!postgres)
    out += "# A file admits one process: ask with 'tailrace status', or stop the mirror to open it.\n";
  out += fmt::format("target: {}\n\n", quoted(postgres ? config.target.path : "duckdb:" + config.target.path));
  out += tables(config.tables) + "\n" + names(config) + "\n";
  out += postgres ? for_postgres : for_duckdb;
  out +=
      "# A table that the target cannot take: hold it and go on with the others, or stop.\n"
      "#on_schema_error: hold\n\n"
      "#snapshot:\n#  enabled: on\n";
  out += fmt::format("#  readers: {}\n\n", config.snapshot.readers);
  out += fmt::format("# What the process should stay under.\n#limits:\n#  memory: {}\n\n",
                     format_size(config.limits.memory));
  out +=
      "# /metrics, /healthz, /readyz and /status, for this machine alone.\n#http: 9187\n\n"
      "#connect:\n#  timeout: 10s\n#  backoff_min: 200ms\n#  backoff_max: 30s\n"
      "#log:\n#  level: info\n#  format: text\n";
  return out;
}

}  // namespace tailrace::config
