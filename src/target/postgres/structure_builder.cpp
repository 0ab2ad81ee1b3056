#include "target/postgres/structure_builder.h"

#include <algorithm>

#include "base/log.h"
#include "base/sql_text.h"
#include "schema/role_rights.h"
#include "schema/structure.h"
#include "target/postgres/books_rights.h"

namespace tailrace::target::postgres {
schema::StructureOptions structure_options(pg::Connection& connection, const PostgresOptions& options) {
  schema::StructureOptions out;
  out.owners = options.owners;
  out.privileges = options.privileges;
  out.trust_source = options.trust_source;
  out.target_version = connection.server_version();
  out.target_role = connection.query("select current_user", "looking at our role").str(0, 0);
  out.target_superuser = schema::may_be_superuser(connection);
  out.target_rights = schema::read_role_rights(connection);
  // Everybody may call a function and use a type by PostgreSQL's own defaults.
  auto opened = connection.query(
      "select distinct d.defaclobjtype, case when a.grantee = 0 then 'PUBLIC' else "
      "pg_catalog.quote_ident(r.rolname) "
      "end from pg_catalog.pg_default_acl d cross join lateral pg_catalog.aclexplode(d.defaclacl) a "
      "left join pg_catalog.pg_roles r on r.oid = a.grantee "
      "where d.defaclrole = (select oid from pg_catalog.pg_roles where rolname = current_user) "
      "and a.grantee <> d.defaclrole and (a.grantee = 0 or r.oid is not null) "
      "and not (a.grantee = 0 and d.defaclobjtype in ('f', 'T')) order by 1, 2",
      "looking at the default privileges");
  for (int row = 0; row < opened.rows(); ++row)
    out.opened_to[opened.get(row, 0)[0]].push_back(opened.str(row, 1));
  auto schemas = connection.query(
      "with trusted as (select r.oid from pg_catalog.pg_roles r where r.rolsuper or r.rolname = current_user "
      "or r.rolname = 'pg_database_owner' and exists (select from pg_catalog.pg_database d "
      "join pg_catalog.pg_roles o on o.oid = d.datdba where d.datname = pg_catalog.current_database() "
      "and (o.rolsuper or o.rolname = current_user))) "
      "select n.nspname from pg_catalog.pg_namespace n where n.nspname !~ '^pg_' "
      "and (not n.nspowner in (select oid from trusted) "
      "or exists (select from pg_catalog.aclexplode(n.nspacl) a where a.privilege_type = 'CREATE' "
      "and not a.grantee in (select oid from trusted)) "
      "or exists (select from pg_catalog.pg_proc p where p.pronamespace = n.oid "
      "and not p.proowner in (select oid from trusted)) "
      "or exists (select from pg_catalog.pg_operator p where p.oprnamespace = n.oid "
      "and not p.oprowner in (select oid from trusted))) order by 1",
      "looking at who may make things at the target");
  for (int row = 0; row < schemas.rows(); ++row) out.open_schemas.push_back(schemas.str(row, 0));
  if (!options.trust_source) out.strangers = schema::read_strangers(connection);
  return out;
}

void check_roles(pg::Connection& connection, const std::set<std::string>& roles) {
  std::string missing;
  std::string making;
  for (const auto& role : roles) {
    auto there = connection.query("select from pg_catalog.pg_roles where rolname = $1", {role},
                                  "looking for the target's roles");
    if (there.rows() > 0) continue;
    missing += (missing.empty() ? "" : ", ") + quote_identifier(role);
    making += fmt::format("CREATE ROLE {}; ", quote_identifier(role));
  }
  if (missing.empty()) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("the target lacks roles that own what is copied, or have privileges on it: {}", missing),
      making +
          "-- at the target (pg_dumpall --roles-only at the source shows how); or set schema.owners and "
          "schema.privileges to off");
}

namespace {

/// A table of ours that made room, or was dropped by hand, may have left its name to somebody else's.
void leave_strangers_alone(pg::Connection& connection, Bookkeeping& books,
                           std::vector<Bookkeeping::Pending>& pending) {
  auto others = books.of_others();
  std::erase_if(pending, [&](const auto& entry) {
    auto other = others.find(entry.number);
    if (other == others.end()) return false;
    log::warn("target",
              "left out of the target's structure: the {}: what is called {} there now is not tailrace's",
              entry.statement.what, other->second);
    connection.query(books.done(entry).sql, "noting what is not made");
    return true;
  });
}

}  // namespace

void build_pending(pg::Connection& connection, Bookkeeping& books, const MadeObjects& made,
                   IndexBuilder& indexes, const StopSignal& stop) {
  // It is run.
  check_books_again(connection);
  auto pending = books.read_pending();
  leave_strangers_alone(connection, books, pending);
  std::vector<schema::Statement> rest;
  for (const auto& entry : pending) {
    if (entry.parallel) continue;
    rest.push_back(made.noting(entry.statement));
    rest.push_back(books.done(entry));
  }
  indexes.finish(std::move(pending), stop);
  if (stop.requested() || rest.empty()) return;
  log::info("target", "making {} other things", rest.size() / 2);
  schema::run_structure(connection, rest, schema::Missing::left_out);
}

}  // namespace tailrace::target::postgres
