#include "target/postgres/target_table.h"

#include <algorithm>

#include "base/sql_text.h"

namespace tailrace::target::postgres {
namespace {

// An alias like regclass is an object's number on the wire, and that differs between databases. An empty
// tsquery (3615) is refused in binary by newer servers.
constexpr Oid never_binary[] = {24, 2202, 2203, 2204, 2205, 2206, 3615, 3734, 3769, 4089, 4096, 4191};
// Infinite intervals came with PostgreSQL 17: an older server reads their binary form as some other interval.
constexpr Oid interval_oid = 1186;
constexpr int infinite_intervals_since = 170000;
constexpr int compression_since = 140000;
constexpr const char* column_compression =
    "case a.attcompression when 'l' then 'lz4' when 'p' then 'pglz' else '' end";

// What is asked of many tables at once, or of one, goes down by their indexes, however many others there are:
// the planner, which cannot know how many come, reads whole catalogs where OFFSET 0 does not keep it from that.
constexpr const char* table_query = R"(
select n.nspname, c.relname, c.oid, c.relkind,
       case when c.relispartition then pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid else 0 end
from unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) w (schema, name)
join pg_catalog.pg_namespace n on n.nspname = w.schema
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name)";

constexpr const char* own_query = R"(
select n.nspname, c.relname, c.oid, c.relkind,
       case when c.relispartition then pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid else 0 end
from pg_catalog.unnest($1::pg_catalog.oid[]) w (oid)
cross join lateral (select * from pg_catalog.pg_class where oid = w.oid offset 0) c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace)";

constexpr const char* partition_query =
    "select r.oid, p.relid::pg_catalog.oid from pg_catalog.unnest($1::pg_catalog.oid[]) r (oid), "
    "pg_catalog.pg_partition_tree(r.oid) p where p.relid <> r.oid";

// Of tables, and of their partitions for them.
constexpr const char* traits_query = R"(
select m.root,
       (select pg_catalog.string_agg(t.tgname, ', ' order by t.tgname) from pg_catalog.pg_trigger t
        where t.tgrelid = m.member and not t.tgisinternal and t.tgenabled in ('R', 'A')
          and t.tgname not in ('tailrace_deletion', 'tailrace_key_change')),
       (select pg_catalog.string_agg(r.rulename, ', ') from pg_catalog.pg_rewrite r
        where r.ev_class = m.root and r.rulename <> '_RETURN' and r.ev_enabled in ('R', 'A')),
       exists (select from pg_catalog.pg_index i
               where i.indrelid = m.member and (i.indisunique or i.indisexclusion)
                 and not (i.indisprimary and (i.indrelid = m.root or exists (
                   select from pg_catalog.pg_inherits h where h.inhrelid = i.indexrelid)))),
       (select c.oid::pg_catalog.regclass from pg_catalog.pg_class c
        where c.oid = m.member and c.relkind = 'r' and c.relpersistence = 'u')
from unnest($1::pg_catalog.oid[], $2::pg_catalog.oid[]) m (root, member))";

// A domain's base is found by going down; the operator of an extension's type lives in a schema of its own.
constexpr const char* column_query = R"(
with recursive base as (
  select a.attrelid, a.attnum, a.atttypid as oid, a.atttypmod as typmod from pg_catalog.pg_attribute a
  where a.attrelid = any($1::pg_catalog.oid[]) and a.attnum > 0 and not a.attisdropped
  union all
  select b.attrelid, b.attnum, t.typbasetype, t.typtypmod from base b cross join lateral (
    select typbasetype, typtypmod from pg_catalog.pg_type where oid = b.oid and typtype = 'd' offset 0) t)
