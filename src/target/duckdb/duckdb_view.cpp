#include "target/duckdb/duckdb_view.h"

#include "base/sql_text.h"
#include "pg/codec/float_codec.h"
#include "pg/codec/numeric_codec.h"
#include "target/duckdb/value_renderer.h"

namespace tailrace::target::duckdb {
namespace {

/// What does not fit would be text, or is not there yet: it shows as it is.
TargetView::Shown shown_as(const ColumnType& type) {
  if (!keeps_number_only(type)) return {};
  if (type.codec == Codec::float64) {
    return [](std::string_view text, std::string& out) {
      double value = 0;
      if (pg::codec::double_from_numeric(text, value) == pg::codec::Decoded::ok)
        pg::codec::append_float8(out, value);
      else
        out += text;
    };
  }
  return [precision = type.precision, scale = type.scale](std::string_view text, std::string& out) {
    pg::codec::Int128 value = 0;
    if (pg::codec::decimal_of_any_scale_from_text(text, precision, scale, value) == pg::codec::Decoded::ok)
      pg::codec::append_decimal(out, value, scale);
    else
      out += text;
  };
}

}  // namespace

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

std::vector<TargetView::Shown> DuckDbView::shown(Oid oid) const {
  std::vector<Shown> out;
  bool any = false;
  for (const auto& column : mirror_->tables().at(oid).columns) {
    if (column.source.attnum == 0) continue;
    out.push_back(shown_as(column.type));
    any = any || out.back();
  }
  if (!any) out.clear();
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
