#include "target/postgres/books_format.h"

#include <iterator>

#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "schema/own_books.h"
#include "target/postgres/bad_change.h"
#include "target/postgres/books_rights.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* purpose = "keeping tailrace's own tables at the target";

/// The first is the books as format 1 had them; a database that has none goes through all steps too, so that
/// there is one way to each shape.
constexpr const char* steps[] = {
    // 1
    R"(
create table if not exists tailrace.checkpoint (
  subscription text primary key, slot text not null, system_identifier text not null, timeline bigint not null,
  lsn pg_lsn not null, commit_micros bigint not null) with (fillfactor = 20);
create table if not exists tailrace.tables (
  subscription text, oid oid, schema_name text not null, table_name text not null, copied boolean not null,
  copied_at pg_lsn not null, filenode oid not null, membership text not null, rows_copied bigint not null,
  note text not null, primary key (subscription, oid));
create table if not exists tailrace.columns (
  subscription text, oid oid, position int, attnum int not null, name text not null, type_oid oid not null,
  typmod int not null, is_key boolean not null, version bigint not null,
  primary key (subscription, oid, position));
create table if not exists tailrace.structure (
  subscription text, number bigint, parallel boolean not null, what text not null, statement text not null,
  roles text[] not null, optional boolean not null, primary key (subscription, number)))",
    // 2: the format is known.
    "create table tailrace.format (version bigint not null)",
    // 3: why a table is held; empty: it is not.
    "alter table tailrace.tables add column held text not null default ''",
    // 4: what the snapshot showed that a stream from before it must not bring again
    "alter table tailrace.checkpoint add column seen text not null default ''",
    // 5: a table is known by its identity at the target. What had its name until now is taken for it, once.
    R"(
alter table tailrace.tables add target_oid oid not null default 0, add target_schema text not null default '',
  add target_table text not null default '';
update tailrace.tables t set target_schema = schema_name, target_table = table_name, target_oid = coalesce((
  select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname operator(pg_catalog.=) t.schema_name and c.relname operator(pg_catalog.=) t.table_name
  and c.relkind in ('r', 'p')), 0))",
    // 6: what tailrace made besides tables, by identity. `again`: it gave way, and is to be made again.
    R"(
create table tailrace.made (
  subscription text, catalog oid, name text, oid oid not null, again boolean not null default false,
  primary key (subscription, catalog, name)))",
    // 7: where a table's rows are at the source; not known of tables that are there.
    "alter table tailrace.tables add column storage text not null default ''",
    // 8: tables that are filled out of sight (hidden_tables.h), and what a table shows meanwhile: `copying`, a
    // part of its rows; `stale`, those of an earlier state. A publication of all tables must let the format
    // change.
    R"(
alter table tailrace.format replica identity full;
create table tailrace.hiding_places (place oid primary key, name_space oid not null);
create table tailrace.hidden (
  subscription text, relation oid, root oid not null, schema_name text not null, table_name text not null,
  primary key (subscription, relation));
alter table tailrace.tables add column state text generated always as (
  case when copied then 'copied' when copied_at = '0/0' then 'copying' else 'stale' end) stored)",
    // 9: on which table what is still to be made is made. Sequences are known by identity, too: what could be
    // set until now is taken for ours, once.
    R"(
alter table tailrace.structure add column relation text not null default '',
  add column relation_oid oid not null default 0;
insert into tailrace.made (subscription, catalog, name, oid)
  select distinct t.subscription, 1259::pg_catalog.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.oid
  from tailrace.tables t join pg_catalog.pg_namespace n on n.nspname operator(pg_catalog.=) t.schema_name
  join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relkind = 'S'
  where pg_catalog.pg_has_role(c.relowner, 'usage') and not exists (select from pg_catalog.pg_depend d
    where d.classid = 1259 and d.objid = c.oid and d.refclassid = 1259 and d.deptype in ('a', 'i'))
  on conflict do nothing)",
    // 10: the schemas that tables were moved to out of the way (names.h), by their identity. Until now a name
    // told.
    R"(
create table tailrace.moved_places (relation oid primary key, place oid not null);
insert into tailrace.moved_places select t.target_oid, pg_catalog.min(n.oid) from tailrace.tables t
  join pg_catalog.pg_namespace n on n.nspname operator(pg_catalog.=) t.target_schema
  where t.target_schema operator(pg_catalog.=) pg_catalog.concat('tailrace_moved_', t.target_oid)
  group by t.target_oid)",
};

constexpr std::int64_t newest = std::ssize(steps);

Error damaged(const std::string& what) {
  return {Retry::needs_operator, "the schema tailrace of the target database is damaged: " + what,
          "Something else wrote there. Restore that schema; or DROP SCHEMA tailrace CASCADE there, 'tailrace "
          "teardown', and begin anew with an empty target"};
}

