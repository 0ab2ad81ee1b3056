#include "target/postgres/postgres_view.h"

#include "base/sql_text.h"
#include "pg/copy_stream.h"
#include "pg/copy_text.h"
#include "target/postgres/bookkeeping.h"

namespace tailrace::target::postgres {

PostgresView::PostgresView(const std::string& conninfo, const std::string& subscription)
    : connection_(pg::Connection::open(conninfo, {pg::Mode::sql, subscription + " verify"})) {
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

void PostgresView::scan(Oid table, const RowVisitor& visit) {
  const TableRecord& record = tables_.at(table);
  std::string list;
  for (const auto& column : record.columns) list += (list.empty() ? "" : ", ") + quote_identifier(column.name);
  std::string purpose = "reading " + record.target_name;
  auto kind =
      connection_.query(fmt::format("select relkind = 'p' from pg_class where oid = {}::pg_catalog.regclass",
                                    quote_literal(record.target_name)),
                        purpose);
  bool partitioned = kind.rows() == 1 && kind.flag(0, 0);
  connection_.query(
      fmt::format("copy (select {} from {} {}) to stdout", list, partitioned ? "" : "only", record.target_name),
      purpose);
  pg::CopyStream stream(connection_, purpose);
  std::vector<std::string> unescaped(record.columns.size());
  std::vector<std::optional<std::string_view>> row(record.columns.size());
  std::string_view line;
  while (stream.next_blocking(line)) {
    line.remove_suffix(1);
    std::size_t at = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
      auto tab = line.find('\t', at);
      auto field = line.substr(at, tab == std::string_view::npos ? tab : tab - at);
      at = tab == std::string_view::npos ? line.size() : tab + 1;
      row[i].reset();
      if (field != "\\N") row[i] = pg::unescape_copy_text(field, unescaped[i]);
    }
    visit(row);
  }
}

}  // namespace tailrace::target::postgres
