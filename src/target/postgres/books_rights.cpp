#include "target/postgres/books_rights.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "schema/own_books.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* looking = "looking at who may write to tailrace's own tables";
constexpr const char* closing = "making tailrace's own tables at the target nobody else's";

/// Books as tailrace makes them: of one owner, which is us, without a grant and with nothing hung on them. That
/// is told much faster than what else may be right.
bool are_as_made(pg::Connection& connection) {
  auto odd = connection.query(
      "with place as (select oid, nspowner, nspacl from pg_catalog.pg_namespace where nspname = 'tailrace'), "
      "us as (select oid from pg_catalog.pg_roles where rolname = current_user), "
      "book as (select c.oid, c.relowner, c.relacl, c.relhassubclass, c.relhastriggers, c.relhasrules, "
      "c.relrowsecurity from "
      "pg_catalog.pg_class c where c.relnamespace in (select oid from place)) "
      "select exists (select from place where nspacl is not null or nspowner <> (select oid from us)) "
      "or exists (select from book where relacl is not null or relhassubclass or relhastriggers or relhasrules "
      "or relrowsecurity "
      "or relowner <> (select oid from us)) "
      "or exists (select from pg_catalog.pg_attribute a where a.attrelid in (select oid from book) and "
      "a.attacl "
      "is not null) "
      "or exists (select from pg_catalog.pg_policy where polrelid in (select oid from book)) "
      "or exists (select from pg_catalog.pg_constraint where conrelid in (select oid from book) and contype = "
      "'c') "
      "or exists (select from pg_catalog.pg_proc p where p.pronamespace in (select oid from place) and "
      "p.proowner <> (select oid from us))",
      looking);
  return !odd.flag(0, 0);
}

void check_owner(pg::Connection& connection) {
  auto owners = connection.query(
      fmt::format(
          "select distinct pg_catalog.quote_ident(r.rolname) from ("
          "select nspowner from pg_catalog.pg_namespace where nspname = 'tailrace' "
          "union all select c.relowner from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = "
          "c.relnamespace "
          "where n.nspname = 'tailrace' union all select p.proowner from pg_catalog.pg_proc p "
          "join pg_catalog.pg_namespace n on n.oid = p.pronamespace where n.nspname = 'tailrace') o(owner) "
          "join pg_catalog.pg_roles r on r.oid = o.owner where not {}",
          schema::is_believed_role()),
      "looking at the owner of tailrace's own tables");
  if (owners.rows() == 0) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("the schema tailrace at the target, or something in it, belongs to {}, whose code would run "
                  "with the rights of the target's user",
                  owners.get(0, 0)),
      fmt::format("Connect to the target as {0}; or, if nobody laid anything there, give it to the user of "
                  "tailrace (REASSIGN OWNED BY, ALTER ... OWNER TO); or drop the schema tailrace and begin "
                  "anew",
                  owners.get(0, 0)));
}

