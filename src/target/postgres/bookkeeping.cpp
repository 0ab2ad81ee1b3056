#include "target/postgres/bookkeeping.h"

#include "base/sql_text.h"
#include "target/postgres/books_format.h"
#include "target/postgres/fence.h"
#include "target/postgres/lock_holder.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* keeping_books = "keeping tailrace's own tables at the target";

}  // namespace

Bookkeeping::Bookkeeping(pg::Connection& connection, std::string subscription)
    : connection_(connection), subscription_(std::move(subscription)), literal_(quote_literal(subscription_)) {
  // What is there already may be in use: lock() comes first.
  if (!has_books(connection_)) bring_books_up_to_date(connection_);
}

void Bookkeeping::lock() {
  auto got = connection_.query(
      fmt::format("select pg_catalog.pg_try_advisory_lock(720602191, pg_catalog.hashtext({}))", literal_),
      keeping_books);
  if (got.flag(0, 0)) {
    wait_until_empty(connection_, subscription_);
    return bring_books_up_to_date(connection_);
  }
  throw describe_lock_holder(connection_, subscription_);
}

std::optional<Checkpoint> Bookkeeping::read_checkpoint() {
  auto rows = connection_.query(
      fmt::format("select slot, system_identifier, timeline, lsn, commit_micros, seen from tailrace.checkpoint "
                  "where subscription = {}",
                  literal_),
      keeping_books);
  if (rows.rows() == 0) return std::nullopt;
  return Checkpoint{rows.str(0, 0),
                    rows.str(0, 1),
                    static_cast<std::uint32_t>(rows.i64(0, 2)),
                    rows.lsn(0, 3),
                    PgTimestamp{rows.i64(0, 4)},
                    rows.str(0, 5)};
}

std::int64_t Bookkeeping::count_unfinished() {
  return connection_
      .query(
          fmt::format("select pg_catalog.count(*) from tailrace.tables where subscription = {} and not copied",
                      literal_),
          keeping_books)
      .i64(0, 0);
}

std::map<Oid, TableRecord> Bookkeeping::read_tables() {
  std::map<Oid, TableRecord> out;
  auto rows = connection_.query(fmt::format("select oid, schema_name, table_name, copied, copied_at, filenode, "
                                            "membership, rows_copied, note, held, "
                                            "target_oid, target_schema, target_table, storage "
                                            "from tailrace.tables where subscription = {}",
                                            literal_),
                                keeping_books);
  for (int i = 0; i < rows.rows(); ++i) {
    TableRecord record;
    record.oid = rows.oid(i, 0);
    record.schema = rows.str(i, 1);
    record.name = rows.str(i, 2);
    record.copied = rows.flag(i, 3);
    record.copied_at = rows.lsn(i, 4);
    record.filenode = rows.oid(i, 5);
    record.membership = rows.str(i, 6);
    record.rows_copied = rows.i64(i, 7);
    record.note = rows.str(i, 8);
    record.held = rows.str(i, 9);
    record.target_oid = rows.oid(i, 10);
    record.target_schema = rows.str(i, 11);
    record.target_table = rows.str(i, 12);
    record.target_name = record.target_oid != 0 ? quote_qualified(record.target_schema, record.target_table)
                                                : quote_qualified(record.schema, record.name);
    record.storage = rows.str(i, 13);
    out.emplace(record.oid, std::move(record));
  }
  auto columns = connection_.query(
      fmt::format("select oid, attnum, name, type_oid, typmod, is_key, version from tailrace.columns "
                  "where subscription = {} order by oid, position",
                  literal_),
      keeping_books);
  for (int i = 0; i < columns.rows(); ++i) {
    auto found = out.find(columns.oid(i, 0));
    if (found == out.end()) continue;
    RecordedColumn column;
    column.attnum = static_cast<std::int16_t>(columns.i64(i, 1));
    column.name = columns.str(i, 2);
    column.type_oid = columns.oid(i, 3);
    column.typmod = static_cast<std::int32_t>(columns.i64(i, 4));
    column.is_key = columns.flag(i, 5);
    column.version = static_cast<std::uint32_t>(columns.i64(i, 6));
    found->second.columns.push_back(std::move(column));
  }
  return out;
}

