#include "target/duckdb/duckdb_view.h"

#include "base/sql_text.h"
#include "target/duckdb/value_renderer.h"

namespace tailrace::target::duckdb {

DuckDbView::DuckDbView(std::shared_ptr<Database> database)
    : database_(std::move(database)), session_(database_->session()) {
  // DuckDB fixes what a transaction sees at its first read, which is the one of the metadata.
  session_.begin();
  mirror_ = Mirror::load(session_);
}

DuckDbView::~DuckDbView() {
  session_.rollback();
}

std::vector<TableRecord> DuckDbView::tables() const {
  std::vector<TableRecord> out;
  for (const auto& [oid, table] : mirror_->tables()) out.push_back(table.record());
  return out;
}

void DuckDbView::scan(Oid oid, const RowVisitor& visit) {
  const MirrorTable& table = mirror_->at(oid);
  std::vector<ValueRenderer> renderers;
  std::string list;
  for (const auto& column : table.columns) {
    if (column.source.attnum == 0) continue;
    renderers.emplace_back(column.type);
    list += (list.empty() ? "" : ", ") + quote_identifier(column.name);
  }
  Rows rows = session_.stream(fmt::format("SELECT {} FROM {}", list.empty() ? "true" : list, table.sql_name()),
                              fmt::format("reading {}", table.sql_name()));
  std::vector<std::string> text(renderers.size());
  std::vector<std::optional<std::string_view>> values(renderers.size());
  while (duckdb_data_chunk chunk = rows.fetch()) {
    std::unique_ptr<duckdb_data_chunk, void (*)(duckdb_data_chunk*)> guard(&chunk, &duckdb_destroy_data_chunk);
    idx_t size = duckdb_data_chunk_get_size(chunk);
    for (std::size_t i = 0; i < renderers.size(); ++i)
      renderers[i].bind(duckdb_data_chunk_get_vector(chunk, i));
    for (idx_t row = 0; row < size; ++row) {
      for (std::size_t i = 0; i < renderers.size(); ++i) {
        text[i].clear();
        values[i].reset();
        if (renderers[i].append_text(row, text[i])) values[i] = text[i];
      }
      visit(values);
    }
  }
}

}  // namespace tailrace::target::duckdb
