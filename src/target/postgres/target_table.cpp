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

constexpr const char* table_query = R"(
select c.oid, c.relkind,
       (select string_agg(distinct t.tgname, ', ') from pg_trigger t
        where t.tgrelid in (select c.oid union all select p.relid from pg_partition_tree(c.oid) p)
          and not t.tgisinternal and t.tgenabled in ('R', 'A')
          and t.tgname not in ('tailrace_deletion', 'tailrace_key_change')),
       (select string_agg(r.rulename, ', ') from pg_rewrite r
        where r.ev_class = c.oid and r.rulename <> '_RETURN' and r.ev_enabled in ('R', 'A')),
       exists (select from pg_index i
               where i.indrelid in (select c.oid union all select p.relid from pg_partition_tree(c.oid) p)
                 and (i.indisunique or i.indisexclusion)
                 and not (i.indisprimary and (i.indrelid = c.oid or exists (
                   select from pg_inherits h where h.inhrelid = i.indexrelid))))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2)";

// A domain's base is found by going down; the operator of an extension's type lives in a schema of its own.
constexpr const char* column_query = R"(
with recursive base as (
  select a.attnum, a.atttypid as oid, a.atttypmod as typmod from pg_attribute a
  where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
  union all
  select b.attnum, t.typbasetype, t.typtypmod from base b join pg_type t on t.oid = b.oid where t.typtype = 'd')
select a.attname, format_type(a.atttypid, -1), a.atttypid, t.oid, t.typtype, t.typname, tn.nspname,
       t.typreceive <> 0, a.attgenerated <> '', a.attidentity = 'a',
       (select format('operator(%I.%s)', opn.nspname, o.oprname)
        from pg_opclass oc join pg_amop ao on ao.amopfamily = oc.opcfamily and ao.amopmethod = oc.opcmethod
          and ao.amopstrategy = 3 and ao.amoplefttype = oc.opcintype and ao.amoprighttype = oc.opcintype
        join pg_operator o on o.oid = ao.amopopr join pg_namespace opn on opn.oid = o.oprnamespace
        where oc.opcmethod = 403 and oc.opcdefault and oc.opcintype = t.oid),
       b.typmod, format_type(a.atttypid, a.atttypmod), {}
from pg_attribute a
join base b on b.attnum = a.attnum join pg_type t on t.oid = b.oid and t.typtype <> 'd'
join pg_namespace tn on tn.oid = t.typnamespace
where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped order by a.attnum)";

constexpr const char* key_query = R"(
select a.attname from pg_index i, unnest(i.indkey::int2[]) with ordinality k(attnum, place)
join pg_attribute a on a.attnum = k.attnum
where i.indrelid = $1::oid and i.indisprimary and a.attrelid = i.indrelid and k.place <= i.indnkeyatts
order by k.place)";

}  // namespace

std::string TargetTable::sql_name() const {
  return quote_qualified(schema, name);
}

const TargetColumn* TargetTable::find(const std::string& column) const {
  auto found = std::find_if(columns.begin(), columns.end(), [&](const auto& c) { return c.name == column; });
  return found == columns.end() ? nullptr : &*found;
}

std::optional<TargetTable> load_table(pg::Connection& connection, const std::string& schema,
                                      const std::string& name) {
  constexpr const char* purpose = "reading the target's catalogs";
  auto table = connection.query(table_query, {schema, name}, purpose);
  if (table.rows() == 0) return std::nullopt;
  TargetTable out;
  out.schema = schema;
  out.name = name;
  out.kind = table.get(0, 1).front();
  if (out.kind != 'r' && out.kind != 'p') {
    throw Error(Retry::needs_operator, fmt::format("{}.{} is no table at the target", schema, name),
                "Rename what has this name there, or leave the table out");
  }
  if (!table.is_null(0, 2))
    out.row_order = fmt::format("trigger {} fires for replicated rows", table.get(0, 2));
  if (!table.is_null(0, 3)) out.row_order = fmt::format("rule {} applies to replicated rows", table.get(0, 3));
  out.further_unique = table.flag(0, 4);
  std::string oid = table.str(0, 0);
  out.oid = table.oid(0, 0);
  auto columns = connection.query(
      fmt::format(column_query, connection.server_version() >= compression_since ? column_compression : "''"),
      {oid}, purpose);
  for (int i = 0; i < columns.rows(); ++i) {
    TargetColumn column;
    column.name = columns.str(i, 0);
    column.type = columns.str(i, 1);
    column.type_oid = columns.oid(i, 2);
    column.base_oid = columns.oid(i, 3);
    column.kind = columns.get(i, 4).front();
    column.type_name = columns.str(i, 5);
    column.type_schema = columns.str(i, 6);
    column.receives = columns.flag(i, 7);
    column.generated = columns.flag(i, 8);
    column.identity_always = columns.flag(i, 9);
    column.typmod = static_cast<std::int32_t>(columns.i64(i, 11));
    column.declared = columns.str(i, 12);
    column.compression = columns.str(i, 13);
    column.equals = columns.is_null(i, 10) ? "operator(pg_catalog.=)" : columns.str(i, 10);
    out.columns.push_back(std::move(column));
  }
  auto key = connection.query(key_query, {oid}, purpose);
  for (int i = 0; i < key.rows(); ++i) out.primary_key.push_back(key.str(i, 0));
  return out;
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

void check_fits(const schema::Table& table, const schema::Column& source, const TargetColumn& target) {
  if (fits(*source.type, source.typmod, target)) return;
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