/// What lets others write there. A statement for all tables takes the grants on columns too, and leaves SELECT.
void check_grants(pg::Connection& connection) {
  auto grants = connection.query(
      fmt::format(
          "with granted (what, kind, name, grantee, privilege) as ("
          "select 'the schema tailrace', 'SCHEMA', '', a.grantee, a.privilege_type "
          "from pg_catalog.pg_namespace n cross join lateral pg_catalog.aclexplode(n.nspacl) a "
          "where n.nspname = 'tailrace' and {0} union all "
          "select pg_catalog.format('tailrace.%I', c.relname), case c.relkind when 'S' then 'ALL SEQUENCES IN "
          "SCHEMA' else 'ALL TABLES IN SCHEMA' end, c.relname, a.grantee, a.privilege_type "
          "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "cross join lateral (select e.* from pg_catalog.aclexplode(c.relacl) e union all select e.* from "
          "pg_catalog.pg_attribute t cross join lateral pg_catalog.aclexplode(t.attacl) e "
          "where t.attrelid = c.oid) a where n.nspname = 'tailrace' and {1}), "
          "named as (select what, kind, name, privilege, case grantee when 0 then 'PUBLIC' else "
          "pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantee)) end as role from granted), "
          "revoked as (select pg_catalog.format('REVOKE %s ON %s tailrace FROM %s CASCADE', "
          "pg_catalog.string_agg(distinct privilege, ', '), kind, pg_catalog.string_agg(distinct role, ', ')) "
          "as sql from named group by kind) "
          "select pg_catalog.string_agg(distinct role, ', '), (pg_catalog.array_agg(what order by name))[1], "
          "pg_catalog.count(distinct name), (select pg_catalog.string_agg(sql, '; ' order by sql) from "
          "revoked) "
          "from named",
          schema::lets_others_write("n.nspowner"), schema::lets_others_write("c.relowner")),
      looking);
  if (grants.is_null(0, 0)) return;
  auto more = grants.i64(0, 2) - 1;
  throw Error(
      Retry::needs_operator,
      fmt::format("{} may write to tailrace's own tables at the target ({}{}), whose content tailrace "
                  "acts on with the rights of the target's user",
                  grants.get(0, 0), grants.get(0, 1), more > 0 ? fmt::format(" and {} more", more) : ""),
      fmt::format("At the target, as the owner of the schema tailrace: {}; SELECT may stay. If these "
                  "roles are not trusted, look into tailrace.structure first: what it holds is run",
                  grants.get(0, 3)));
}

/// Code of others would run when tailrace writes to its own tables, or hide their rows. tailrace itself hangs
/// nothing on them.
void check_attached(pg::Connection& connection) {
  auto attached = connection.query(
      "with books as (select c.oid, pg_catalog.format('tailrace.%I', c.relname) as name, c.relrowsecurity "
      "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "where n.nspname = 'tailrace' and c.relkind in ('r', 'p')), found (what, sql) as ("
      "select pg_catalog.format('the trigger %I of %s', t.tgname, b.name), pg_catalog.format('DROP TRIGGER %I "
      "ON %s', t.tgname, b.name) from books b join pg_catalog.pg_trigger t on t.tgrelid = b.oid "
      "where not t.tgisinternal union all "
      "select pg_catalog.format('the rule %I of %s', r.rulename, b.name), pg_catalog.format('DROP RULE %I ON "
      "%s', r.rulename, b.name) from books b join pg_catalog.pg_rewrite r on r.ev_class = b.oid union all "
      "select pg_catalog.format('the policy %I of %s', p.polname, b.name), pg_catalog.format('DROP POLICY %I "
      "ON %s', p.polname, b.name) from books b join pg_catalog.pg_policy p on p.polrelid = b.oid union all "
      "select pg_catalog.format('row level security of %s', b.name), pg_catalog.format('ALTER TABLE %s DISABLE "
      "ROW LEVEL SECURITY', b.name) from books b where b.relrowsecurity union all "
      "select pg_catalog.format('the foreign key %I of %s', f.conname, f.conrelid::pg_catalog.regclass), "
      "pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', f.conrelid::pg_catalog.regclass, f.conname) "
      "from pg_catalog.pg_constraint f where f.contype = 'f' and f.conparentid = 0 and (f.conrelid in (select "
      "oid from books) or f.confrelid in (select oid from books)) union all "
      "select pg_catalog.format('the check %I of %s', k.conname, b.name), pg_catalog.format('ALTER TABLE %s "
      "DROP CONSTRAINT %I', b.name, k.conname) from books b join pg_catalog.pg_constraint k on k.conrelid = "
      "b.oid where k.contype = 'c' and exists (select from pg_catalog.pg_depend d where d.classid = 2606 and "
      "d.objid = k.oid and d.refclassid in (1255, 2617) and d.refobjid >= 16384) union all "
      "select pg_catalog.format('%s, which inherits from %s', i.inhrelid::pg_catalog.regclass, b.name), "
      "pg_catalog.format('ALTER TABLE %s NO INHERIT %s', i.inhrelid::pg_catalog.regclass, b.name) from books b "
      "join pg_catalog.pg_inherits i on i.inhparent = b.oid) "
      "select (select what from found order by sql limit 1), pg_catalog.count(*), "
      "pg_catalog.string_agg(sql, '; ' order by sql) from found",
      looking);
  auto count = attached.i64(0, 1);
  if (count == 0) return;
  throw Error(Retry::needs_operator,
              fmt::format("tailrace's own tables at the target have what tailrace did not make and would run "
                          "into: {}{}",
                          attached.get(0, 0), count > 1 ? fmt::format(" and {} more", count - 1) : ""),
              fmt::format("At the target, as the owner of the schema tailrace: {}", attached.get(0, 2)));
}

std::string oids_of_books(pg::Connection& connection) {
  return connection
      .query(
          "select coalesce(pg_catalog.array_agg(c.oid), '{}')::pg_catalog.text from pg_catalog.pg_class c "
          "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = 'tailrace'",
          closing)
      .str(0, 0);
}

/// Runs the statements that `sql` yields in its first column.
void run_all(pg::Connection& connection, const std::string& sql,
             const std::vector<std::optional<std::string>>& parameters) {
  auto rows = connection.query(sql, parameters, closing);
  std::string all;
  for (int row = 0; row < rows.rows(); ++row) all += rows.str(row, 0) + ";";
  if (!all.empty()) connection.query(all, closing);
}

/// SQL: whom else than `owner` the access list names, for a REVOKE; NULL: nobody.
std::string others_in(const std::string& list, const std::string& owner) {
  return fmt::format(
      "(select pg_catalog.string_agg(distinct case a.grantee when 0 then 'public' else "
      "pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end, ', ') "
      "from pg_catalog.aclexplode({}) a where a.grantee <> {})",
      list, owner);
}

}  // namespace

