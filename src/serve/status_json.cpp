#include "serve/status_json.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tailrace::serve {
namespace {

using nlohmann::json;
using pipeline::RunState;
using pipeline::Status;
using pipeline::TableState;
using pipeline::TableStatus;

json time_or_null(PgTimestamp time) {
  return time.micros == 0 ? json() : json(time.str());
}
json lsn_or_null(Lsn lsn) {
  return lsn.valid() ? json(lsn.str()) : json();
}
/// -1 is how Status says unknown; JSON has null for it.
template <typename T>
json known_or_null(T value) {
  return value < 0 ? json() : json(value);
}

/// Server messages are valid UTF-8 as a rule, but not by promise: what is not becomes U+FFFD.
std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

PgTimestamp parse_time(const json& value) {
  if (value.is_null()) return {};
  std::tm parts{};
  int micros = 0;
  if (std::sscanf(value.get_ref<const std::string&>().c_str(), "%d-%d-%dT%d:%d:%d.%6dZ", &parts.tm_year,
                  &parts.tm_mon, &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &micros) != 7)
    throw Error(Retry::fatal, "a time in the status is not understood");
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return {(timegm(&parts) - pg_epoch_unix_seconds) * 1'000'000 + micros};
}

Lsn parse_lsn(const json& value) {
  if (value.is_null()) return {};
  auto lsn = Lsn::parse(value.get_ref<const std::string&>());
  if (!lsn) throw Error(Retry::fatal, "a position in the status is not understood");
  return *lsn;
}

template <typename T>
T number_or_unknown(const json& value) {
  return value.is_null() ? T(-1) : value.get<T>();
}

/// What an older version does not say is unknown.
double number_if_there(const json& value, const char* key) {
  auto found = value.find(key);
  return found == value.end() ? -1 : number_or_unknown<double>(*found);
}

template <typename State>
State parse_state(const json& value, State last) {
  for (int i = 0; i <= static_cast<int>(last); ++i)
    if (value.get_ref<const std::string&>() == to_string(static_cast<State>(i))) return static_cast<State>(i);
  throw Error(Retry::fatal, "a state in the status is not known to this version");
}

/// The kinds that were met.
json conflicts_json(const ConflictCounts& counts) {
  json out = json::object();
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] != 0) out[std::string(to_string(static_cast<ConflictKind>(i)))] = counts[i];
  }
  return out;
}

ConflictCounts parse_conflicts(const json& value) {
  ConflictCounts out{};
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = value.value(std::string(to_string(static_cast<ConflictKind>(i))), std::int64_t{0});
  return out;
}

json table_json(const TableStatus& table) {
  return {{"schema", table.schema},
          {"name", table.name},
          {"target_name", table.target_name},
          {"state", to_string(table.state)},
          {"estimated_rows", known_or_null(table.estimated_rows)},
          {"estimated_bytes", table.estimated_bytes},
          {"rows_copied", table.rows_copied},
          {"bytes_copied", table.bytes_copied},
          {"inserts", table.inserts},
          {"updates", table.updates},
          {"deletes", table.deletes},
          {"truncates", table.truncates},
          {"conflicts", conflicts_json(table.conflicts)},
          {"copied_at", lsn_or_null(table.copied_at)},
          {"note", table.note},
          {"quarantined", table.quarantined},
          {"last_error", table.last_error}};
}

TableStatus parse_table(const json& value) {
  TableStatus table;
  table.schema = value.at("schema");
  table.name = value.at("name");
  table.target_name = value.at("target_name");
  table.state = parse_state(value.at("state"), TableState::held);
  table.estimated_rows = number_or_unknown<std::int64_t>(value.at("estimated_rows"));
  table.estimated_bytes = value.at("estimated_bytes");
  table.rows_copied = value.at("rows_copied");
  table.bytes_copied = value.at("bytes_copied");
  table.inserts = value.at("inserts");
  table.updates = value.at("updates");
  table.deletes = value.at("deletes");
  table.truncates = value.at("truncates");
  table.conflicts = parse_conflicts(value.at("conflicts"));
  table.copied_at = parse_lsn(value.at("copied_at"));
  table.note = value.at("note");
  table.quarantined = value.at("quarantined");
  table.last_error = value.at("last_error");
  return table;
}

json verify_status_json(const std::optional<pipeline::VerifyStatus>& verify) {
  if (!verify) return {};
  return {{"table", verify->table},
          {"mending", verify->mending},
          {"rows", verify->rows},
          {"estimated_rows", known_or_null(verify->estimated_rows)},
          {"tables_done", verify->tables_done},
          {"tables", verify->tables},
          {"rows_per_second", known_or_null(verify->rows_per_second)},
          {"seconds_left", known_or_null(verify->seconds_left)},
          {"waiting_for", verify->waiting_for}};
}

