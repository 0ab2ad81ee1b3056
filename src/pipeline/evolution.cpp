#include "pipeline/evolution.h"

#include <algorithm>

namespace tailrace::pipeline {
namespace {

using target::Evolution;
using target::RecordedColumn;
using target::TableRecord;

const RecordedColumn* find(const std::vector<RecordedColumn>& columns, std::int16_t attnum) {
  auto at =
      std::find_if(columns.begin(), columns.end(), [&](const auto& column) { return column.attnum == attnum; });
  return at == columns.end() ? nullptr : &*at;
}

schema::Column describe(const RelationColumn& column, const schema::Catalog::Attribute& attribute,
                        schema::Catalog& catalog) {
  schema::Column out;
  out.attnum = attribute.attnum;
  out.name = column.name;
  out.type = catalog.type(column.type_oid);
  out.typmod = column.typmod;
  out.dimensions = attribute.dimensions;
  out.is_key = column.is_key;
  out.version = attribute.version;
  return out;
}

/// Changes of type that keep every value's text: another length or precision without a rewrite, text and
/// varchar.
bool keeps_text(const RecordedColumn& before, const RelationColumn& after) {
  constexpr Oid text = 25;
  constexpr Oid varchar = 1043;
  if (before.type_oid == after.type_oid) return true;
  return (before.type_oid == text || before.type_oid == varchar) &&
         (after.type_oid == text || after.type_oid == varchar);
}

std::variant<Evolution, CopyAnew> plan_columns(const TableRecord& record, const Relation& relation,
                                               schema::Catalog& catalog, bool new_file) {
  Evolution out;
  auto attributes = catalog.attributes(record.oid);
  std::vector<std::int16_t> seen;
  for (const auto& column : relation.columns) {
    auto attribute = attributes.find(column.name);
    if (attribute == attributes.end()) return CopyAnew{"its definition changed more than once"};
    const auto& [attnum, dimensions, version, missing_value] = attribute->second;
    seen.push_back(attnum);
    out.columns.push_back({attnum, column.name, column.type_oid, column.typmod, column.is_key, version});
    const RecordedColumn* known = find(record.columns, attnum);
    if (known == nullptr) {
      if (new_file) return CopyAnew{"a column was added and its rows were rewritten"};
      out.added_columns.push_back({describe(column, attribute->second, catalog), missing_value});
      continue;
    }
    if (new_file && known->version != version)
      return CopyAnew{"a column was altered and its rows were rewritten"};
    if (known->name != column.name) out.renamed_columns.emplace_back(known->name, column.name);
    if (known->type_oid != column.type_oid || known->typmod != column.typmod) {
      if (!keeps_text(*known, column)) return CopyAnew{"a column's type changed"};
      out.retyped_columns.push_back(describe(column, attribute->second, catalog));
    }
  }
  if (!std::is_sorted(seen.begin(), seen.end())) return CopyAnew{"its columns came in another order"};
  bool some_stay = false;
  for (const auto& column : record.columns) {
    if (std::find(seen.begin(), seen.end(), column.attnum) == seen.end()) {
      out.dropped_columns.push_back(column.name);
      continue;
    }
    some_stay = true;
    // Columns that trade names would need a third name on the way.
    for (const auto& [from, to] : out.renamed_columns) {
      if (to == column.name && from != column.name) return CopyAnew{"its columns traded names"};
    }
  }
  // A DuckDB table is never without columns, so the last old one cannot go before the first new one comes.
  if (!some_stay) return CopyAnew{"all of its columns were replaced"};
  return out;
}

}  // namespace

std::variant<Evolution, CopyAnew> plan_evolution(const TableRecord& record, const Relation& relation,
                                                 schema::Catalog& catalog) {
  if (record.schema != relation.schema) return CopyAnew{"it moved to another schema"};
  if (relation.columns.empty() != record.columns.empty()) return CopyAnew{"it lost or gained its only columns"};
  Oid filenode = catalog.current_filenode(record.oid);
  // A partitioned table has no file of its own: its rows may always have been rewritten.
  auto plan = plan_columns(record, relation, catalog, filenode == 0 || filenode != record.filenode);
  if (auto* evolution = std::get_if<Evolution>(&plan)) {
    evolution->filenode = filenode;
    if (record.name != relation.name) evolution->rename = relation.name;
  }
  return plan;
}

bool was_rewritten(const TableRecord& record, Oid filenode, schema::Catalog& catalog) {
  if (filenode != 0 && filenode == record.filenode) return false;
  auto attributes = catalog.attributes(record.oid);
  return std::any_of(record.columns.begin(), record.columns.end(), [&](const auto& known) {
    auto now = attributes.find(known.name);
    return now != attributes.end() &&
           (now->second.attnum != known.attnum || now->second.version != known.version);
  });
}

}  // namespace tailrace::pipeline
