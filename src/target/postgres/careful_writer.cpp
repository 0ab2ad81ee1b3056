#include "target/postgres/careful_writer.h"

#include <algorithm>
#include <charconv>

#include "base/sql_text.h"
#include "target/bad_changes.h"
#include "target/postgres/json_value.h"
#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* skipped = "skipped, the row here stays";

std::vector<std::optional<WriteStamp>> stamps_of(const auto& rows) {
  std::vector<std::optional<WriteStamp>> out;
  for (const auto& row : rows) out.push_back(row.stamp);
  return out;
}

}  // namespace

CarefulWriter::CarefulWriter(ApplySession& session, const TablePlan& plan, const CarefulSettings& settings,
                             const std::vector<UniqueIndex>& indexes, const Writers& writers, ConflictLog& log)
    : session_(session), plan_(plan), settings_(settings), writers_(writers), log_(log), indexes_(indexes) {}

void CarefulWriter::change(const RowRun::Entry& entry) {
  texts_.clear();
  remote_ = {entry.place.transaction->commit_time, settings_.source};
  commit_lsn_ = entry.commit_lsn;
  const Change& change = *entry.change;
  switch (change.kind) {
    case ChangeKind::insert: return insert(values_of(change.new_tuple), true);
    case ChangeKind::remove: return remove(values_of(change.old_tuple));
    case ChangeKind::update: {
      auto parts = update_parts(plan_, change);
      return update(parts.before, std::move(parts.row), parts.key_too);
    }
    case ChangeKind::truncate:
    case ChangeKind::message: TAILRACE_CHECK(false);
  }
}

void CarefulWriter::insert(std::span<const Value> row, bool inserting) {
  std::vector<std::string> indexes;
  auto met = find_met(row, nullptr, indexes);
  auto keeper = std::ranges::find_if(met, [](const Found& found) { return found.by_key; });
  if (keeper == met.end() && was_deleted_later(row))
    return report(ConflictKind::insert_deleted, Resolution::keep, "skipped, it was deleted here later", row,
                  row, {});
  if (met.empty()) return put(row);
  auto kind = indexes.size() > 1 ? ConflictKind::multiple_unique_conflicts
              : inserting        ? ConflictKind::insert_exists
                                 : ConflictKind::update_exists;
  auto resolution = resolve(kind, settings_.rules, inserting, remote_, stamps_of(met));
  report(kind, resolution, "the row here became the remote row", row, row, met, indexes);
  if (resolution == Resolution::keep) return;
  // A row with the same key keeps what only the target has; identities can only be given to a new row.
  bool in_place = keeper != met.end() && plan_.fixed.empty();
  for (const auto& found : met) {
    if (!in_place || !found.by_key) drop(found);
  }
  if (!in_place) return put(row);
  RowWriter(session_, plan_, remote_.time, true).update(row, row, false, commit_lsn_);
  session_.settle();
}

void CarefulWriter::update(std::span<const Value> before, std::vector<Value> row, bool key_too) {
  bool moved = key_too && std::ranges::any_of(plan_.key, [&](std::size_t i) {
                 return before[i].kind != row[i].kind || before[i].bytes != row[i].bytes;
               });
  if (moved && settings_.rules.by_time()) return move(before, row);
  auto found = find(before);
  if (!found) {
    auto deletion = plan_.deletions != nullptr ? deletion_of(before) : std::nullopt;
    auto missing = resolve_missing(settings_.rules, remote_, deletion);
    if (missing.resolution == Resolution::apply) require_whole(row);
    report(missing.kind, missing.resolution, "inserted", before, row, {});
    if (missing.resolution == Resolution::apply) insert(row, false);
    return;
  }
  if (!found->own) {
    auto kind = ConflictKind::update_origin_differs;
    auto resolution = resolve(kind, settings_.rules, false, remote_, stamps_of(std::span(&*found, 1)));
    // What stays would be of one node's row, and the rest of the other's.
    if (resolution == Resolution::apply && settings_.rules.by_time()) require_whole(row);
    report(kind, resolution, "applied", before, row, {&*found, 1});
    if (resolution == Resolution::keep) return;
  }
  std::vector<std::string> indexes;
  auto met = find_met(row, &*found, indexes);
  if (!met.empty()) {
    auto kind = indexes.size() > 1 ? ConflictKind::multiple_unique_conflicts : ConflictKind::update_exists;
    auto resolution = resolve(kind, settings_.rules, false, remote_, stamps_of(met));
    report(kind, resolution, "applied, the row in its way is deleted", before, row, met, indexes);
    if (resolution == Resolution::keep) return;
    for (const auto& each : met) drop(each);
  }
  RowWriter(session_, plan_, remote_.time, true).update(before, row, key_too, commit_lsn_);
  session_.settle();
}