std::optional<pipeline::VerifyStatus> parse_verify_status(const json& value) {
  if (value.is_null()) return std::nullopt;
  pipeline::VerifyStatus verify;
  verify.table = value.at("table");
  verify.mending = value.at("mending");
  verify.rows = value.at("rows");
  verify.estimated_rows = number_or_unknown<std::int64_t>(value.at("estimated_rows"));
  verify.tables_done = value.at("tables_done");
  verify.tables = value.at("tables");
  verify.rows_per_second = number_if_there(value, "rows_per_second");
  verify.seconds_left = number_if_there(value, "seconds_left");
  verify.waiting_for = value.value("waiting_for", "");
  return verify;
}

json end_json(const std::optional<pipeline::EndStatus>& end) {
  if (!end) return {};
  return {{"at", time_or_null(end->at)}, {"how", to_string(end->how)}, {"unfinished", end->unfinished}};
}

/// Runs `parse` and gives its complaints our own words.
template <typename Parse>
auto understood(const std::string& text, Parse parse) {
  try {
    return parse(json::parse(text));
  } catch (const json::exception& error) {
    throw Error(Retry::fatal, std::string("an answer is not what this version expects: ") + error.what(),
                "The running tailrace and this command may be of different versions");
  }
}

}  // namespace

std::string to_json(const Status& status) {
  json out = {{"name", status.name},
              {"source", status.source},
              {"target", status.target},
              {"slot", status.slot},
              {"publication", status.publication},
              {"state", to_string(status.state)},
              {"message", status.message},
              {"waiting_for", status.waiting_for},
              {"server_version", status.server_version},
              {"pid", status.pid},
              {"started_at", time_or_null(status.started_at)},
              {"binary", status.binary},
              {"received", lsn_or_null(status.received)},
              {"applied", lsn_or_null(status.applied)},
              {"acknowledged", lsn_or_null(status.acknowledged)},
              {"source_lsn", lsn_or_null(status.source_lsn)},
              {"retained_wal_bytes", known_or_null(status.retained_wal_bytes)},
              {"safe_wal_bytes", known_or_null(status.safe_wal_bytes)},
              {"wal_status", status.wal_status.empty() ? json() : json(status.wal_status)},
              {"acknowledges", status.acknowledges},
              {"slot_active", status.slot_active ? json(*status.slot_active) : json()},
              {"warnings", status.warnings},
              {"lag_seconds", known_or_null(status.lag_seconds)},
              {"in_step", status.in_step},
              {"source_answers", status.source_answers},
              {"target_answers", status.target_answers},
              {"transactions", status.transactions},
              {"changes", status.changes},
              {"commits", status.commits},
              {"per_second", known_or_null(status.per_second)},
              {"seconds_left", known_or_null(status.seconds_left)},
              {"reconnects", status.reconnects},
              {"last_commit_time", time_or_null(status.last_commit_time)},
              {"sequences", known_or_null(status.sequences)},
              {"resident_bytes", status.resident_bytes},
              {"verify", verify_status_json(status.verify)},
              {"skips", json::array()},
              {"conflicts", conflicts_json(status.conflicts)},
              {"tables", json::array()},
              {"ended", end_json(status.end)}};
  for (const auto& skip : status.skips)
    out["skips"].push_back(
        {{"lsn", lsn_or_null(skip.commit_lsn)}, {"state", skip.state}, {"left_out", skip.left_out}});
  for (const TableStatus& table : status.tables) out["tables"].push_back(table_json(table));
  return dump(out);
}

Status status_from_json(const std::string& text) {
  return understood(text, [](const json& value) {
    Status status;
    status.name = value.at("name");
    status.source = value.at("source");
    status.target = value.at("target");
    status.slot = value.at("slot");
    status.publication = value.at("publication");
    status.state = parse_state(value.at("state"), RunState::failed);
    status.message = value.at("message");
    status.waiting_for = value.value("waiting_for", "");
    status.server_version = value.at("server_version");
    status.pid = value.at("pid");
    status.started_at = parse_time(value.at("started_at"));
    status.binary = value.at("binary");
    status.received = parse_lsn(value.at("received"));
    status.applied = parse_lsn(value.at("applied"));
    status.acknowledged = parse_lsn(value.at("acknowledged"));
    status.source_lsn = parse_lsn(value.at("source_lsn"));
    status.acknowledges = value.value("acknowledges", true);
    status.retained_wal_bytes = number_or_unknown<std::int64_t>(value.at("retained_wal_bytes"));
    status.safe_wal_bytes = number_or_unknown<std::int64_t>(value.at("safe_wal_bytes"));
    if (!value.at("wal_status").is_null()) status.wal_status = value.at("wal_status");
    if (!value.at("slot_active").is_null()) status.slot_active = value.at("slot_active").get<bool>();
    status.warnings = value.at("warnings").get<std::vector<std::string>>();
    status.lag_seconds = number_or_unknown<double>(value.at("lag_seconds"));
    status.in_step = value.at("in_step");
    // One that was started before the last upgrade does not say.
    status.source_answers = value.value("source_answers", true);
    status.target_answers = value.value("target_answers", true);
    status.transactions = value.at("transactions");
    status.changes = value.at("changes");
    status.commits = value.at("commits");
    status.per_second = number_if_there(value, "per_second");
    status.seconds_left = number_if_there(value, "seconds_left");
    status.reconnects = value.at("reconnects");
    status.last_commit_time = parse_time(value.at("last_commit_time"));
    status.sequences = number_or_unknown<std::int64_t>(value.at("sequences"));
    status.resident_bytes = value.at("resident_bytes");
    status.verify = parse_verify_status(value.at("verify"));
    for (const json& skip : value.at("skips"))
      status.skips.push_back({parse_lsn(skip.at("lsn")), skip.at("state"), skip.at("left_out")});
    status.conflicts = parse_conflicts(value.at("conflicts"));
    for (const json& table : value.at("tables")) status.tables.push_back(parse_table(table));
    return status;
  });
}

