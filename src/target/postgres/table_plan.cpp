#include "target/postgres/table_plan.h"

#include <algorithm>

#include "base/sql_text.h"
#include "target/postgres/json_value.h"

namespace tailrace::target::postgres {
namespace {

// Keys as people have them, whose arrays are the same everywhere: smallint, integer, bigint, text, bpchar,
// varchar, date, timestamp, timestamptz, numeric, uuid.
constexpr Oid array_elements[] = {21, 23, 20, 25, 1042, 1043, 1082, 1114, 1184, 1700, 2950};

/// concat() is not taken for a constant, so nothing fails before it is known what was found. `or_there`: finds
/// the row as it was before, where a trigger of the target may leave it alone; that is for the trigger to
/// decide.
std::string exactly_one(const std::string& change, const std::string& or_there) {
  auto left_alone =
      or_there.empty() ? "" : fmt::format("when pg_catalog.count(*) = 0 and exists ({}) then 1 ", or_there);
  return fmt::format(
      "with c as ({} returning 1) select case when pg_catalog.count(*) = 1 then 1 {}else "
      "pg_catalog.concat('{}', pg_catalog.count(*))::int end from c",
      change, left_alone, row_missing);
}

}  // namespace

TablePlan::TablePlan(Oid source_oid, std::shared_ptr<const Relation> described, TargetTable target)
    : oid(source_oid), relation(std::move(described)), table(std::move(target)) {
  for (const auto& column : relation->columns) {
    const TargetColumn* found = table.find(column.name);
    if (found == nullptr || found->generated) {
      throw Error(
          Retry::needs_operator,
          fmt::format("the target's table {} {} column {}, which the source publishes", relation->qualified(),
                      found == nullptr ? "has no" : "computes", column.name),
          fmt::format("Give the target's table a plain column of that name, or leave the column out of what is "
                      "published (columns: of {} in the configuration)",
                      relation->qualified()));
    }
    columns.push_back(found);
  }
  for (const auto& column : table.columns) {
    bool fed = std::ranges::any_of(relation->columns, [&](const auto& c) { return c.name == column.name; });
    extra_columns |= !fed && !column.generated;
  }
  bool full = relation->identity == ReplicaIdentity::full;
  for (std::size_t i = 0; i < relation->columns.size(); ++i) {
    bool primary = std::ranges::find(table.primary_key, relation->columns[i].name) != table.primary_key.end();
    if (full ? primary : relation->columns[i].is_key) key.push_back(i);
  }
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!assignable(i) && !is_key(i)) fixed.push_back(i);
  }
  // A primary key that is only partly published finds nothing.
  if (full && key.size() != table.primary_key.size()) key.clear();
  bool by_primary_key = std::ranges::all_of(key, [&](auto i) {
    return std::ranges::find(table.primary_key, columns[i]->name) != table.primary_key.end();
  });
  bool other_key = !table.primary_key.empty() && (!by_primary_key || key.size() != table.primary_key.size());
  further_unique = table.further_unique || other_key;
}

bool TablePlan::is_key(std::size_t column) const {
  return std::ranges::find(key, column) != key.end();
}

bool TablePlan::assignable(std::size_t column) const {
  return !columns[column]->identity_always;
}

std::string TablePlan::column_list() const {
  std::string out;
  for (const auto* column : columns) out += (out.empty() ? "" : ", ") + quote_identifier(column->name);
  return out;
}

std::string TablePlan::copy_sql() const {
  // A table without columns takes no empty list.
  if (columns.empty()) return fmt::format("copy {} from stdin", table.sql_name());
  return fmt::format("copy {} ({}) from stdin", table.sql_name(), column_list());
}

const std::string& TablePlan::insert_sql() const {
  std::lock_guard lock(made_);
  if (insert_.empty()) insert_ = make_insert();
  return insert_;
}

const std::string& TablePlan::update_sql(const ColumnSet& set, bool whoever) const {
  std::lock_guard lock(made_);
  auto [found, fresh] = updates_[whoever].try_emplace(set);
  if (fresh) found->second = make_update(set, whoever);
  return found->second;
}

const std::string& TablePlan::delete_sql(bool whoever) const {
  std::lock_guard lock(made_);
  auto& sql = deletes_[whoever];
  if (sql.empty()) {
    auto found = find_one(1) + (whoever ? "" : and_own());
    sql = exactly_one(fmt::format("delete from {} t where {}", table.sql_own_rows(), found), or_there(found));
  }
  return sql;
}

const std::string& TablePlan::deletion_check_sql() const {
  std::lock_guard lock(made_);
  if (!deletion_check_.empty()) return deletion_check_;
  std::vector<std::string> values;
  for (std::size_t i : key) values.push_back(fmt::format("${}::{}", values.size() + 1, columns[i]->type));
  deletion_check_ = fmt::format(
      "select case when exists (select from tailrace.deletions d where {} and {}) then "
      "pg_catalog.concat('{}', 'deleted')::int end",
      deletion_of(key_object(values)), deleted_since(fmt::format("${}::bigint", values.size() + 1)),
      row_missing);
  return deletion_check_;
}

std::string TablePlan::and_own() const {
  return own_rows.empty() ? "" : " and " + own_rows;
}

std::string TablePlan::deletion_of(const std::string& object) const {
  return fmt::format(
      "d.relation = {} and pg_catalog.jsonb_hash_extended(d.key, 0) = pg_catalog.jsonb_hash_extended({}, 0) "
      "and d.key = {}",
      deletions->relation, object, object);
}

