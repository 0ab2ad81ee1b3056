#include <yaml-cpp/yaml.h>

#include "config/config_reader.h"
#include "config/units.h"
#include "pg/shown_conninfo.h"

namespace tailrace::config {
namespace {

void emit_tables(YAML::Emitter& out, const TableSelection& tables) {
  out << YAML::Key << "tables" << YAML::Value << YAML::BeginSeq;
  if (tables.rules.empty()) out << YAML::DoubleQuoted << "*.*";
  for (const TableRule& rule : tables.rules) {
    if (rule.columns.empty() && rule.where.empty()) {
      out << YAML::DoubleQuoted << rule.pattern.text();
      continue;
    }
    out << YAML::BeginMap << YAML::Key << "table" << YAML::Value << YAML::DoubleQuoted << rule.pattern.text();
    if (!rule.columns.empty()) out << YAML::Key << "columns" << YAML::Value << YAML::Flow << rule.columns;
    if (!rule.where.empty()) out << YAML::Key << "where" << YAML::Value << YAML::DoubleQuoted << rule.where;
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

void emit_types(YAML::Emitter& out, const TypeRules& types) {
  out << YAML::Key << "types" << YAML::Value << YAML::BeginSeq;
  for (const auto& rule : types) {
    out << YAML::BeginMap;
    if (rule.column) out << YAML::Key << "column" << YAML::Value << YAML::DoubleQuoted << rule.column->text();
    if (!rule.column) out << YAML::Key << "type" << YAML::Value << rule.type;
    out << YAML::Key << "as" << YAML::Value << rule.becomes.text();
    out << YAML::Key << "misfit" << YAML::Value << std::string(to_string(rule.becomes.misfit)) << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

void emit_conflict_tables(YAML::Emitter& out, const Conflicts& conflicts) {
  out << YAML::Key << "tables" << YAML::Value << YAML::BeginSeq;
  for (const auto& rule : conflicts.tables) {
    out << YAML::BeginMap << YAML::Key << "table" << YAML::Value << YAML::DoubleQuoted << rule.pattern.text();
    if (rule.policy) out << YAML::Key << "policy" << YAML::Value << std::string(to_string(*rule.policy));
    if (rule.inserts) out << YAML::Key << "inserts" << YAML::Value << std::string(to_string(*rule.inserts));
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

}  // namespace

std::string describe(const Config& config) {
  YAML::Emitter out;
  auto value = [&](const char* key, const auto& v) { out << YAML::Key << key << YAML::Value << v; };
  auto begin = [&](const char* key) { out << YAML::Key << key << YAML::Value << YAML::BeginMap; };
  auto text = [](auto word) { return std::string(to_string(word)); };
  auto on = [](bool flag) { return flag ? "on" : "off"; };
  out << YAML::BeginMap;
  value("name", config.name);
  if (!config.source.empty()) value("source", pg::shown_conninfo(config.source));
  bool server = config.target.kind == "postgres";
  if (config.target.given())
    value("target", server ? pg::shown_conninfo(config.target.path) : config.target.url());
  begin("slot");
  value("name", config.slot.name);
  value("create", on(config.slot.create));
  value("failover", on(config.slot.failover));
  value("acknowledge", on(config.slot.acknowledge));
  if (config.slot.wal_room != 0) value("wal_room", format_size(config.slot.wal_room));
  out << YAML::EndMap;
  begin("publication");
  if (config.publication.names.size() == 1)
    value("name", config.publication.names.front());
  else
    value("name", config.publication.names);
  value("create", on(makes_publication(config)));
  value("via_partition_root", on(config.publication.via_partition_root));
  out << YAML::EndMap;
  emit_tables(out, config.tables);
  if (!config.types.empty()) emit_types(out, config.types);
  value("origin", text(config.origin));
  begin("schema");
  value("mode", text(config.schema.mode));
  value("owners", on(config.schema.owners));
  value("privileges", on(config.schema.privileges));
  value("trust_source", on(config.schema.trust_source));
  out << YAML::EndMap;
  if (server) {
    begin("sequences");
    value("enabled", on(keeps_sequences(config)));
    value("margin", config.sequences.margin);
    value("interval", format_duration(config.sequences.interval));
    out << YAML::EndMap;
  }
  value("on_error", text(config.on_error));
  value("on_schema_error", text(config.on_schema_error));
  begin("quarantine");
  value("then", text(config.quarantine.then));
  out << YAML::EndMap;
  value("binary", text(config.binary));
  value("streaming", on(config.streaming));
  if (!config.spool.empty()) value("spool", config.spool);
  begin("snapshot");
  value("enabled", on(config.snapshot.enabled));
  value("readers", config.snapshot.readers);
  out << YAML::EndMap;
  if (config.start_lsn) value("start_lsn", config.start_lsn->str());
  begin("apply");
  value("connections", config.apply.connections);
  value("toast_compression", text(config.apply.toast_compression));
  out << YAML::EndMap;
  begin("limits");
  value("memory", format_size(config.limits.memory));
  value("queue", format_size(config.limits.queue));
  value("batch", format_size(config.limits.batch));
  value("duckdb_memory", format_size(config.limits.duckdb_memory));
  value("backlog", format_size(config.limits.backlog));
  out << YAML::EndMap;
  begin("intervals");
  value("status", format_duration(config.intervals.status));
  out << YAML::EndMap;
  begin("connect");
  value("timeout", format_duration(config.connect.timeout));
  value("backoff_min", format_duration(config.connect.backoff_min));
  value("backoff_max", format_duration(config.connect.backoff_max));
  out << YAML::EndMap;
  begin("conflicts");
  value("policy", text(config.conflicts.rules.policy));
  value("inserts", text(config.conflicts.rules.inserts));
  value("log", text(config.conflicts.log));
  value("record", on(config.conflicts.record));
  value("keep_deletions", format_duration(config.conflicts.keep_deletions));
  if (!config.conflicts.tables.empty()) emit_conflict_tables(out, config.conflicts);
  out << YAML::EndMap;
  begin("log");
  value("level", text(config.log.level));
  value("format", text(config.log.format));
  out << YAML::EndMap;
  if (config.file_mode) value("file_mode", fmt::format("{:04o}", *config.file_mode));
  if (!config.control_socket.empty()) value("control_socket", config.control_socket);
  if (config.http) value("http", config.http->str());
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace tailrace::config
