#include "pipeline/evolution.h"

#include <algorithm>
#include <tuple>

#include "pipeline/column_places.h"
#include "pipeline/unsaid_changes.h"

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

schema::Column describe_column(const RelationColumn& column, std::int16_t attnum,
                               const schema::Catalog::Attribute& attribute, schema::Catalog& catalog) {
  schema::Column out;
  out.attnum = attnum;
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
                                               const std::vector<std::int16_t>& attnums,
                                               const schema::Catalog::Shape& now, schema::Catalog& catalog) {
  Evolution out;
  bool rewritten = may_be_rewritten(record, now.filenode, now.toast);
  for (std::size_t i = 0; i < relation.columns.size(); ++i) {
    const auto& column = relation.columns[i];
    std::int16_t attnum = attnums[i];
    const RecordedColumn* known = find(record.columns, attnum);
    auto found = now.columns.find(attnum);
    if (found == now.columns.end()) {
      if (known == nullptr || *known != RecordedColumn{attnum, column.name, column.type_oid, column.typmod,
                                                       column.is_key, known->version})
        return CopyAnew{"a column was altered and then dropped"};
      out.columns.push_back(*known);
      continue;
    }
    const auto& attribute = found->second;
    out.columns.push_back(
        {attnum, column.name, column.type_oid, column.typmod, column.is_key, attribute.version});
    if (known == nullptr) {
      if (has_other_file(record, now.filenode))
        return CopyAnew{"a column was added and its rows were rewritten"};
      // Its value in older rows is told in the type of now.
      if (attribute.type_oid != column.type_oid)
        return CopyAnew{"a column was added and then changed its type"};
      out.added_columns.push_back(
          {describe_column(column, attnum, attribute, catalog), attribute.missing_value});
      continue;
    }
    if (rewritten && known->version != attribute.version)
      return CopyAnew{"a column was altered and its rows were rewritten"};
    if (known->name != column.name) out.renamed_columns.emplace_back(known->name, column.name);
    if (known->type_oid != column.type_oid || known->typmod != column.typmod) {
      if (!keeps_text(*known, column)) return CopyAnew{"a column's type changed"};
      out.retyped_columns.push_back(describe_column(column, attnum, attribute, catalog));
    }
  }
  bool some_stay = false;
  for (const auto& column : record.columns) {
    if (std::ranges::find(attnums, column.attnum) == attnums.end()) {
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
  if (!some_stay && !record.columns.empty()) return CopyAnew{"all of its columns were replaced"};
  return out;
}

/// What the heap's state is, only the watch may judge.
std::string with_columns(const std::string& storage, const std::vector<RecordedColumn>& columns) {
  auto out = schema::Storage::parse(storage);
  if (!out) return storage;
  for (const auto& column : columns) out->highest_attnum = std::max(out->highest_attnum, column.attnum);
  return out->str();
}

std::variant<Evolution, CopyAnew> plan(const TableRecord& record, const Relation& relation,
                                       const std::optional<std::vector<std::int16_t>>& attnums,
                                       const schema::Catalog::Shape& now, schema::Catalog& catalog) {
  if (!attnums) return CopyAnew{"its definition changed more than once"};
  auto out = plan_columns(record, relation, *attnums, now, catalog);
  if (auto* evolution = std::get_if<Evolution>(&out)) {
    evolution->storage = with_columns(record.storage, evolution->columns);
    if (record.name != relation.name) evolution->rename = relation.name;
  }
  return out;
}

std::optional<CopyAnew> out_of_reach(const TableRecord& record, const Relation& relation) {
  if (record.schema != relation.schema) return CopyAnew{"it moved to another schema"};
  if (relation.columns.empty() != record.columns.empty()) return CopyAnew{"it lost or gained its only columns"};
  return std::nullopt;
}

}  // namespace

std::variant<Evolution, CopyAnew> plan_evolution(const TableRecord& record, const Relation& relation,
                                                 schema::Catalog& catalog) {
  if (auto anew = out_of_reach(record, relation)) return *anew;
  auto now = catalog.shape(record.oid);
  if (now.highest_attnum == 0 && !record.columns.empty()) return CopyAnew{"it was dropped at the source"};
  return plan(record, relation, place_columns(record, relation, now), now, catalog);
}

std::variant<Evolution, CopyAnew> plan_evolution(const TableRecord& record, const schema::Table& table,
                                                 schema::Catalog& catalog) {
  Relation relation = describe(table);
  if (auto anew = out_of_reach(record, relation)) return *anew;
  std::vector<std::int16_t> attnums;
  for (const auto& column : table.columns) attnums.push_back(column.attnum);
  return plan(record, relation, attnums, catalog.shape(record.oid), catalog);
}

std::optional<std::string> reason_to_copy(const TableRecord& record, const schema::Table& table) {
  Oid toast = table.storage.heaps.empty() ? 0 : table.storage.heaps.front().toast;
  bool rewritten = may_be_rewritten(record, table.filenode, toast);
  for (const auto& column : table.columns) {
    for (const auto& known : record.columns) {
      if (known.name == column.name && known.attnum != column.attnum)
        return fmt::format("column {} is another one than before", column.name);
      if (known.attnum == column.attnum && known.version != column.version && rewritten)
        return "its rows were rewritten at the source";
    }
  }
  return std::nullopt;
}

bool is_same(const target::TableRecord& one, const target::TableRecord& other) {
  auto facts = [](const target::TableRecord& of) {
    return std::tie(of.oid, of.schema, of.name, of.columns, of.copied, of.copied_at, of.filenode, of.membership,
                    of.storage, of.held, of.target_oid, of.target_name, of.target_schema, of.target_table);
  };
  return facts(one) == facts(other);
}

Relation describe(const schema::Table& table) {
  Relation out;
  out.oid = table.oid;
  out.schema = table.schema;
  out.name = table.name;
  out.identity = table.identity;
  for (const auto& column : table.columns)
    out.columns.push_back({column.name, column.type->oid, column.typmod, column.is_key});
  return out;
}

}  // namespace tailrace::pipeline