std::string TablePlan::deleted_since(const std::string& micros) const {
  return fmt::format(
      "{} and pg_catalog.pg_xact_commit_timestamp(d.xmin) >= '2000-01-01 00:00:00+00'::pg_catalog.timestamptz "
      "+ {} * interval '1 microsecond'",
      deletions->foreign, micros);
}

std::string TablePlan::key_object(const std::vector<std::string>& values) const {
  std::string out;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const auto& column = *columns[key[i]];
    out += fmt::format("{}{}, {}", out.empty() ? "" : ", ", quote_literal(column.name),
                       for_json(column, values[i]));
  }
  return fmt::format("pg_catalog.jsonb_build_object({})", out);
}

std::string TablePlan::make_insert() const {
  if (columns.empty()) return fmt::format("insert into {} default values", table.sql_name());
  std::string values;
  for (std::size_t i = 0; i < columns.size(); ++i)
    values += fmt::format("{}${}::{}", i == 0 ? "" : ", ", i + 1, columns[i]->type);
  return fmt::format("insert into {} ({}) overriding system value values ({})", table.sql_name(), column_list(),
                     values);
}

std::string TablePlan::make_update(const ColumnSet& set, bool whoever) const {
  std::string assign;
  std::size_t parameter = 0;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!set[i]) continue;
    ++parameter;
    assign += fmt::format("{}{} = ${}::{}", assign.empty() ? "" : ", ", quote_identifier(columns[i]->name),
                          parameter, columns[i]->type);
  }
  std::string where;
  for (std::size_t i : fixed) {
    where +=
        fmt::format("t.{} = ${}::{} and ", quote_identifier(columns[i]->name), ++parameter, columns[i]->type);
  }
  where += find_one(parameter + 1) + (whoever ? "" : and_own());
  return exactly_one(fmt::format("update {} t set {} where {}", table.sql_own_rows(), assign, where),
                     or_there(where));
}

std::string TablePlan::or_there(const std::string& condition) const {
  if (table.row_order.empty()) return {};
  return fmt::format("select from {} t where {}", table.sql_own_rows(), condition);
}

std::string TablePlan::find_one(std::size_t first_parameter) const {
  std::string out;
  if (!key.empty()) {
    for (std::size_t i = 0; i < key.size(); ++i) {
      const auto& column = *columns[key[i]];
      out += fmt::format("{}t.{} {} ${}::{}", i == 0 ? "" : " and ", quote_identifier(column.name),
                         column.equals, first_parameter + i, column.type);
    }
    return out;
  }
  // Without a key, one of the equal rows. Text tells values of every type apart, also those without equality.
  for (std::size_t i = 0; i < columns.size(); ++i) {
    out += fmt::format(" and f.{}::pg_catalog.text is not distinct from ${}::{}::pg_catalog.text",
                       quote_identifier(columns[i]->name), first_parameter + i, columns[i]->type);
  }
  return fmt::format("(t.tableoid, t.ctid) in (select f.tableoid, f.ctid from {} f where true{} limit 1)",
                     table.sql_own_rows(), out);
}

std::string TablePlan::assignments(const ColumnSet& set) const {
  std::string out;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!set[i]) continue;
    auto name = quote_identifier(columns[i]->name);
    out += fmt::format("{}{} = s.{}", out.empty() ? "" : ", ", name, name);
  }
  return out;
}

std::string TablePlan::key_condition(bool update) const {
  std::string out;
  std::vector<std::size_t> all = key;
  if (update) all.insert(all.end(), fixed.begin(), fixed.end());
  for (std::size_t i : all) {
    auto name = quote_identifier(columns[i]->name);
    out += fmt::format("{}t.{} {} s.{}", out.empty() ? "" : " and ", name, columns[i]->equals, name);
  }
  return out + and_own();
}

/// Two traps. Of an array that the planner sees it looks at every element, which costs a sixth of what a delete
/// does; only without an index, or with partitions to leave out, must it see it. And before PostgreSQL 17 a
/// scan descends the index for every element; where keys lie close together it is cheaper to walk from the
/// first to the last and look each row's key up in the array, which the server hashes only where the planner
/// sees it: within CASE it sees it and estimates nothing.
std::string TablePlan::in_array_condition(const std::optional<KeyRange>& range) const {
  if (key.size() != 1) return {};
  const auto& column = *columns[key.front()];
  if (std::ranges::find(array_elements, column.type_oid) == std::end(array_elements)) return {};
  auto name = quote_identifier(column.name);
  if (range) {
    return fmt::format("t.{0} between '{1}' and '{2}' and case when t.{0} {3} any ($1::{4}[]) then true end{5}",
                       name, range->first, range->last, column.equals, column.type, and_own());
  }
  auto array = fmt::format("$1::{}[]", column.type);
  bool indexed = table.primary_key.size() == 1 && table.primary_key.front() == column.name;
  if (indexed && table.kind != 'p') array = fmt::format("(select {})::{}[]", array, column.type);
  return fmt::format("t.{} {} any ({}){}", name, column.equals, array, and_own());
}

std::string TablePlan::row_text(const std::string& alias) const {
  std::string out;
  for (const auto* column : columns)
    out +=
        fmt::format("{}{}.{}::pg_catalog.text", out.empty() ? "" : ", ", alias, quote_identifier(column->name));
  return fmt::format("row({})::pg_catalog.text", out);
}

}  // namespace tailrace::target::postgres