void CarefulWriter::remove(std::span<const Value> before) {
  auto found = find(before);
  if (!found) {
    auto kind = ConflictKind::delete_missing;
    report(kind, resolve(kind, settings_.rules, false, remote_, {}), "", before, {}, {});
    if (plan_.deletions != nullptr) note_deletion(before);
    return;
  }
  if (!found->own) {
    auto kind = ConflictKind::delete_origin_differs;
    auto resolution = resolve(kind, settings_.rules, false, remote_, stamps_of(std::span(&*found, 1)));
    report(kind, resolution, "applied", before, {}, {&*found, 1});
    if (resolution == Resolution::keep) return;
  }
  RowWriter(session_, plan_, remote_.time, true).remove(before, commit_lsn_);
  session_.settle();
}

/// To the clock, a row under another key is another row.
void CarefulWriter::move(std::span<const Value> before, std::span<const Value> row) {
  auto found = find(before);
  std::vector<std::string> indexes;
  bool plain = found && found->own && find_met(row, &*found, indexes).empty() && !was_deleted_later(row);
  if (plain) {
    RowWriter(session_, plan_, remote_.time, true).update(before, row, true, commit_lsn_);
    session_.settle();
    return check_deleted_meanwhile(row);
  }
  require_whole(row);
  remove(before);
  insert(row, false);
}

std::optional<CarefulWriter::Found> CarefulWriter::find(std::span<const Value> before) {
  parameters_.clear();
  auto rows = locked(finder(before));
  if (rows.empty()) return std::nullopt;
  if (rows.size() > 1) {
    throw Error(
        Retry::needs_operator,
        fmt::format("{} has {} rows with one key at the target", plan_.relation->qualified(), rows.size()),
        "Give the target's table the source's primary key");
  }
  return std::move(rows.front());
}

/// The rows of others that `row` would meet in unique indexes, each once. `except`: the row that it replaces.
std::vector<CarefulWriter::Found> CarefulWriter::find_met(std::span<const Value> row, const Found* except,
                                                          std::vector<std::string>& indexes) {
  std::vector<Found> out;
  for (const auto& index : indexes_) {
    parameters_.clear();
    std::string columns;
    for (std::size_t i : index.columns) {
      auto value = row[i].kind != ValueKind::unchanged
                       ? bind(row[i], i)
                       : fmt::format(
                             "(select u.{} from {} u where u.tableoid = {}::pg_catalog.oid and u.ctid = "
                             "{}::pg_catalog.tid)",
                             quote_identifier(plan_.columns[i]->name), plan_.table.sql_own_rows(),
                             bind(except->part, "text"), bind(except->place, "text"));
      columns += fmt::format("{}{} as {}", columns.empty() ? "" : ", ", value,
                             quote_identifier(plan_.columns[i]->name));
    }
    auto condition = index.meets(fmt::format("(select {})", columns));
    if (except != nullptr) {
      condition += fmt::format(" and not (t.tableoid = {}::pg_catalog.oid and t.ctid = {}::pg_catalog.tid)",
                               bind(except->part, "text"), bind(except->place, "text"));
    }
    auto rows = locked(condition);
    if (!rows.empty()) indexes.push_back(index.name);
    for (auto& each : rows) {
      auto known = std::ranges::find_if(
          out, [&](const Found& other) { return other.part == each.part && other.place == each.place; });
      if (known == out.end()) known = out.insert(out.end(), std::move(each));
      known->by_key |= index.is_key;
    }
  }
  return out;
}

/// Locks first and then reads with a newer snapshot, so that what is read is what is locked.
std::vector<CarefulWriter::Found> CarefulWriter::locked(const std::string& condition) {
  auto from = fmt::format("from {} t where {} for update of t", plan_.table.sql_own_rows(), condition);
  const auto& parameters = parameters_.list();
  session_.send("select 1 " + from, parameters);
  auto rows = session_.ask(fmt::format("select t.tableoid, t.ctid, {} {}", stamp_sql("t"), from), parameters);
  std::vector<Found> out;
  for (const auto& row : rows) {
    Found found;
    found.part = row.at(0).value();
    found.place = row.at(1).value();
    found.stamp = stamp_from(row, 2);
    found.own = row.at(4) == "t";
    if (row.at(3)) found.origin = writers_.origin_name(*row.at(3));
    out.push_back(std::move(found));
  }
  return out;
}

std::optional<WriteStamp> CarefulWriter::deletion_of(std::span<const Value> before) {
  parameters_.clear();
  std::vector<std::string> values;
  for (std::size_t i : plan_.key) values.push_back(bind(before[i], i));
  // Several of one time are as many as there are writers.
  auto rows =
      ask(fmt::format("select {} from tailrace.deletions d where {} and "
                      "pg_catalog.pg_xact_commit_timestamp(d.xmin) is not null order by 1 desc limit 20",
                      stamp_sql("d"), plan_.deletion_of(plan_.key_object(values))));
  std::optional<WriteStamp> latest;
  for (const auto& row : rows) latest = std::max(latest, stamp_from(row, 0));
  return latest;
}