std::string to_json(const pipeline::VerifyReport& report) {
  auto differing = verify::sum_up(report);
  json out = {{"lsn", lsn_or_null(report.lsn)},
              {"equal", report.equal},
              {"tables_differing", differing.tables},
              {"rows_differing", differing.rows},
              {"rows_differing_counted", verify::to_string(differing.counted)},
              {"error", report.error.empty() ? json() : json(report.error)},
              {"tables", json::array()}};
  for (const auto& table : report.tables) {
    json differences = json::array();
    for (const auto& difference : table.differences)
      differences.push_back({{"table", difference.table},
                             {"key", difference.key},
                             {"source_row", difference.source_row},
                             {"target_row", difference.target_row}});
    out["tables"].push_back({{"table", table.table},
                             {"lsn", lsn_or_null(table.lsn)},
                             {"source_rows", table.source_rows},
                             {"target_rows", table.target_rows},
                             {"equal", table.equal},
                             {"differing", known_or_null(table.differing.rows)},
                             {"differing_counted", verify::to_string(table.differing.counted)},
                             {"differences", std::move(differences)},
                             {"inserted", table.mended.inserted},
                             {"updated", table.mended.updated},
                             {"deleted", table.mended.deleted},
                             {"held", table.held.empty() ? json() : json(table.held)}});
  }
  return dump(out);
}

std::string to_json(const pipeline::ReplayReport& report) {
  json out = {{"error", report.error.empty() ? json() : json(report.error)}, {"tables", json::array()}};
  for (const auto& table : report.tables)
    out["tables"].push_back({{"table", table.table}, {"changes", table.changes}});
  return dump(out);
}

pipeline::ReplayReport replay_from_json(const std::string& text) {
  return understood(text, [](const json& value) {
    pipeline::ReplayReport report;
    if (!value.at("error").is_null()) report.error = value.at("error");
    for (const json& table : value.at("tables"))
      report.tables.push_back({table.at("table"), table.at("changes")});
    return report;
  });
}

pipeline::VerifyReport verify_from_json(const std::string& text) {
  return understood(text, [](const json& value) {
    pipeline::VerifyReport report;
    report.lsn = parse_lsn(value.at("lsn"));
    report.equal = value.at("equal");
    if (!value.at("error").is_null()) report.error = value.at("error");
    for (const json& table : value.at("tables")) {
      pipeline::VerifyTable out;
      out.table = table.at("table");
      out.lsn = parse_lsn(table.at("lsn"));
      out.source_rows = table.at("source_rows");
      out.target_rows = table.at("target_rows");
      out.equal = table.at("equal");
      out.differing.rows = static_cast<std::int64_t>(number_if_there(table, "differing"));
      out.differing.counted = verify::counted_from(table.value("differing_counted", "exactly"));
      if (auto held = table.find("held"); held != table.end() && !held->is_null()) out.held = *held;
      out.mended = {table.at("inserted"), table.at("updated"), table.at("deleted")};
      for (const json& d : table.at("differences"))
        out.differences.push_back({d.at("table"), d.at("key"), d.at("source_row"), d.at("target_row")});
      report.tables.push_back(std::move(out));
    }
    return report;
  });
}

std::string to_json(const pipeline::VerifyRequest& request) {
  return dump({{"command", "verify"}, {"tables", request.tables}, {"repair", request.repair}});
}

pipeline::VerifyRequest verify_request_from_json(const std::string& text) {
  return understood(text, [](const json& value) {
    pipeline::VerifyRequest out;
    out.repair = value.value("repair", false);
    out.tables = value.value("tables", std::vector<std::string>());
    return out;
  });
}

std::string to_json(const pipeline::RefreshReport& report) {
  return dump({{"tables", report.tables}, {"added", report.added}, {"removed", report.removed}});
}

pipeline::RefreshReport refresh_from_json(const std::string& text) {
  return understood(text, [](const json& value) {
    return pipeline::RefreshReport{value.at("tables"), value.at("added"), value.at("removed")};
  });
}

}  // namespace tailrace::serve