select a.attname, pg_catalog.format_type(a.atttypid, -1), a.atttypid, t.oid, t.typtype, t.typname, tn.nspname,
       t.typreceive <> 0, a.attgenerated <> '', a.attidentity = 'a',
       (select pg_catalog.format('operator(%I.%s)', opn.nspname, o.oprname)
        from pg_catalog.pg_opclass oc join pg_catalog.pg_amop ao
          on ao.amopfamily = oc.opcfamily and ao.amopmethod = oc.opcmethod
          and ao.amopstrategy = 3 and ao.amoplefttype = oc.opcintype and ao.amoprighttype = oc.opcintype
        join pg_catalog.pg_operator o on o.oid = ao.amopopr
        join pg_catalog.pg_namespace opn on opn.oid = o.oprnamespace
        where oc.opcmethod = 403 and oc.opcdefault and oc.opcintype = t.oid),
       b.typmod, pg_catalog.format_type(a.atttypid, a.atttypmod), {}, a.attrelid
from base b cross join lateral (
  select * from pg_catalog.pg_attribute where attrelid = b.attrelid and attnum = b.attnum offset 0) a
cross join lateral (select * from pg_catalog.pg_type where oid = b.oid and typtype <> 'd' offset 0) t
cross join lateral (select nspname from pg_catalog.pg_namespace where oid = t.typnamespace offset 0) tn
order by a.attrelid, a.attnum)";

constexpr const char* key_query = R"(
select a.attname, i.indrelid
from pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, place)
join pg_catalog.pg_attribute a on a.attnum = k.attnum
where i.indrelid = any($1::pg_catalog.oid[]) and i.indisprimary
  and a.attrelid = i.indrelid and k.place <= i.indnkeyatts
order by i.indrelid, k.place)";

std::string array_of(const std::vector<std::string>& texts) {
  std::string out;
  for (const auto& text : texts) {
    out += out.empty() ? "{\"" : ",\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out.empty() ? "{}" : out + "}";
}

/// What is there, by its object identifier there.
class TableLoader {
 public:
  TableLoader(pg::Connection& connection, std::map<Oid, TargetTable>& tables)
      : connection_(connection), tables_(tables) {}

  void load(const std::vector<TableName>& names) {
    if (names.empty()) return;
    load_relations(ask(table_query, text_arrays_of(names)));
  }

  void load(const std::vector<Oid>& oids) {
    if (oids.empty()) return;
    std::vector<std::string> texts;
    for (Oid oid : oids) texts.push_back(std::to_string(oid));
    load_relations(ask(own_query, {array_of(texts)}));
  }

 private:
  pg::Result ask(const std::string& sql, const std::vector<std::optional<std::string>>& parameters) {
    return connection_.query_prepared(sql, parameters, "reading the target's catalogs");
  }

  void load_relations(const pg::Result& rows) {
    for (int i = 0; i < rows.rows(); ++i) {
      TargetTable table;
      table.schema = rows.str(i, 0);
      table.name = rows.str(i, 1);
      table.oid = rows.oid(i, 2);
      table.kind = rows.get(i, 3).front();
      table.partition_of = rows.oid(i, 4);
      auto oid = table.oid;
      tables_.emplace(oid, std::move(table));
    }
    if (tables_.empty()) return;
    for (const auto& [oid, table] : tables_) {
      oids_.push_back(std::to_string(oid));
      if (table.kind == 'p') partitioned_.push_back(oids_.back());
    }
    load_traits();
    load_columns();
    load_keys();
  }

  void load_traits() {
    auto roots = oids_;
    auto members = oids_;
    if (!partitioned_.empty()) {
      auto rows = ask(partition_query, {array_of(partitioned_)});
      for (int i = 0; i < rows.rows(); ++i) {
        roots.push_back(rows.str(i, 0));
        members.push_back(rows.str(i, 1));
      }
    }
    auto rows = ask(traits_query, {array_of(roots), array_of(members)});
    for (int i = 0; i < rows.rows(); ++i) {
      auto& table = tables_.at(rows.oid(i, 0));
      if (!rows.is_null(i, 1))
        table.row_order = fmt::format("trigger {} fires for replicated rows", rows.get(i, 1));
      if (!rows.is_null(i, 2))
        table.row_order = fmt::format("rule {} applies to replicated rows", rows.get(i, 2));
      table.further_unique |= rows.flag(i, 3);
      if (!rows.is_null(i, 4)) table.unlogged.push_back(rows.str(i, 4));
    }
  }

