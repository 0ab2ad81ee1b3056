#include "schema/reading.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/sql_text.h"
#include "schema/role_rights.h"

namespace tailrace::schema {
namespace {

constexpr const char* judging = "looking at what reading a table runs";
constexpr const char* remedy =
    "Connect there as a role that is no superuser, or set schema.trust_source: on if whoever may change these "
    "tables is trusted with a superuser's rights";

// The tables, and the partitions below them: while we are a superuser.
std::string leaves() {
  return fmt::format(
      "with leaf as (select t.oid as root, coalesce(p.relid::pg_catalog.oid, t.oid) as oid "
      "from pg_catalog.pg_class t "
      "left join lateral pg_catalog.pg_partition_tree(t.oid) p on t.relkind = 'p' "
      "where t.oid = any($1::pg_catalog.oid[]) and {})",
      superuser_here);
}

template <typename Oids>
std::string as_list(const Oids& oids) {
  return fmt::format("{{{}}}", fmt::join(oids, ","));
}

std::set<Oid> ask(pg::Connection& connection, const std::string& sql, const std::vector<Oid>& tables) {
  if (tables.empty()) return {};
  auto rows = connection.query(leaves() + sql, {as_list(tables)}, judging);
  std::set<Oid> out;
  for (int row = 0; row < rows.rows(); ++row) out.insert(rows.oid(row, 0));
  return out;
}

Error would_run(std::string_view tables) {
  return {Retry::needs_operator,
          fmt::format("a query of {} would run functions of its indexes, which others have written, with the "
                      "rights of a superuser",
                      tables),
          remedy};
}

bool is_standby(pg::Connection& connection) {
  return connection.query("select pg_catalog.pg_is_in_recovery()", judging).flag(0, 0);
}

Error may_run(std::string_view tables) {
  return {Retry::needs_operator,
          fmt::format("{} would be queried with the rights of a superuser, and at a standby nobody can be kept "
                      "from giving it indexes meanwhile whose functions a query runs",
                      tables),
          remedy};
}

/// Of what the server said when the lock was asked for.
Error not_locked(const std::string& name, const Error& error) {
  for (auto standby : {"0A000", "25006", "55000"}) {
    if (error.sqlstate() == standby) return may_run(name);
  }
  return error;
}

std::set<Oid> run_code_of_others(pg::Connection& connection, const std::vector<Oid>& tables) {
  // An operator is what its function is.
  return ask(
      connection,
      ", place as (select root, oid, 1259 as c, oid as o from leaf "
      "union all select l.root, l.oid, 1259, i.indexrelid from leaf l join pg_catalog.pg_index i on i.indrelid "
      "= l.oid "
      "union all select l.root, l.oid, 3381, s.oid from leaf l join pg_catalog.pg_statistic_ext s on "
      "s.stxrelid = l.oid) "
      "select distinct place.root from place join pg_catalog.pg_class t on t.oid = place.oid "
      "join pg_catalog.pg_roles owner on owner.oid = t.relowner "
      "join pg_catalog.pg_depend d on d.classid = place.c and d.objid = place.o "
      "cross join lateral (select d.refobjid where d.refclassid = 1255 union all "
      "select op.oprcode::pg_catalog.oid from pg_catalog.pg_operator op "
      "where d.refclassid = 2617 and op.oid = d.refobjid) called (oid) "
      "join pg_catalog.pg_proc f on f.oid = called.oid join pg_catalog.pg_roles author on author.oid = "
      "f.proowner "
      // Who made a trusted extension owns it, and can make functions of his members of it.
      "where not (author.rolsuper and (owner.rolsuper or exists (select from pg_catalog.pg_depend e "
      "where e.classid = 1255 and e.objid = f.oid and e.deptype = 'e')))",
      tables);
}

std::set<Oid> open_to_others(pg::Connection& connection, const std::vector<Oid>& tables) {
  // Who owns the schema can put another table in its place. pg_database_owner (6171) is whoever owns the
  // database.
  return ask(
      connection,
      " select distinct leaf.root from leaf join pg_catalog.pg_class t on t.oid = leaf.oid "
      "join pg_catalog.pg_namespace n on n.oid = t.relnamespace where exists (select from pg_catalog.pg_roles "
      "r where not r.rolsuper and r.oid in (t.relowner, case when n.nspowner <> 6171 then n.nspowner else "
      "(select datdba from pg_catalog.pg_database where datname = pg_catalog.current_database()) end))",
      tables);
}

}  // namespace

Judged judge_queries(pg::Connection& connection, const std::vector<Oid>& tables) {
  Judged out{run_code_of_others(connection, tables), open_to_others(connection, tables)};
  if (!out.open_to_others.empty() && is_standby(connection))
    out.refused.insert(out.open_to_others.begin(), out.open_to_others.end());
  return out;
}

void refuse_to_query(pg::Connection& source, const std::set<Oid>& tables) {
  auto names = source.query(
      "select pg_catalog.string_agg(oid::pg_catalog.regclass::pg_catalog.text, ', ' order by oid) "
      "from pg_catalog.pg_class where oid = any($1::pg_catalog.oid[])",
      {as_list(tables)}, "naming tables");
  throw is_standby(source) ? may_run(names.get(0, 0)) : would_run(names.get(0, 0));
}

QueryGuard::QueryGuard(std::string conninfo, std::string application_name, const StopSignal& stop)
    : conninfo_(std::move(conninfo)), application_name_(std::move(application_name)), stop_(stop) {}

std::optional<Error> QueryGuard::while_judged(const std::string& schema, const std::string& name, bool tree,
                                              const std::function<void()>& query) {
  std::lock_guard lock(mutex_);
  std::optional<Error> refused;
  try {
    refused = lock_and_judge(schema, name, tree);
    if (!refused) query();
  } catch (...) {
    let_go();
    throw;
  }
  let_go();
  return refused;
}

std::optional<Error> QueryGuard::lock_and_judge(const std::string& schema, const std::string& name, bool tree) {
  auto table = quote_qualified(schema, name);
  try {
    if (!connection_) {
      connection_ = pg::Connection::open(conninfo_, {pg::Mode::sql, application_name_});
      connection_->leave_on(stop_);
    }
    // The schema's row too: renamed, it would make room for another table of this name. Who waits for us may
    // be whom we wait for, by way of the transaction that reads: so not for ever.
    auto found =
        connection_->query(fmt::format("begin read write; set local lock_timeout = '10s'; "
                                       "select from pg_catalog.pg_namespace where nspname = {} for share; "
                                       "lock table {}{} in share update exclusive mode; "
                                       "select oid, relkind in ('r', 'p') from pg_catalog.pg_class where oid = "
                                       "{}::pg_catalog.regclass",
                                       quote_literal(schema), tree ? "" : "only ", table, quote_literal(table)),
                           "keeping others from changing " + table);
    auto judged = run_code_of_others(*connection_, {found.oid(0, 0)});
    if (found.flag(0, 1) && judged.empty()) return std::nullopt;
    return would_run(schema + "." + name);
  } catch (const Error& error) {
    return not_locked(schema + "." + name, error);
  }
}

void QueryGuard::let_go() noexcept {
  if (!connection_) return;
  try {
    connection_->query("rollback", "letting others change a table again");
  } catch (const std::exception& error) {
    // The connection is gone, and the lock with it.
    log::debug("source", "{}", error.what());
    connection_.reset();
  }
}

}  // namespace tailrace::schema
