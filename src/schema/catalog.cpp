#include "schema/catalog.h"

#include <algorithm>
#include <iterator>

#include "schema/partition_tree.h"

namespace tailrace::schema {
namespace {

/// One answer is bounded, and of ten thousand tables it would be large.
constexpr std::ptrdiff_t tables_an_answer = 500;

std::string oid_array(const std::vector<Oid>& oids) {
  std::string out = "{";
  for (Oid oid : oids) out += fmt::format("{}{}", out.size() > 1 ? "," : "", oid);
  return out + "}";
}

/// The text of the one element of an array of one dimension. Whatever its type's delimiter is (box has ';'),
/// there is no other element to be told apart from.
std::string only_element(std::string_view array) {
  auto begin = array.find('{');
  if (begin == std::string_view::npos || !array.ends_with('}')) return std::string(array);
  array = array.substr(begin + 1, array.size() - begin - 2);
  if (!array.starts_with('"')) return std::string(array);
  std::string out;
  for (std::size_t i = 1; i + 1 < array.size(); ++i) {
    if (array[i] == '\\') ++i;
    out += array[i];
  }
  return out;
}

}  // namespace

bool Table::has_key() const {
  return identity != ReplicaIdentity::full &&
         std::any_of(columns.begin(), columns.end(), [](const auto& column) { return column.is_key; });
}

std::vector<Table> Catalog::tables(const std::vector<Wanted>& wanted, Detail detail) {
  forget_labels();
  std::vector<Table> out;
  out.reserve(wanted.size());
  for (auto at = wanted.begin(); at != wanted.end();) {
    auto count = std::min<std::ptrdiff_t>(tables_an_answer, wanted.end() - at);
    std::ranges::move(read_tables({at, at + count}, detail), std::back_inserter(out));
    at += count;
  }
  return out;
}

std::vector<Table> Catalog::read_tables(const std::vector<Wanted>& wanted, Detail detail) {
  std::vector<Oid> oids;
  for (const auto& table : wanted) oids.push_back(table.oid);
  // From pg_inherits itself: pg_partition_tree() shows what is now, not what the snapshot sees.
  auto of_leaves = [&](const char* sum) {
    return fmt::format(
        "(with recursive {} select pg_catalog.sum({})::pg_catalog.int8 from tree t "
        "join pg_catalog.pg_class l on l.oid = t.relid where l.relkind = 'r')",
        partition_tree(connection_.server_version(), "array[c.oid]"), sum);
  };
  auto sizes = fmt::format(
      "case when c.relkind = 'p' then {} else c.reltuples::pg_catalog.int8 end, "
      "case when c.relkind = 'p' then coalesce({}, 0) else pg_catalog.pg_table_size(c.oid) end",
      of_leaves("greatest(l.reltuples, 0)"), of_leaves("pg_catalog.pg_table_size(l.oid)"));
  auto rows = connection_.query(
      fmt::format("select c.oid, n.nspname, c.relname, c.relreplident, c.relkind, c.relfilenode, {}, "
                  "c.reltoastrelid, c.relnatts, c.xmin::pg_catalog.text::pg_catalog.int8, c.relispartition "
                  "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                  "where c.oid = any($1::pg_catalog.oid[])",
                  detail == Detail::measured ? sizes : std::string("-1::pg_catalog.int8, 0::pg_catalog.int8")),
      {oid_array(oids)}, "reading the selected tables");
  std::map<Oid, Table> found;
  for (int row = 0; row < rows.rows(); ++row) {
    Table table;
    table.oid = rows.oid(row, 0);
    table.schema = rows.str(row, 1);
    table.name = rows.str(row, 2);
    table.identity = static_cast<ReplicaIdentity>(rows.get(row, 3)[0]);
    table.partitioned = rows.get(row, 4) == "p";
    table.filenode = rows.oid(row, 5);
    table.estimated_rows = rows.i64(row, 6);
    table.bytes = rows.i64(row, 7);
    table.storage.highest_attnum = static_cast<std::int16_t>(rows.i64(row, 9));
    table.partition = rows.flag(row, 11);
    if (!table.partitioned)
      table.storage.heaps.push_back(
          {table.oid, table.filenode, rows.oid(row, 8), "", static_cast<Xid>(rows.i64(row, 10))});
    found.emplace(table.oid, std::move(table));
  }
  std::vector<Table> out;
  for (const auto& table : wanted) {
    auto at = found.find(table.oid);
    if (at == found.end()) continue;
    out.push_back(std::move(at->second));
    out.back().row_filter = table.row_filter;
    out.back().membership = table.membership;
  }
  read_columns(wanted, out, detail);
  read_leaves(out);
  return out;
}

void Catalog::read_columns(const std::vector<Wanted>& wanted, std::vector<Table>& tables, Detail detail) {
  std::map<Oid, const Wanted*> wanted_by_oid;
  for (const auto& table : wanted) wanted_by_oid[table.oid] = &table;
  std::map<Oid, Table*> by_oid;
  std::vector<Oid> oids;
  for (auto& table : tables) {
    by_oid[table.oid] = &table;
    oids.push_back(table.oid);
  }
  constexpr const char* distinct =
      "coalesce((select s.n_distinct < -0.9 from pg_catalog.pg_stats s where s.schemaname = n.nspname and "
      "s.tablename = c.relname and s.attname = a.attname and s.inherited = (c.relkind = 'p')), false)";
  auto rows = connection_.query(
      fmt::format(
          "select c.oid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attndims, a.attnotnull, "
          "exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and a.attnum = any(i.indkey) and "
          "case c.relreplident when 'd' then i.indisprimary and i.indimmediate and i.indisvalid "
          "when 'i' then i.indisreplident else false end), a.attgenerated <> '', "
          "a.xmin::pg_catalog.text::pg_catalog.int8, {} "
          "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
          "where c.oid = any($1::pg_catalog.oid[]) order by c.oid, a.attnum",
          detail == Detail::measured ? distinct : "false"),
      {oid_array(oids)}, "reading the selected columns");
  std::vector<Oid> type_oids;
  for (int row = 0; row < rows.rows(); ++row) type_oids.push_back(rows.oid(row, 3));
  load_types(type_oids);
  // Only from 18 on can a generated column be published.
  bool generated_columns = connection_.server_version() >= 180000;
  for (int row = 0; row < rows.rows(); ++row) {
    Column column;
    column.attnum = static_cast<std::int16_t>(rows.i64(row, 1));
    column.name = rows.str(row, 2);
    column.type = types_.at(rows.oid(row, 3));
    column.typmod = static_cast<std::int32_t>(rows.i64(row, 4));
    column.dimensions = static_cast<int>(rows.i64(row, 5));
    column.not_null = rows.flag(row, 6);
    column.is_key = rows.flag(row, 7);
    column.generated = rows.flag(row, 8);
    column.version = static_cast<std::uint32_t>(rows.i64(row, 9));
    column.distinct = rows.flag(row, 10);
    const auto& names = wanted_by_oid.at(rows.oid(row, 0))->columns;
    if (column.generated && (!generated_columns || names.empty())) continue;
    if (!names.empty() && std::find(names.begin(), names.end(), column.name) == names.end()) continue;
    by_oid.at(rows.oid(row, 0))->columns.push_back(std::move(column));
  }
}

/// From pg_inherits itself: pg_partition_tree() shows what is now, not what the snapshot sees.
void Catalog::read_leaves(std::vector<Table>& tables) {
  std::vector<Oid> roots;
  std::map<Oid, Table*> by_oid;
  for (auto& table : tables) {
    if (!table.partitioned) continue;
    roots.push_back(table.oid);
    by_oid[table.oid] = &table;
  }
  if (roots.empty()) return;
  auto rows = connection_.query(
      "with recursive tree(root, relid, attached) as (select o, o, '' "
      "from pg_catalog.unnest($1::pg_catalog.oid[]) o "
      "union all select t.root, i.inhrelid, i.xmin::pg_catalog.text || case t.attached "
      "when '' then '' else '.' || "
      "t.attached end from tree t join pg_catalog.pg_inherits i on i.inhparent = t.relid) "
      "select t.root, c.oid, c.relfilenode, c.reltoastrelid, t.attached, "
      "c.xmin::pg_catalog.text::pg_catalog.int8 "
      "from tree t join pg_catalog.pg_class c on c.oid = t.relid where c.relkind = 'r' order by 1, 2",
      {oid_array(roots)}, "reading the partitions of the selected tables");
  for (int row = 0; row < rows.rows(); ++row) {
    by_oid.at(rows.oid(row, 0))
        ->storage.heaps.push_back({rows.oid(row, 1), rows.oid(row, 2), rows.oid(row, 3), rows.str(row, 4),
                                   static_cast<Xid>(rows.i64(row, 5))});
  }
}

std::set<Oid> Catalog::began_empty(Oid root, const std::vector<Oid>& leaves) {
  // ATTACH writes the columns' pg_attribute rows anew, which CREATE TABLE ... PARTITION OF writes together with
  // those of the system columns, which nothing ever changes. A table's first file has its own number: one that
  // was truncated since may have had rows that the stream told of. A size is asked for last, and not of a leaf
  // that somebody has locked: its transaction may wait for us.
  auto rows = connection_.query(
      fmt::format(
          "with recursive up(leaf, relid) as (select o, o "
          "from pg_catalog.unnest($1::pg_catalog.oid[]) o union all "
          "select u.leaf, i.inhparent from up u join pg_catalog.pg_inherits i on i.inhrelid = u.relid "
          "where i.inhparent <> {}) select c.oid from up u join pg_catalog.pg_class c on c.oid = u.leaf "
          "group by c.oid, c.relfilenode having c.relfilenode = c.oid "
          "and case when pg_catalog.bool_and(exists ("
          "select from pg_catalog.pg_attribute a join pg_catalog.pg_attribute s "
          "on s.attrelid = a.attrelid and s.attnum = -1 and s.xmin = a.xmin and s.cmin = a.cmin "
          "where a.attrelid = u.relid and a.attnum > 0)) then true "
          "when exists (select from pg_catalog.pg_locks l where l.locktype = 'relation' and "
          "l.mode = 'AccessExclusiveLock' and l.relation = c.oid and l.database = (select d.oid from "
          "pg_catalog.pg_database d where d.datname = pg_catalog.current_database())) then false "
          "else pg_catalog.pg_relation_size(c.oid) = 0 end",
          root),
      {oid_array(leaves)}, "looking at new partitions");
  std::set<Oid> out;
  for (int row = 0; row < rows.rows(); ++row) out.insert(rows.oid(row, 0));
  return out;
}

std::shared_ptr<const Type> Catalog::type(Oid oid) {
  forget_labels();
  if (auto found = types_.find(oid); found != types_.end()) return found->second;
  load_types({oid});
  return types_.at(oid);
}

void Catalog::load_types(const std::vector<Oid>& oids) {
  std::vector<Oid> missing;
  for (Oid oid : oids) {
    if (!types_.contains(oid)) missing.push_back(oid);
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  if (missing.empty()) return;
  auto rows = connection_.query(
      "select t.oid, n.nspname, t.typname, t.typtype, case when t.typcategory = 'A' then t.typelem else 0 end, "
      "t.typbasetype, t.typtypmod, t.typndims from pg_catalog.pg_type t "
      "join pg_catalog.pg_namespace n on n.oid = t.typnamespace where t.oid = any($1::pg_catalog.oid[])",
      {oid_array(missing)}, "reading types");
  std::vector<Oid> related;
  for (int row = 0; row < rows.rows(); ++row) {
    for (int column : {4, 5}) {
      if (rows.oid(row, column) != 0) related.push_back(rows.oid(row, column));
    }
  }
  load_types(related);
  std::map<Oid, std::shared_ptr<Type>> enums;
  for (int row = 0; row < rows.rows(); ++row) {
    auto type = std::make_shared<Type>();
    type->oid = rows.oid(row, 0);
    type->schema = rows.str(row, 1);
    type->name = rows.str(row, 2);
    type->kind = rows.get(row, 3)[0];
    if (Oid element = rows.oid(row, 4); element != 0) type->element = types_.at(element);
    if (Oid base = rows.oid(row, 5); base != 0) type->base = types_.at(base);
    type->base_typmod = static_cast<std::int32_t>(rows.i64(row, 6));
    type->base_dimensions = static_cast<int>(rows.i64(row, 7));
    type->builtin = type->schema == "pg_catalog";
    if (type->kind == 'e') enums.emplace(type->oid, type);
    types_.emplace(type->oid, std::move(type));
  }
  if (labels_ == Labels::read && !enums.empty()) load_labels(enums);
  for (Oid oid : missing) {
    if (types_.contains(oid)) continue;
    auto unknown = std::make_shared<Type>();
    unknown->oid = oid;
    unknown->name = "unknown";
    types_.emplace(oid, std::move(unknown));
  }
}

void Catalog::load_labels(const std::map<Oid, std::shared_ptr<Type>>& enums) {
  std::vector<Oid> oids;
  for (const auto& [oid, type] : enums) oids.push_back(oid);
  auto rows = connection_.query(
      "select enumtypid, enumlabel from pg_catalog.pg_enum where enumtypid = any($1::pg_catalog.oid[]) "
      "order by enumtypid, enumsortorder",
      {oid_array(oids)}, "reading the labels of enums");
  for (int row = 0; row < rows.rows(); ++row) enums.at(rows.oid(row, 0))->labels.push_back(rows.str(row, 1));
}

/// Somebody may have added one, or given it another name.
void Catalog::forget_labels() {
  if (labels_ == Labels::read) types_.clear();
}

/// One statement, so that the heap's file and the columns' versions are of one moment.
Catalog::Shape Catalog::shape(Oid table) {
  // attmissingval is an anyarray of one value. As text it is taken apart here: SQL can only through the array's
  // own type, and not everything that is split at commas is one value.
  auto rows = connection_.query(
      fmt::format(
          "select a.attnum, a.attname, a.attndims, a.xmin::pg_catalog.text::pg_catalog.int8, a.atthasmissing, "
          "case when a.atthasmissing then a.attmissingval::pg_catalog.text end, "
          "a.atttypid, a.attgenerated <> '', c.relfilenode, c.relnatts, c.reltoastrelid "
          "from pg_catalog.pg_class c left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > "
          "0 "
          "and not a.attisdropped where c.oid = {}",
          table),
      "reading the columns of a changed table");
  Shape out;
  for (int row = 0; row < rows.rows(); ++row) {
    out.filenode = rows.oid(row, 8);
    out.toast = rows.oid(row, 10);
    out.highest_attnum = static_cast<std::int16_t>(rows.i64(row, 9));
    if (rows.is_null(row, 0)) continue;
    Attribute attribute{rows.str(row, 1),
                        rows.oid(row, 6),
                        static_cast<int>(rows.i64(row, 2)),
                        static_cast<std::uint32_t>(rows.i64(row, 3)),
                        rows.flag(row, 7),
                        std::nullopt};
    if (rows.flag(row, 4)) attribute.missing_value = only_element(rows.get(row, 5));
    out.columns.emplace(static_cast<std::int16_t>(rows.i64(row, 0)), std::move(attribute));
  }
  return out;
}

std::map<Oid, std::vector<Catalog::Leaf>> Catalog::leaves(const std::vector<Table>& tables) {
  std::vector<Oid> oids;
  for (const auto& table : tables) oids.push_back(table.oid);
  auto rows = connection_.query(
      fmt::format("with recursive {} select t.root, n.nspname, c.relname, pg_catalog.pg_relation_size(c.oid) / "
                  "pg_catalog.current_setting('block_size')::pg_catalog.int8, "
                  "pg_catalog.pg_table_size(c.oid) > 64 * pg_catalog.pg_relation_size(c.oid) + 33554432, c.oid "
                  "from tree t join pg_catalog.pg_class c on c.oid = t.relid "
                  "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' order by 4 "
                  "desc, 2, 3",
                  partition_tree(connection_.server_version(), "$1")),
      {oid_array(oids)}, "measuring the tables");
  std::map<Oid, std::vector<Leaf>> out;
  for (int row = 0; row < rows.rows(); ++row)
    out[rows.oid(row, 0)].push_back(
        {rows.str(row, 1), rows.str(row, 2), rows.i64(row, 3), rows.flag(row, 4), rows.oid(row, 5)});
  return out;
}

}  // namespace tailrace::schema
