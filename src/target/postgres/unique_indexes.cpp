#include "target/postgres/unique_indexes.h"

#include <algorithm>

namespace tailrace::target::postgres {
namespace {

constexpr const char* reading_indexes = "reading the target's unique indexes";

// An index of a constraint depends on the constraint, one of an expression on the columns themselves.
constexpr const char* indexes = R"(
select i.indexrelid, ic.relname, coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool, false),
       (select pg_catalog.string_agg(a.attname, pg_catalog.chr(10)) from pg_catalog.pg_attribute a
        where a.attrelid = i.indrelid and a.attnum > 0
          and (a.attnum = any(i.indkey::pg_catalog.int2[])
               or exists (select from pg_catalog.pg_depend d
                          where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                          and d.objid = i.indexrelid
                          and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                          and d.refobjid = i.indrelid and d.refobjsubid = a.attnum))),
       i.indpred is null and i.indexprs is null
from pg_catalog.pg_index i join pg_catalog.pg_class ic on ic.oid = i.indexrelid
join pg_catalog.pg_am am on am.oid = ic.relam
where i.indrelid = $1::pg_catalog.oid and i.indisunique and i.indimmediate and i.indisready
  and am.amname = 'btree'
order by i.indisprimary desc, i.indexrelid)";

constexpr const char* parts = R"(
select pg_catalog.pg_get_indexdef(i.indexrelid, k.n, false)
         || case when co.oid is null then ''
            else pg_catalog.format(' collate %I.%I', cn.nspname, co.collname) end,
       pg_catalog.format('operator(%I.%s)', opn.nspname, o.oprname)
from pg_catalog.pg_index i cross join lateral pg_catalog.generate_series(1, i.indnkeyatts) k(n)
join pg_catalog.pg_opclass oc on oc.oid = (i.indclass::pg_catalog.oid[])[k.n - 1]
join pg_catalog.pg_amop ao on ao.amopfamily = oc.opcfamily
  and ao.amopmethod = oc.opcmethod and ao.amopstrategy = 3
  and ao.amoplefttype = oc.opcintype and ao.amoprighttype = oc.opcintype
join pg_catalog.pg_operator o on o.oid = ao.amopopr
join pg_catalog.pg_namespace opn on opn.oid = o.oprnamespace
left join pg_catalog.pg_collation co on co.oid = (i.indcollation::pg_catalog.oid[])[k.n - 1]
left join pg_catalog.pg_namespace cn on cn.oid = co.collnamespace
where i.indexrelid = $1::pg_catalog.oid order by k.n)";

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

}  // namespace

std::string UniqueIndex::meets(const std::string& row) const {
  std::string out;
  for (const auto& part : parts_) {
    auto wanted = fmt::format("(select {} from {} n)", part.expression, row);
    out += fmt::format(
        "{}({} {} {}{})", out.empty() ? "" : " and ", part.expression, part.equals, wanted,
        nulls_equal_ ? fmt::format(" or ({} is null and {} is null)", part.expression, wanted) : "");
  }
  if (!predicate_.empty())
    out += fmt::format(" and ({}) and (select ({}) from {} n)", predicate_, predicate_, row);
  return out;
}

std::vector<UniqueIndex> unique_indexes(pg::Connection& connection, const TablePlan& plan) {
  std::vector<UniqueIndex> out;
  auto found = connection.query(indexes, {std::to_string(plan.table.oid)}, reading_indexes);
  for (int i = 0; i < found.rows(); ++i) {
    UniqueIndex index;
    index.name = found.str(i, 1);
    index.predicate_ = found.str(i, 2);
    index.nulls_equal_ = found.flag(i, 3);
    bool fed = true;
    for (const auto& name : lines_of(found.str(i, 4))) {
      auto column = std::ranges::find(plan.relation->columns, name, &RelationColumn::name);
      fed = fed && column != plan.relation->columns.end();
      if (fed) index.columns.push_back(static_cast<std::size_t>(column - plan.relation->columns.begin()));
    }
    if (!fed) continue;
    auto sorted = index.columns;
    std::ranges::sort(sorted);
    index.is_key = found.flag(i, 5) && sorted == plan.key;
    auto keys = connection.query(parts, {found.str(i, 0)}, reading_indexes);
    for (int k = 0; k < keys.rows(); ++k) index.parts_.push_back({keys.str(k, 0), keys.str(k, 1)});
    out.push_back(std::move(index));
  }
  return out;
}

}  // namespace tailrace::target::postgres