/// Of a row that was not there: what others still do to it may have been written before.
void CarefulWriter::note_deletion(std::span<const Value> before) {
  parameters_.clear();
  std::vector<std::string> values;
  for (std::size_t i : plan_.key) values.push_back(bind(before[i], i));
  ask(fmt::format("insert into tailrace.deletions (relation, key) values ({}, {})", plan_.deletions->relation,
                  plan_.key_object(values)));
}

void CarefulWriter::drop(const Found& row) {
  parameters_.clear();
  auto part = bind(row.part, "text");
  auto place = bind(row.place, "text");
  auto sql =
      fmt::format("delete from {} t where t.tableoid = {}::pg_catalog.oid and t.ctid = {}::pg_catalog.tid",
                  plan_.table.sql_own_rows(), part, place);
  session_.change(plan_.oid, "the DELETE", commit_lsn_, sql, parameters_.list());
  session_.settle();
}

void CarefulWriter::put(std::span<const Value> row) {
  RowWriter(session_, plan_, remote_.time, true).insert(row, commit_lsn_);
  session_.settle();
  check_deleted_meanwhile(row);
}

bool CarefulWriter::was_deleted_later(std::span<const Value> row) {
  return plan_.deletions != nullptr && plan_.deletions->later_wins &&
         deletion_wins(settings_.rules, remote_, deletion_of(row));
}

/// Whoever deleted the key before the row was put there has committed by now, and is seen.
void CarefulWriter::check_deleted_meanwhile(std::span<const Value> row) {
  if (was_deleted_later(row)) throw RowMissing{plan_.oid, commit_lsn_, "the INSERT", 0};
}

void CarefulWriter::report(ConflictKind kind, Resolution resolution, const char* done,
                           std::span<const Value> keys, std::span<const Value> row, std::span<const Found> met,
                           const std::vector<std::string>& indexes) {
  Conflict conflict;
  conflict.kind = kind;
  bool missing = met.empty() && resolution == Resolution::keep && *done == '\0';
  conflict.resolution = missing                                ? "there is nothing to delete"
                        : resolution == Resolution::apply      ? done
                        : kind == ConflictKind::insert_deleted ? done
                        : met.empty()                          ? "skipped"
                                                               : skipped;
  conflict.relation = plan_.relation->qualified();
  conflict.key = key_json(keys);
  for (const auto& index : indexes) conflict.indexes += (conflict.indexes.empty() ? "" : ", ") + index;
  conflict.commit_lsn = commit_lsn_;
  conflict.commit_time = remote_.time;
  for (const auto& found : met) {
    if (!found.stamp) continue;
    conflict.local += fmt::format("{}of {}, {}", conflict.local.empty() ? "" : " and ", found.stamp->time.str(),
                                  found.origin);
  }
  if (resolution == Resolution::stop) {
    throw RefusedByPolicy(
        plan_.oid, "conflict " + conflict.str(),
        "Choose another policy (conflicts: in the configuration). " + bad_change_remedy(commit_lsn_));
  }
  if (settings_.record) record(conflict, row, met);
  log_.note(plan_.oid, std::move(conflict));
}

/// Before anything is done about it, so that the rows are still there to be shown.
void CarefulWriter::record(const Conflict& conflict, std::span<const Value> row, std::span<const Found> met) {
  parameters_.clear();
  std::string remote;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i].kind == ValueKind::unchanged) continue;
    remote +=
        fmt::format("{}{} as {}", remote.empty() ? "" : ", ", for_json(*plan_.columns[i], bind(row[i], i)),
                    quote_identifier(plan_.columns[i]->name));
  }
  std::string local;
  std::string columns;
  for (const auto& column : plan_.table.columns) {
    auto name = quote_identifier(column.name);
    columns += fmt::format("{}{} as {}", columns.empty() ? "" : ", ", for_json(column, "t." + name), name);
  }
  for (const auto& found : met) {
    auto part = bind(found.part, "pg_catalog.text");
    auto place = bind(found.place, "pg_catalog.text");
    local += fmt::format(
        "{}(select pg_catalog.to_jsonb(n) from (select {} from {} t where t.tableoid = {}::pg_catalog.oid and "
        "t.ctid = {}::pg_catalog.tid) n)",
        local.empty() ? "" : ", ", columns, plan_.table.sql_own_rows(), part, place);
  }
  if (met.size() > 1) local = fmt::format("pg_catalog.jsonb_build_array({})", local);
  auto text = [&](const std::string& value, const char* type) { return bind(value, type); };
  const Found* first = met.empty() ? nullptr : &met.front();
  bool timed = first != nullptr && first->stamp;
  std::string values;
  values += text(settings_.subscription, "pg_catalog.text") + ", ";
  values += text(conflict.relation, "pg_catalog.text") + ", ";
  values += text(std::string(to_string(conflict.kind)), "pg_catalog.text") + ", ";
  values += text(conflict.resolution, "pg_catalog.text") + ", ";
  values += text(conflict.commit_lsn.str(), "pg_catalog.pg_lsn") + ", ";
  values += text(conflict.commit_time.str(), "pg_catalog.timestamptz") + ", ";
  values += (timed ? text(first->stamp->time.str(), "pg_catalog.timestamptz") : "null") + ", ";
  values += (timed ? text(first->origin, "pg_catalog.text") : "null") + ", ";
  values += text(conflict.key, "pg_catalog.jsonb") + ", ";
  values += (local.empty() ? "null" : local) + ", ";
  values += remote.empty() ? "null" : fmt::format("(select pg_catalog.to_jsonb(n) from (select {}) n)", remote);
  ask(
      fmt::format("insert into tailrace.conflicts (subscription, relation, kind, resolution, commit_lsn, "
                  "commit_time, local_time, local_origin, key, local_row, remote_row) values ({})",
                  values));
}

