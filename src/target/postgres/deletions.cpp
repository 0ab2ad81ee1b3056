#include "target/postgres/deletions.h"

#include "base/sql_text.h"
#include "target/postgres/books_rights.h"
#include "target/postgres/json_value.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* noting_deletions = "noting deletions at the target";

// Notes are only ever added, so that who deletes and inserts the same key again and again never waits for
// others or fails to serialize. A key may be too long for an index, its hash is not.
// A publication of all tables must not refuse to forget them.
constexpr const char* tables_of_deletions = R"(
create table if not exists tailrace.writers (subscription text primary key, writer text not null);
create table if not exists tailrace.deletions (
  relation oid not null, key jsonb not null, at timestamptz not null default pg_catalog.clock_timestamp());
alter table tailrace.deletions replica identity full;
create index if not exists deletions_key
  on tailrace.deletions (relation, pg_catalog.jsonb_hash_extended(key, 0));
create index if not exists deletions_at on tailrace.deletions (at);
create table if not exists tailrace.conflicts (
  id bigint generated always as identity primary key, at timestamptz not null default pg_catalog.now(),
  subscription text not null, relation text not null, kind text not null, resolution text not null,
  commit_lsn pg_lsn not null, commit_time timestamptz, local_time timestamptz, local_origin text,
  key jsonb, local_row jsonb, remote_row jsonb))";

std::string function_name(Oid relation) {
  return fmt::format("tailrace.note_deletion_{}", relation);
}

}  // namespace

void make_conflict_tables(pg::Connection& connection) {
  auto there =
      connection.query("select pg_catalog.to_regclass('tailrace.conflicts') is not null", noting_deletions);
  if (there.flag(0, 0)) return;
  add_books(connection, tables_of_deletions, noting_deletions);
}

void note_deletions(pg::Connection& connection, const TargetTable& table) {
  if (table.primary_key.empty()) {
    throw Error(
        Retry::needs_operator,
        fmt::format("{}.{} has no primary key at the target, so that conflicts cannot be decided by time",
                    table.schema, table.name),
        "Give it one, or another policy (conflicts: in the configuration)");
  }
  std::string key;
  std::string differs;
  for (const auto& column : table.primary_key) {
    auto name = quote_identifier(column);
    const auto& keyed = *table.find(column);
    auto old = for_json(keyed, "OLD." + name);
    key += fmt::format("{}{}, {}", key.empty() ? "" : ", ", quote_literal(column), old);
    differs += fmt::format("{}{} is distinct from {}", differs.empty() ? "" : " or ", old,
                           for_json(keyed, "NEW." + name));
  }
  // What a key looks like must not depend on the settings of who deletes it; they are those of Connection.
  auto body = fmt::format(
      "begin insert into tailrace.deletions (relation, key) values ({}, pg_catalog.jsonb_build_object({})); "
      "return null; end",
      table.oid, key);
  auto up_to_date = connection.query(
      fmt::format(
          "select exists (select from pg_catalog.pg_proc p join pg_catalog.pg_trigger t "
          "on t.tgfoid = p.oid and t.tgrelid = {} and t.tgname = 'tailrace_deletion' and t.tgenabled = 'A' "
          "join pg_catalog.pg_class c on c.oid = t.tgrelid where p.prosrc = {} and not exists (select from "
          "pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a "
          "where a.grantee not in (p.proowner, c.relowner)))",
          table.oid, quote_literal(body)),
      noting_deletions);
  if (up_to_date.flag(0, 0)) return;
  auto name = table.sql_name();
  auto function = function_name(table.oid);
  connection.query(
      fmt::format(
          "create or replace function {0}() returns trigger language plpgsql security definer "
          "set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' "
          "set intervalstyle = 'postgres' set extra_float_digits = 3 set bytea_output = 'hex' as {1};"
          "drop trigger if exists tailrace_deletion on {2}; drop trigger if exists tailrace_key_change on {2};"
          "create trigger tailrace_deletion after delete on {2} for each row execute function {0}();"
          "create trigger tailrace_key_change after update on {2} for each row when ({3}) execute function "
          "{0}();"
          "alter table {2} enable always trigger tailrace_deletion;"
          "alter table {2} enable always trigger tailrace_key_change",
          function, quote_literal(body), name, differs),
      noting_deletions);
  close_function(connection, function, table.oid);
}

void stop_noting_deletions(pg::Connection& connection, const std::string& subscription,
                           const std::vector<TableRecord>& tables) {
  auto any = connection.query(
      "select exists (select from pg_catalog.pg_trigger where tgname = 'tailrace_deletion')", noting_deletions);
  if (!any.flag(0, 0)) return;
  for (const auto& table : tables) {
    auto there = connection.query(
        fmt::format(
            "select c.oid from pg_catalog.pg_class c where c.oid = {0} and "
            "exists (select from pg_catalog.pg_trigger where tgrelid = c.oid and tgname = "
            "'tailrace_deletion') and not exists (select from tailrace.tables o where o.subscription <> {1} "
            "and o.target_oid = {0})",
            table.target_oid, quote_literal(subscription)),
        noting_deletions);
    if (there.rows() == 0) continue;
    connection.query(fmt::format("drop function if exists {}() cascade; delete from tailrace.deletions where "
                                 "relation = {}",
                                 function_name(there.oid(0, 0)), there.oid(0, 0)),
                     noting_deletions);
  }
}

void forget_deletions(pg::Connection& connection, std::chrono::milliseconds age) {
  connection.query(fmt::format("delete from tailrace.deletions where at < pg_catalog.clock_timestamp() - {} * "
                               "interval '1 millisecond'",
                               age.count()),
                   noting_deletions);
}

void forget_deletions_of(pg::Connection& connection, const TargetTable& table) {
  connection.query(fmt::format("delete from tailrace.deletions where relation = {}", table.oid),
                   noting_deletions);
}

void remove_conflicts(pg::Connection& connection, const std::string& subscription) {
  connection.query(fmt::format("delete from tailrace.conflicts where subscription = {0};"
                               "delete from tailrace.writers where subscription = {0}",
                               quote_literal(subscription)),
                   noting_deletions);
}

}  // namespace tailrace::target::postgres
