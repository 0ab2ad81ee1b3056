#include "target/duckdb/table_copies.h"

namespace tailrace::target::duckdb {
namespace {

constexpr const char* purpose = "noting a copy";
constexpr const char* create_book =
    "CREATE TABLE IF NOT EXISTS tailrace.copies ("
    "oid UINTEGER NOT NULL, target_schema VARCHAR NOT NULL, target_name VARCHAR NOT NULL);";

std::string create_statement(const MirrorTable& table, const std::set<std::size_t>& distinct) {
  std::string sql = fmt::format("CREATE SCHEMA IF NOT EXISTS {}; CREATE TABLE {} (",
                                quote_identifier(table.target_schema), table.sql_name());
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const auto& column = table.columns[i];
    // Where every value is another one, DuckDB's dictionary cannot win, and looking whether it would is a
    // third of what a text column costs to write. A segment that the hint does not suit stays uncompressed.
    bool hint = distinct.contains(i) && column.type.sql == "VARCHAR";
    sql += fmt::format("{}{} {}{}", i == 0 ? "" : ", ", quote_identifier(column.name), column.type.sql,
                       hint ? " USING COMPRESSION fsst" : "");
  }
  return sql + ")";
}

}  // namespace

void TableCopies::start(const MirrorTable& planned, const std::set<std::size_t>& distinct) {
  drop(planned.oid);
  Copy copy{planned, planned.target_name};
  copy.hidden.target_name = mirror_.free_table_name(planned.oid, planned.target_schema,
                                                    fmt::format("tailrace copying {}", planned.oid));
  session_.query(create_statement(copy.hidden, distinct), fmt::format("creating {}", planned.sql_name()));
  session_.query(fmt::format("{}INSERT INTO tailrace.copies VALUES ({}, {}, {})", create_book, planned.oid,
                             quote_literal(planned.target_schema), quote_literal(copy.hidden.target_name)),
                 purpose);
  if (!mirror_.knows(planned.oid) || !mirror_.at(planned.oid).there) {
    mirror_.put(session_, planned);
  } else if (MirrorTable before = mirror_.at(planned.oid); std::exchange(before.copied, false)) {
    mirror_.put(session_, before);
  }
  mirror_.claim(planned.oid, planned.target_schema, {copy.final_name, copy.hidden.target_name});
  hidden_.insert_or_assign(planned.oid, std::move(copy));
}

const MirrorTable& TableCopies::at(Oid table) const {
  auto found = hidden_.find(table);
  TAILRACE_CHECK(found != hidden_.end());
  return found->second.hidden;
}

void TableCopies::finish(Oid oid, Lsn snapshot, std::int64_t rows) {
  MirrorTable table = at(oid);
  std::string hidden = table.sql_name();
  table.target_name = hidden_.at(oid).final_name;
  std::string sql;
  if (const auto& before = mirror_.at(oid); before.there) sql = "DROP TABLE " + before.sql_name() + ";";
  session_.query(fmt::format("{}ALTER TABLE {} RENAME TO {}", sql, hidden, quote_identifier(table.target_name)),
                 fmt::format("putting the copy of {} in place", table.sql_name()));
  session_.query(fmt::format("DELETE FROM tailrace.copies WHERE oid = {}", oid), purpose);
  table.copied = true;
  table.copied_at = snapshot;
  table.rows_copied = rows;
  table.there = true;
  mirror_.put(session_, std::move(table));
  mirror_.release(oid);
  hidden_.erase(oid);
}

void TableCopies::drop(Oid table) {
  if (!underway(table)) return;
  session_.query(fmt::format("DROP TABLE IF EXISTS {}; DELETE FROM tailrace.copies WHERE oid = {}",
                             at(table).sql_name(), table),
                 "dropping an unfinished copy");
  mirror_.release(table);
  hidden_.erase(table);
}

bool TableCopies::any_noted() {
  auto book = read_text(session_,
                        "SELECT count(*)::VARCHAR FROM duckdb_tables() WHERE schema_name = 'tailrace' AND "
                        "table_name = 'copies' AND database_name = current_database()");
  return book[0][0] != "0" && read_text(session_, "SELECT count(*)::VARCHAR FROM tailrace.copies")[0][0] != "0";
}

void TableCopies::drop_all() {
  // A user may have made something else of one meanwhile, or dropped it.
  auto left = read_text(
      session_,
      "SELECT t.schema_name, t.table_name FROM duckdb_tables() t JOIN tailrace.copies c "
      "ON lower(c.target_schema) = lower(t.schema_name) AND lower(c.target_name) = lower(t.table_name) "
      "WHERE t.database_name = current_database()");
  std::string sql;
  for (const auto& line : left) sql += fmt::format("DROP TABLE {};", quote_qualified(line[0], line[1]));
  session_.query(sql + "DELETE FROM tailrace.copies", "dropping unfinished copies");
  for (const auto& [oid, copy] : hidden_) mirror_.release(oid);
  hidden_.clear();
}

}  // namespace tailrace::target::duckdb
