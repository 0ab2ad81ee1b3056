#include "target/postgres/structure_builder.h"

#include "base/log.h"
#include "base/sql_text.h"
#include "schema/structure.h"

namespace tailrace::target::postgres {
void check_roles(pg::Connection& connection, const std::set<std::string>& roles) {
  std::string missing;
  for (const auto& role : roles) {
    auto there = connection.query("select from pg_catalog.pg_roles where rolname = $1", {role},
                                  "looking for the target's roles");
    if (there.rows() == 0) missing += (missing.empty() ? "" : ", ") + quote_identifier(role);
  }
  if (missing.empty()) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("the target lacks roles that own what is copied, or have privileges on it: {}", missing),
      "CREATE ROLE them there (pg_dumpall --roles-only at the source shows how), or set schema.owners and "
      "schema.privileges to off");
}

void build_pending(pg::Connection& connection, Bookkeeping& books, IndexBuilder& indexes,
                   const StopSignal& stop) {
  auto pending = books.read_pending();
  std::vector<schema::Statement> rest;
  for (const auto& entry : pending) {
    if (entry.parallel) continue;
    rest.push_back(entry.statement);
    rest.push_back(books.done(entry));
  }
  indexes.finish(std::move(pending), stop);
  if (stop.requested() || rest.empty()) return;
  log::info("target", "making {} other things", rest.size() / 2);
  schema::run_structure(connection, rest);
}

}  // namespace tailrace::target::postgres