/// 0: none.
std::int64_t format_of(pg::Connection& connection) {
  constexpr Oid int8_type = 20;
  auto book = schema::look_at_book(connection, "format", "{version}", int8_type);
  if (!book.there) return has_books(connection) ? 1 : 0;
  if (!book.believed) throw damaged("tailrace.format is no table with a number 'version'");
  auto rows = connection.query("select version from only tailrace.format", purpose);
  if (rows.rows() != 1) throw damaged(fmt::format("tailrace.format holds {} rows, not one", rows.rows()));
  auto format = rows.i64(0, 0);
  // Format 1 had no such table.
  if (format < 2) throw damaged(fmt::format("tailrace.format says {}", rows.get(0, 0)));
  return format;
}

/// That there is something already, that something is missing, or is of another kind.
bool is_about_shape(const std::string& sqlstate) {
  for (auto state : {"42P01", "42P07", "42701", "42703", "42704", "42710", "42804", "42809"})
    if (sqlstate == state) return true;
  return false;
}

void refuse_newer(std::int64_t format) {
  if (format <= newest) return;
  throw Error(Retry::needs_operator,
              fmt::format("the schema tailrace of the target database has format {}, this tailrace knows {}",
                          format, newest),
              "It was written by a newer tailrace; use that one");
}

}  // namespace

bool has_books(pg::Connection& connection) {
  return schema::look_at_book(connection, "structure").believed;
}

bool is_up_to_date(pg::Connection& connection) {
  return format_of(connection) == newest;
}

bool is_set_up(pg::Connection& connection, const std::string& subscription) {
  if (!has_books(connection)) return false;
  return connection
      .query(fmt::format("select exists (select from tailrace.checkpoint where subscription = {})",
                         quote_literal(subscription)),
             purpose)
      .flag(0, 0);
}

bool is_begun(pg::Connection& connection, const std::string& subscription) {
  if (!has_books(connection) || !is_up_to_date(connection)) return false;
  auto literal = quote_literal(subscription);
  return connection
      .query(
          fmt::format("select exists (select from tailrace.hidden where subscription = {0}) or exists (select "
                      "from tailrace.structure where subscription = {0}) or exists (select from tailrace.made "
                      "where subscription = {0})",
                      literal),
          purpose)
      .flag(0, 0);
}

std::string other_mirrors_into(pg::Connection& connection, const std::string& subscription, Oid target_table) {
  if (!has_books(connection) || !is_up_to_date(connection)) return {};
  if (!schema::look_at_book(connection, "tables").believed) return {};
  return connection
      .query(fmt::format("select coalesce(pg_catalog.string_agg(distinct subscription, ', '), '') "
                         "from only tailrace.tables where target_oid = {} and subscription <> {}",
                         target_table, quote_literal(subscription)),
             purpose)
      .str(0, 0);
}

std::string rows_of_others(const std::string& tables, const std::string& mirrors) {
  return fmt::format("at the target {} holds rows already, and they are those of the mirror {}", tables,
                     mirrors);
}

void bring_books_up_to_date(pg::Connection& connection) {
  auto format = format_of(connection);
  refuse_newer(format);
  if (format == newest) return;
  try {
    // Two that begin at once would meet in the catalogs.
    connection.query("begin; select pg_catalog.pg_advisory_xact_lock(7206021914)", purpose);
    format = format_of(connection);
    refuse_newer(format);
    if (format == 0) make_books_schema(connection);
    // Somebody may have made it since it was looked at; from now on nobody can.
    check_books(connection);
    make_books(connection, [&] {
      for (auto step = format; step < newest; ++step) connection.query(steps[step], purpose);
    });
    connection.query(
        fmt::format("delete from tailrace.format; insert into tailrace.format values ({})", newest), purpose);
    kill_point("postgres.books.made");
    connection.query("commit", purpose);
    kill_point("postgres.books.committed");
  } catch (Error& error) {
    try {
      connection.query("rollback", purpose);
    } catch (const std::exception& also) {
      log::debug("target", "undoing failed as well: {}", also.what());
    }
    if (is_about_shape(error.sqlstate()))
      throw damaged(fmt::format("it is not as format {} has it: {}", format, server_words(error)));
    if (error.sqlstate() != "42501") throw;
    if (format > 0) {
      throw Error(
          Retry::needs_operator,
          "the target's user may not bring the schema tailrace, which an earlier tailrace made, up to date",
          "Run tailrace as the user who owns the tables of that schema");
    }
    auto who = connection.query(
        "select pg_catalog.format('GRANT CREATE ON DATABASE %I TO %I;', pg_catalog.current_database(), "
        "current_user)",
        purpose);
    throw Error(Retry::needs_operator, "the target's user may not create the schema tailrace",
                who.str(0, 0) + "  -- at the target");
  }
  if (format > 0)
    log::info("target", "the books at the target were brought from format {} to {}", format, newest);
}

}  // namespace tailrace::target::postgres
