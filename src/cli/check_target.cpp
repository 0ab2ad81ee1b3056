#include "cli/check_target.h"

#include <fmt/format.h>

#include "pipeline/published_tables.h"
#include "source/publication.h"
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

std::string selected(const config::Config& config, pg::Connection& source) {
  std::string oids = "{";
  for (const auto& table :
       source::select_tables(source::read_catalog_tables(source), pipeline::publication_spec(config)))
    oids += fmt::format("{}{}", oids.size() > 1 ? "," : "", table.table.oid);
  return oids + "}";
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

}  // namespace

std::vector<CheckResult> check_target_user(const config::Config& config, pg::Connection& source,
                                           pg::Connection& target) {
  std::vector<CheckResult> out;
  out.push_back(judged("target's writes", "not read-only", [&] { target::postgres::check_writable(target); }));
  out.push_back(
      judged("target's books", "nobody else's", [&] { target::postgres::check_books_owner(target); }));
  auto tables = selected(config, source);
  out.push_back(judged("row security at the target", "no table's policies bind the target's user",
                       [&] { target::postgres::check_row_security(target, forced_at(source, tables)); }));
  auto role = target.query("select rolsuper from pg_catalog.pg_roles where rolname = current_user",
                           "looking at the target's user");
  if (!role.flag(0, 0) || config.schema.mode != config::SchemaMode::copy) return out;
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