void Bookkeeping::put_table(const TableRecord& record) {
  std::string sql = fmt::format(
      "delete from tailrace.columns where subscription = {0} and oid = {1};"
      "delete from tailrace.tables where subscription = {0} and oid = {1};"
      "insert into tailrace.tables (subscription, oid, schema_name, table_name, copied, copied_at, filenode, "
      "membership, rows_copied, note, held, target_oid, target_schema, target_table, storage) "
      "values ({0}, {1}, {2}, {3}, {4}, '{5}', {6}, {7}, {8}, {9}, {10}, {11}, {12}, {13}, {14});",
      literal_, record.oid, quote_literal(record.schema), quote_literal(record.name), record.copied,
      record.copied_at.str(), record.filenode, quote_literal(record.membership), record.rows_copied,
      quote_literal(record.note), quote_literal(record.held), record.target_oid,
      quote_literal(record.target_schema), quote_literal(record.target_table), quote_literal(record.storage));
  for (std::size_t i = 0; i < record.columns.size(); ++i) {
    const auto& column = record.columns[i];
    sql += fmt::format("{}({}, {}, {}, {}, {}, {}, {}, {}, {})",
                       i == 0 ? "insert into tailrace.columns values " : ", ", literal_, record.oid, i,
                       column.attnum, quote_literal(column.name), column.type_oid, column.typmod, column.is_key,
                       column.version);
  }
  connection_.query(sql, keeping_books);
}

void Bookkeeping::remove_table(Oid table) {
  connection_.query(fmt::format("delete from tailrace.columns where subscription = {0} and oid = {1};"
                                "delete from tailrace.tables where subscription = {0} and oid = {1}",
                                literal_, table),
                    keeping_books);
}

void Bookkeeping::forget_copies() {
  connection_.query(
      fmt::format("update tailrace.tables set copied = false, held = '' where subscription = {}", literal_),
      keeping_books);
}

void Bookkeeping::remove_all() {
  connection_.query(fmt::format("delete from tailrace.structure where subscription = {0};"
                                "delete from tailrace.made where subscription = {0};"
                                "delete from tailrace.columns where subscription = {0};"
                                "delete from tailrace.tables where subscription = {0};"
                                "delete from tailrace.checkpoint where subscription = {0}",
                                literal_),
                    keeping_books);
}

void Bookkeeping::put_checkpoint(const Checkpoint& checkpoint) {
  connection_.query(
      fmt::format("insert into tailrace.checkpoint values ({}, {}, {}, {}, '{}', {}, {}) on conflict "
                  "(subscription) do update "
                  "set slot = excluded.slot, system_identifier = excluded.system_identifier, "
                  "timeline = excluded.timeline, lsn = excluded.lsn, commit_micros = excluded.commit_micros, "
                  "seen = excluded.seen",
                  literal_, quote_literal(checkpoint.slot), quote_literal(checkpoint.system_identifier),
                  checkpoint.timeline, checkpoint.lsn.str(), checkpoint.commit_time.micros,
                  quote_literal(checkpoint.seen)),
      keeping_books);
}

std::string Bookkeeping::advance_sql() const {
  return fmt::format(
      "update tailrace.checkpoint set lsn = $1::pg_catalog.pg_lsn, "
      "commit_micros = $2::bigint where subscription = {}",
      literal_);
}

std::vector<Bookkeeping::Pending> Bookkeeping::number(const schema::Structure& structure) {
  auto last = connection_.query(fmt::format("select coalesce(pg_catalog.max(number), 0) "
                                            "from tailrace.structure where subscription = {}",
                                            literal_),
                                keeping_books);
  std::int64_t number = last.i64(0, 0);
  std::vector<Pending> out;
  for (const auto& statement : structure.indexes) out.push_back({++number, true, statement});
  for (const auto& statement : structure.after_data) out.push_back({++number, false, statement});
  return out;
}

schema::Statement Bookkeeping::instead_of_earlier(const std::vector<Pending>& pending) const {
  std::string objects;
  for (const auto& entry : pending)
    objects += (objects.empty() ? "" : ", ") + quote_literal(entry.statement.what);
  return {
      "tailrace's notes",
      fmt::format(
          "delete from tailrace.structure where subscription = {} and what = any(array[{}]::pg_catalog.text[])",
          literal_, objects)};
}