void CarefulWriter::require_whole(std::span<const Value> row) const {
  auto unchanged =
      std::ranges::find_if(row, [](const Value& value) { return value.kind == ValueKind::unchanged; });
  if (unchanged == row.end()) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("an UPDATE of {} wins over what the target has, but the large value of its column {} did not "
                  "change and was not sent (the source's transaction at {})",
                  plan_.relation->qualified(),
                  plan_.columns[static_cast<std::size_t>(unchanged - row.begin())]->name, commit_lsn_.str()),
      fmt::format(
          "ALTER TABLE {} REPLICA IDENTITY FULL at the source, so that it is sent from then on. For this "
          "change, use policy: apply_remote for the table until it is applied, then compare with "
          "'tailrace verify'",
          plan_.relation->qualified()));
}

std::string CarefulWriter::bind(const Value& value, std::size_t column) {
  parameters_.add(value);
  return fmt::format("${}::{}", parameters_.size(), plan_.columns[column]->type);
}

std::string CarefulWriter::bind(const std::string& text, const char* type) {
  texts_.push_back(std::make_unique<std::string>(text));
  parameters_.add({ValueKind::text, *texts_.back()});
  return fmt::format("${}::{}", parameters_.size(), type);
}

std::string CarefulWriter::finder(std::span<const Value> before) {
  auto sql = plan_.find_one(parameters_.size() + 1);
  if (plan_.key.empty()) {
    for (const auto& value : before) parameters_.add(value);
  } else {
    for (std::size_t i : plan_.key) parameters_.add(before[i]);
  }
  return sql;
}

std::string CarefulWriter::key_json(std::span<const Value> before) {
  parameters_.clear();
  std::string columns;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if ((!plan_.key.empty() && !plan_.is_key(i)) || before[i].kind == ValueKind::unchanged) continue;
    columns +=
        fmt::format("{}{} as {}", columns.empty() ? "" : ", ", for_json(*plan_.columns[i], bind(before[i], i)),
                    quote_identifier(plan_.columns[i]->name));
  }
  auto rows = ask(fmt::format("select pg_catalog.to_jsonb(n)::pg_catalog.text from (select {}) n", columns));
  return rows.at(0).at(0).value_or("");
}

/// Commit time in microseconds since 2000, origin's number, and whether nobody else wrote it.
std::string CarefulWriter::stamp_sql(const char* alias) const {
  if (!settings_.knows_times) return "null, null, true";
  auto known = fmt::format("(pg_catalog.pg_xact_commit_timestamp_origin({}.xmin))", alias);
  return fmt::format(
      "(extract(epoch from {0}.timestamp - '2000-01-01 00:00:00+00'::pg_catalog.timestamptz) * "
      "1000000)::bigint, {0}.roident, coalesce({0}.roident = any({1}), true)",
      known, writers_.own());
}

std::optional<WriteStamp> CarefulWriter::stamp_from(const std::vector<std::optional<std::string>>& row,
                                                    std::size_t at) const {
  if (!row.at(at) || !row.at(at + 1)) return std::nullopt;
  WriteStamp out;
  const auto& micros = *row[at];
  std::from_chars(micros.data(), micros.data() + micros.size(), out.time.micros);
  out.writer = writers_.name_of(*row[at + 1]);
  return out;
}

ApplySession::Rows CarefulWriter::ask(const std::string& sql) {
  return session_.ask(sql, parameters_.list());
}

}  // namespace tailrace::target::postgres
