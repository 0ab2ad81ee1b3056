#include "target/postgres/new_objects.h"

#include "base/log.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* looking = "noting what is made at the target";
constexpr const char* dropping = "taking back what was made at the target";

/// Users' objects, with the transaction that wrote the row last.
constexpr std::string_view all =
    "with everything (catalog, oid, writer) as ("
    "select 2615::pg_catalog.oid, oid, xmin from pg_catalog.pg_namespace where oid >= 16384 "
    "union all select 3079, oid, xmin from pg_catalog.pg_extension where oid >= 16384 "
    "union all select 1247, t.oid, t.xmin from pg_catalog.pg_type t where t.oid >= 16384 and t.typelem = 0 "
    "and (t.typrelid = 0 or exists (select from pg_catalog.pg_class c where c.oid = t.typrelid and c.relkind = "
    "'c')) "
    "union all select 1255, oid, xmin from pg_catalog.pg_proc where oid >= 16384 "
    "union all select 3456, oid, xmin from pg_catalog.pg_collation where oid >= 16384 "
    "union all select 1259, oid, xmin from pg_catalog.pg_class where oid >= 16384 "
    "and relkind in ('r', 'p', 'v', 'm', 'S')) ";

std::string list_of(const std::vector<NewObject>& objects) {
  std::string out;
  for (const auto& object : objects)
    out += fmt::format("{}({}::pg_catalog.oid, {}::pg_catalog.oid)", out.empty() ? "" : ", ", object.catalog,
                       object.oid);
  return out;
}

}  // namespace

NewObjects::NewObjects(pg::Connection& connection) : connection_(connection) {
  before_ = connection
                .query(std::string(all) +
                           "select coalesce(pg_catalog.array_agg(catalog || '.' || oid), '{}') from everything",
                       looking)
                .str(0, 0);
}

/// A row that is seen here, of a transaction that is still in progress, is this one's, or of a savepoint of it:
/// what others made meanwhile they have committed. The status is asked by 64 bits, of which a row has the
/// lower.
std::vector<NewObject> NewObjects::made() {
  auto rows = connection_.query(
      std::string(all) +
          "select e.catalog, e.oid from everything e where case when pg_catalog.age(e.writer) <= 0 then "
          "pg_catalog.pg_xact_status((pg_catalog.pg_current_xact_id()::pg_catalog.text::numeric - "
          "pg_catalog.age(e.writer))::pg_catalog.text::pg_catalog.xid8) = 'in progress' "
          "and not (e.catalog || '.' || e.oid = any($1::pg_catalog.text[])) else false end "
          "and not exists (select from pg_catalog.pg_depend d where d.classid = e.catalog and d.objid = e.oid "
          "and d.deptype in ('i', 'e')) order by e.oid desc",
      {before_}, looking);
  std::vector<NewObject> out;
  for (int i = 0; i < rows.rows(); ++i) out.push_back({rows.oid(i, 0), rows.oid(i, 1)});
  return out;
}

/// In rounds: what needs another one must go first, and an object may go with another.
std::vector<std::string> drop_objects(pg::Connection& connection, const std::vector<NewObject>& objects) {
  std::vector<std::string> left;
  for (std::size_t before = objects.size() + 1; !objects.empty();) {
    auto rows = connection.query(
        fmt::format(
            "{}select pg_catalog.format('DROP %s %s', pg_catalog.upper(i.type), i.identity) "
            "from (values {}) w (catalog, oid) "
            "join everything e on e.catalog = w.catalog and e.oid = w.oid "
            "cross join lateral pg_catalog.pg_identify_object(e.catalog, e.oid, 0) i order by e.oid desc",
            all, list_of(objects)),
        dropping);
    left.clear();
    for (int i = 0; i < rows.rows(); ++i) left.push_back(rows.str(i, 0));
    if (left.empty() || left.size() >= before) break;
    before = left.size();
    for (const auto& sql : left) {
      try {
        connection.query("savepoint taking_back; " + sql + "; release savepoint taking_back", dropping);
      } catch (const Error& error) {
        if (error.sqlstate().empty() || error.retry() == Retry::transient) throw;
        log::debug("target", "{}", error.message());
        connection.query("rollback to savepoint taking_back; release savepoint taking_back", dropping);
      }
    }
  }
  return left;
}

}  // namespace tailrace::target::postgres
