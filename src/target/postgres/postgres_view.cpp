#include "target/postgres/postgres_view.h"

#include "base/sql_text.h"
#include "pg/copy_stream.h"
#include "pg/copy_text.h"
#include "schema/reading.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/books_rights.h"
#include "target/postgres/names.h"

namespace tailrace::target::postgres {

PostgresView::PostgresView(const std::string& conninfo, const std::string& subscription, bool trusts)
    : trusts_(trusts), connection_(pg::Connection::open(conninfo, {pg::Mode::sql, subscription + " verify"})) {
  check_books(connection_);
  Bookkeeping bookkeeping(connection_, subscription);
  // The first query of the transaction fixes what it sees.
  connection_.query("begin isolation level repeatable read read only", "looking at the target");
  checkpoint_ = bookkeeping.read_checkpoint();
  tables_ = bookkeeping.read_tables();
}

std::vector<TableRecord> PostgresView::tables() const {
  std::vector<TableRecord> out;
  for (const auto& [oid, record] : tables_) out.push_back(record);
  return out;
}

std::optional<QueryableTable> PostgresView::queryable(Oid table) {
  auto found = tables_.find(table);
  if (found == tables_.end()) return std::nullopt;
  const TableRecord& record = found->second;
  auto there = find_own_table(connection_, record);
  if (!there) {
    throw Error(
        Retry::needs_operator,
        fmt::format("the target has no table {} of tailrace's any more", record.target_name),
        fmt::format("'tailrace run --recopy {}.{}' makes and copies it anew", record.schema, record.name));
  }
  if (!trusts_) {
    auto judged = schema::judge_queries(connection_, {there->oid});
    if (!judged.refused.empty()) schema::refuse_to_query(connection_, judged.refused);
  }
  return QueryableTable{&connection_, {there->oid, there->schema, there->name, there->kind == 'p'}};
}

void PostgresView::scan(Oid table, const RowVisitor& visit) {
  const TableRecord& record = tables_.at(table);
  auto where = queryable(table);
  std::string list;
  for (const auto& column : record.columns) list += (list.empty() ? "" : ", ") + quote_identifier(column.name);
  std::string purpose = "reading " + record.target_name;
  schema::read_as_seen(connection_, where->table, [&] {
    connection_.query(
        fmt::format("copy (select {} from {} {}) to stdout", list, where->table.partitioned ? "" : "only",
                    quote_qualified(where->table.schema, where->table.name)),
        purpose);
    pg::CopyStream stream(connection_, purpose);
    std::vector<std::string> unescaped(record.columns.size());
    std::vector<std::optional<std::string_view>> row(record.columns.size());
    std::string_view line;
    while (stream.next_blocking(line)) {
      line.remove_suffix(1);
      pg::split_copy_row(line, row, unescaped);
      visit(row);
    }
  });
}

}  // namespace tailrace::target::postgres
