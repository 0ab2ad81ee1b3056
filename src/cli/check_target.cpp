#include "cli/check_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "pipeline/published_tables.h"
#include "schema/role_rights.h"
#include "schema/written_code.h"
#include "source/publication.h"
#include "target/postgres/books_rights.h"
#include "target/postgres/table_checks.h"
#include "target/postgres/target_table.h"
#include "target/postgres/target_user.h"

namespace tailrace::cli {
namespace {

using source::CheckResult;
using source::Verdict;

template <typename Check>
CheckResult judged(const std::string& title, const std::string& pass, const Check& check) {
  try {
    check();
  } catch (const Error& error) {
    if (error.retry() != Retry::needs_operator) throw;
    return {Verdict::fail, title, error.message(), error.remedy()};
  }
  return {Verdict::pass, title, pass, ""};
}

template <typename Oids>
std::string as_list(const Oids& oids) {
  return fmt::format("{{{}}}", fmt::join(oids, ","));
}

std::vector<std::string> forced_at(pg::Connection& source, const std::string& tables) {
  auto rows = source.query(
      "select oid::pg_catalog.regclass from pg_catalog.pg_class where oid = any($1::pg_catalog.oid[]) "
      "and relrowsecurity and relforcerowsecurity order by oid",
      {tables}, "looking for policies");
  std::vector<std::string> out;
  for (int row = 0; row < rows.rows(); ++row) out.push_back(rows.str(row, 0));
  return out;
}

/// Who may put code into the schemas that are copied, and is no superuser.
std::string other_owners(pg::Connection& source, const std::string& tables) {
  auto rows = source.query(
      "select pg_catalog.string_agg(distinct pg_catalog.quote_ident(r.rolname), ', ') from ("
      "select c.relowner from pg_catalog.pg_class c where c.oid = any($1::pg_catalog.oid[]) "
      "union select n.nspowner from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = "
      "c.relnamespace "
      "where c.oid = any($1::pg_catalog.oid[]) and n.nspname <> 'public') o(owner) "
      "join pg_catalog.pg_roles r on r.oid = o.owner where not r.rolsuper",
      {tables}, "looking at the owners of the tables");
  return rows.str(0, 0);
}

using TablesThere = std::map<target::postgres::TableName, target::postgres::TargetTable>;

TablesThere there_already(pg::Connection& target, const std::vector<source::SelectedTable>& selected) {
  std::vector<target::postgres::TableName> names;
  for (const auto& one : selected) names.emplace_back(one.table.schema, one.table.name);
  return target::postgres::load_tables(target, names);
}

CheckResult check_unlogged(const std::vector<source::SelectedTable>& selected, const TablesThere& there) {
  return judged("unlogged tables at the target", "none", [&] {
    for (const auto& one : selected) {
      auto found = there.find({one.table.schema, one.table.name});
      if (found == there.end()) continue;
      if (auto refused = target::postgres::refusal_of_unlogged(one.table.oid, found->second))
        throw Error(Retry::needs_operator, refused->reason(), refused->remedy());
    }
  });
}

/// What a superuser's tailrace would run by writing to tables that the target has.
std::vector<CheckResult> check_code_there(const config::Config& config, pg::Connection& target,
                                          const TablesThere& there) {
  constexpr const char* title = "code of the target's tables";
  constexpr const char* remedy =
      "Connect to the target as a role that is no superuser; or set schema.trust_source: on if these owners "
      "are "
      "trusted with a superuser's rights";
  if (there.empty()) return {};
  std::vector<Oid> tables;
  for (const auto& [_, table] : there) tables.push_back(table.oid);
  if (auto code = schema::code_of_others(target, tables); !code.empty()) {
    auto verdict = config.schema.trust_source ? Verdict::warn : Verdict::fail;
    return {{verdict, title, "would run with the rights of the target's superuser: " + code, remedy}};
  }
  auto rows = target.query(
      "select pg_catalog.string_agg(distinct pg_catalog.quote_ident(r.rolname), ', ') from pg_catalog.pg_class "
      "c "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace join pg_catalog.pg_roles r on r.oid in "
      "(c.relowner, n.nspowner) where c.oid = any($1::pg_catalog.oid[]) and not r.rolsuper "
      "and r.rolname <> 'pg_database_owner'",
      {as_list(tables)}, "looking at the owners of the target's tables");
  if (rows.is_null(0, 0)) return {{Verdict::pass, title, "nobody else's", ""}};
  return {{Verdict::warn, title,
           fmt::format("none now; but the target's user is a superuser, and {}, who own such tables or their "
                       "schemas there, can add some that runs with its rights",
                       rows.get(0, 0)),
           remedy}};
}

}  // namespace

std::vector<CheckResult> check_target_user(const config::Config& config, pg::Connection& source,
                                           pg::Connection& target) {
  std::vector<CheckResult> out;
  out.push_back(judged("target's writes", "not read-only",
                       [&] { target::postgres::check_writable(target, /*set_up=*/false); }));
  out.push_back(judged("target's books", "nobody else's", [&] { target::postgres::check_books(target); }));
  auto selected =
      source::select_tables(source::read_catalog_tables(source), pipeline::publication_spec(config));
  std::vector<Oid> oids;
  for (const auto& one : selected) oids.push_back(one.table.oid);
  auto tables = as_list(oids);
  out.push_back(judged("row security at the target", "no table's policies bind the target's user",
                       [&] { target::postgres::check_row_security(target, forced_at(source, tables)); }));
  auto there = there_already(target, selected);
  out.push_back(check_unlogged(selected, there));
  if (!schema::may_be_superuser(target)) return out;
  std::ranges::move(check_code_there(config, target, there), std::back_inserter(out));
  if (config.schema.mode != config::SchemaMode::copy) return out;
  auto owners = other_owners(source, tables);
  if (owners.empty()) return out;
  if (config.schema.trust_source) {
    out.push_back(
        {Verdict::warn, "whose code runs",
         fmt::format("schema.trust_source: what {} put into the schema runs as superuser at the target",
                     owners),
         "Keep it on only while whoever may change these schemas is trusted with a superuser's rights"});
  } else {
    out.push_back(
        {Verdict::pass, "whose code runs",
         fmt::format("the target's user is a superuser, and tables belong to {}: what of theirs would run "
                     "with a superuser's rights is left out (docs/postgres-target.md, \"Whose code runs\")",
                     owners),
         ""});
  }
  return out;
}

}  // namespace tailrace::cli