  void load_columns() {
    auto sql = fmt::format(column_query,
                           connection_.server_version() >= compression_since ? column_compression : "''");
    auto rows = ask(sql, {array_of(oids_)});
    for (int i = 0; i < rows.rows(); ++i) {
      TargetColumn column;
      column.name = rows.str(i, 0);
      column.type = rows.str(i, 1);
      column.type_oid = rows.oid(i, 2);
      column.base_oid = rows.oid(i, 3);
      column.kind = rows.get(i, 4).front();
      column.type_name = rows.str(i, 5);
      column.type_schema = rows.str(i, 6);
      column.receives = rows.flag(i, 7);
      column.generated = rows.flag(i, 8);
      column.identity_always = rows.flag(i, 9);
      column.equals = rows.is_null(i, 10) ? "operator(pg_catalog.=)" : rows.str(i, 10);
      column.typmod = static_cast<std::int32_t>(rows.i64(i, 11));
      column.declared = rows.str(i, 12);
      column.compression = rows.str(i, 13);
      tables_.at(rows.oid(i, 14)).columns.push_back(std::move(column));
    }
  }

  void load_keys() {
    auto rows = ask(key_query, {array_of(oids_)});
    for (int i = 0; i < rows.rows(); ++i) tables_.at(rows.oid(i, 1)).primary_key.push_back(rows.str(i, 0));
  }

  pg::Connection& connection_;
  std::map<Oid, TargetTable>& tables_;
  std::vector<std::string> oids_;
  std::vector<std::string> partitioned_;
};

}  // namespace

std::vector<std::optional<std::string>> text_arrays_of(const std::vector<TableName>& names) {
  std::vector<std::string> schemas;
  std::vector<std::string> own;
  for (const auto& [schema, name] : names) {
    schemas.push_back(schema);
    own.push_back(name);
  }
  return {array_of(schemas), array_of(own)};
}

std::string TargetTable::sql_name() const {
  return quote_qualified(schema, name);
}

std::string TargetTable::sql_own_rows() const {
  return (kind == 'p' ? "" : "only ") + sql_name();
}

const TargetColumn* TargetTable::find(const std::string& column) const {
  auto found = std::find_if(columns.begin(), columns.end(), [&](const auto& c) { return c.name == column; });
  return found == columns.end() ? nullptr : &*found;
}

namespace {

/// One answer is bounded, and of ten thousand tables it would be large.
constexpr std::ptrdiff_t tables_an_answer = 500;

template <typename Name>
std::map<Oid, TargetTable> load_in_parts(pg::Connection& connection, const std::vector<Name>& names) {
  std::map<Oid, TargetTable> out;
  for (auto at = names.begin(); at != names.end();) {
    auto count = std::min(tables_an_answer, names.end() - at);
    std::map<Oid, TargetTable> part;
    TableLoader(connection, part).load(std::vector<Name>(at, at + count));
    out.merge(part);
    at += count;
  }
  return out;
}

}  // namespace

std::map<TableName, TargetTable> load_tables(pg::Connection& connection, const std::vector<TableName>& names) {
  std::map<TableName, TargetTable> out;
  for (auto& [oid, table] : load_in_parts(connection, names)) {
    TableName name{table.schema, table.name};
    out.emplace(std::move(name), std::move(table));
  }
  return out;
}

std::map<Oid, TargetTable> load_tables(pg::Connection& connection, const std::vector<Oid>& oids) {
  return load_in_parts(connection, oids);
}

std::optional<TargetTable> load_table(pg::Connection& connection, Oid oid) {
  auto found = load_tables(connection, std::vector{oid});
  if (found.empty()) return std::nullopt;
  return std::move(found.begin()->second);
}