void check_books(pg::Connection& connection) {
  if (are_as_made(connection)) return;
  check_owner(connection);
  check_grants(connection);
  check_attached(connection);
}

void check_books_again(pg::Connection& connection) {
  try {
    check_books(connection);
  } catch (const Error& error) {
    throw Error(Retry::transient, error.message(), error.remedy());
  }
}

void close_schema(pg::Connection& connection, const std::string& schema) {
  run_all(connection,
          fmt::format("select pg_catalog.format('revoke all on schema %I from %s', n.nspname, o.roles) from "
                      "pg_catalog.pg_namespace n cross join lateral {} o (roles) "
                      "where n.nspname = $1 and o.roles is not null",
                      others_in("n.nspacl", "n.nspowner")),
          {schema});
}

void make_books_schema(pg::Connection& connection) {
  auto there = connection.query("select pg_catalog.to_regnamespace('tailrace') is not null", closing);
  connection.query("create schema if not exists tailrace", closing);
  if (there.flag(0, 0)) return;
  close_schema(connection, "tailrace");
}

void make_books(pg::Connection& connection, const std::function<void()>& make) {
  auto before = oids_of_books(connection);
  make();
  run_all(
      connection,
      fmt::format("select pg_catalog.format('revoke all on %s tailrace.%I from %s', case c.relkind "
                  "when 'S' then 'sequence' else 'table' end, c.relname, o.roles) from pg_catalog.pg_class c "
                  "join pg_catalog.pg_namespace n on n.oid = c.relnamespace cross join lateral {} o (roles) "
                  "where n.nspname = 'tailrace' and c.relkind in ('r', 'S') "
                  "and c.oid <> all($1::pg_catalog.oid[]) and o.roles is not null",
                  others_in("c.relacl", "c.relowner")),
      {before});
}

void add_books(pg::Connection& connection, const std::string& sql, std::string_view purpose) {
  connection.query("begin; select pg_catalog.pg_advisory_xact_lock(7206021914)", purpose);
  try {
    make_books(connection, [&] { connection.query(sql, purpose); });
    connection.query("commit", purpose);
  } catch (const Error&) {
    try {
      connection.query("rollback", purpose);
    } catch (const Error& also) {
      log::debug("target", "undoing failed as well: {}", also.what());
    }
    throw;
  }
}

void close_function(pg::Connection& connection, const std::string& function, Oid table) {
  run_all(
      connection,
      fmt::format("select pg_catalog.format('revoke all on function %s from %s', p.oid::"
                  "pg_catalog.regprocedure, o.roles) from pg_catalog.pg_proc p cross join lateral {} o (roles) "
                  "where p.oid = $1::pg_catalog.regprocedure and o.roles is not null union all "
                  "select pg_catalog.format('grant execute on function %s to %I', $1, "
                  "pg_catalog.pg_get_userbyid(c.relowner)) from pg_catalog.pg_class c where c.oid = {}",
                  others_in("coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))", "p.proowner"), table),
      {function + "()"});
}

}  // namespace tailrace::target::postgres