void Bookkeeping::forget_pending(const std::vector<Oid>& tables,
                                 const std::vector<std::pair<std::string, std::string>>& names) {
  // The notes have the table in what they say to people, as its index, its constraint, its trigger.
  std::string ends;
  for (const auto& [schema, name] : names) {
    for (const char* of : {" of ", " of table "})
      ends += (ends.empty() ? "" : ", ") + quote_literal(fmt::format("{}{}.{}", of, schema, name));
  }
  connection_.query(
      fmt::format("delete from tailrace.structure where subscription = {} and case when relation_oid <> 0 "
                  "then relation_oid = any(array[{}]::pg_catalog.oid[]) else exists (select from "
                  "pg_catalog.unnest(array[{}]::pg_catalog.text[]) e where pg_catalog.right(what, "
                  "pg_catalog.length(e)) = e) end",
                  literal_, fmt::join(tables, ", "), ends),
      keeping_books);
}

schema::Statement Bookkeeping::note(const Pending& pending) const {
  const auto& statement = pending.statement;
  std::string roles;
  for (const auto& role : statement.roles) roles += (roles.empty() ? "" : ", ") + quote_literal(role);
  return {
      "tailrace's notes",
      fmt::format("insert into tailrace.structure (subscription, number, parallel, what, statement, roles, "
                  "optional, relation) values ({}, {}, {}, {}, {}, array[{}]::pg_catalog.text[], {}, {})",
                  literal_, pending.number, pending.parallel, quote_literal(statement.what),
                  quote_literal(statement.sql), roles, statement.optional, quote_literal(statement.relation))};
}

std::vector<Bookkeeping::Pending> Bookkeeping::read_pending() {
  auto rows = connection_.query(
      fmt::format("select s.number, s.parallel, s.what, s.statement, s.optional, r.role, s.relation "
                  "from tailrace.structure s "
                  "left join lateral pg_catalog.unnest(s.roles) r(role) on true "
                  "where s.subscription = {} order by s.number",
                  literal_),
      keeping_books);
  std::vector<Pending> out;
  for (int i = 0; i < rows.rows(); ++i) {
    if (out.empty() || out.back().number != rows.i64(i, 0)) {
      schema::Statement statement{.what = rows.str(i, 2), .sql = rows.str(i, 3)};
      statement.optional = rows.flag(i, 4);
      statement.relation = rows.str(i, 6);
      out.push_back({rows.i64(i, 0), rows.flag(i, 1), std::move(statement)});
    }
    if (!rows.is_null(i, 5)) out.back().statement.roles.push_back(rows.str(i, 5));
  }
  return out;
}

void Bookkeeping::identify_pending() {
  connection_.query(fmt::format("update tailrace.structure set relation_oid = "
                                "coalesce(pg_catalog.to_regclass(relation)::pg_catalog.oid, 0) "
                                "where subscription = {} and relation <> '' and relation_oid = 0",
                                literal_),
                    keeping_books);
}

std::map<std::int64_t, std::string> Bookkeeping::of_others() {
  // A foreign key has the name as it was noted, or as PostgreSQL writes it.
  auto rows = connection_.query(
      fmt::format(
          "with noted as (select s.number, s.statement, s.relation, s.relation_oid <> 0 and "
          "pg_catalog.to_regclass(s.relation)::pg_catalog.oid <> s.relation_oid as other, s.relation_oid <> 0 "
          "and pg_catalog.to_regclass(s.relation)::pg_catalog.oid = s.relation_oid as own "
          "from tailrace.structure s where s.subscription = {}), "
          "taken as (select n.relation, pg_catalog.to_regclass(n.relation)::pg_catalog.text as written "
          "from noted n group by n.relation having pg_catalog.bool_or(n.other) and not "
          "pg_catalog.bool_or(n.own)) "
          "select n.number, n.relation from noted n where n.other union all "
          "select n.number, t.relation from noted n join taken t on pg_catalog.strpos(n.statement, "
          "pg_catalog.concat(' REFERENCES ', t.relation, '(')) > 0 or pg_catalog.strpos(n.statement, "
          "pg_catalog.concat(' REFERENCES ', t.written, '(')) > 0",
          literal_),
      keeping_books);
  std::map<std::int64_t, std::string> out;
  for (int i = 0; i < rows.rows(); ++i) out.emplace(rows.i64(i, 0), rows.str(i, 1));
  return out;
}

schema::Statement Bookkeeping::done(const Pending& pending) const {
  return {"tailrace's notes",
          fmt::format("delete from tailrace.structure where subscription = {} and number = {}", literal_,
                      pending.number)};
}

}  // namespace tailrace::target::postgres