namespace {

enum : Oid {
  int8_oid = 20,
  int2_oid = 21,
  int4_oid = 23,
  text_oid = 25,
  json_oid = 114,
  float4_oid = 700,
  float8_oid = 701,
  bpchar_oid = 1042,
  varchar_oid = 1043,
  time_oid = 1083,
  timestamp_oid = 1114,
  timestamptz_oid = 1184,
  timetz_oid = 1266,
  numeric_oid = 1700,
};

/// Types whose modifier makes the target round what it is given.
bool rounds(Oid type) {
  return type == numeric_oid || type == time_oid || type == timetz_oid || type == timestamp_oid ||
         type == timestamptz_oid || type == interval_oid;
}

/// numeric(p,s): s digits after the point (PostgreSQL documentation: "Arbitrary Precision Numbers").
int numeric_scale(std::int32_t typmod) {
  int scale = (typmod - 4) & 0x7ff;
  return (scale ^ 1024) - 1024;
}

/// Every value of a type in the first place is one of the types after it, as its text shows it.
bool widens(Oid from, Oid to) {
  switch (from) {
    case int2_oid:
      return to == int4_oid || to == int8_oid || to == numeric_oid || to == float4_oid || to == float8_oid;
    case int4_oid: return to == int8_oid || to == numeric_oid || to == float8_oid;
    case int8_oid: return to == numeric_oid;
    case float4_oid: return to == float8_oid;
    case bpchar_oid:
    case varchar_oid:
    case text_oid: return to == varchar_oid || to == text_oid || to == json_oid;
    default: return false;
  }
}

bool fits(const schema::Type& source, std::int32_t typmod, const TargetColumn& target) {
  if (target.base_oid == text_oid) return true;
  const schema::Type* base = &source;
  while (base->base) {
    typmod = base->base_typmod;
    base = base->base.get();
  }
  if (!base->builtin || target.type_schema != "pg_catalog")
    return base->name == target.type_name && (!base->builtin || target.type_schema == "pg_catalog");
  const schema::Type* element = base->element ? base->element.get() : base;
  if (base->oid == target.base_oid) {
    if (!rounds(element->oid) || target.typmod == -1 || target.typmod == typmod) return true;
    if (typmod == -1 || element->oid == interval_oid) return false;
    return element->oid == numeric_oid ? numeric_scale(target.typmod) >= numeric_scale(typmod)
                                       : target.typmod > typmod;
  }
  bool whole_numeric =
      target.base_oid != numeric_oid || target.typmod == -1 || numeric_scale(target.typmod) >= 0;
  return widens(base->oid, target.base_oid) && whole_numeric;
}

}  // namespace

bool fits(const schema::Column& source, const TargetColumn& target) {
  return fits(*source.type, source.typmod, target);
}

void check_fits(const schema::Table& table, const schema::Column& source, const TargetColumn& target) {
  if (fits(source, target)) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("column {} of {} is {} at the target, which could alter values of the source's type {}",
                  source.name, table.qualified(), target.declared, source.type->name),
      "Give the target's column the source's type, or a wider one");
}

bool same_binary(const schema::Column& source, const TargetColumn& target, int server_version) {
  if (!target.receives) return false;
  const schema::Type* type = source.type.get();
  while (type->base) type = type->base.get();
  if (type->kind == 'e') {
    return target.kind == 'e' && target.type_name == type->name && target.type_schema == type->schema;
  }
  const schema::Type* element = type->element ? type->element.get() : type;
  bool plain = type->builtin && element->builtin && type->kind != 'c' && element->kind != 'c';
  bool differs = std::ranges::find(never_binary, element->oid) != std::end(never_binary) ||
                 (element->oid == interval_oid && server_version < infinite_intervals_since);
  return plain && !differs && type->oid == target.base_oid;
}

}  // namespace tailrace::target::postgres
