#include "target/postgres/origins.h"

#include "base/sql_text.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* using_origins = "using replication origins";
constexpr int most_copies = 64;

/// SQL: the origin o is of this subscription.
std::string is_own(const std::string& subscription) {
  return fmt::format("(o.roname = {0} or pg_catalog.starts_with(o.roname, {0} || '/'))",
                     quote_literal(apply_origin(subscription)));
}

}  // namespace

std::string apply_origin(const std::string& subscription, int number) {
  return number == 0 ? "tailrace_" + subscription : fmt::format("tailrace_{}/{}", subscription, number);
}

std::string apply_application(const std::string& subscription) {
  return subscription + " apply";
}

void make_origins(pg::Connection& connection, const std::string& subscription, int count) {
  for (int number = 0; number < count; ++number) {
    connection.query(fmt::format("select pg_catalog.pg_replication_origin_create({0}) "
                                 "where pg_catalog.pg_replication_origin_oid({0}) is null",
                                 quote_literal(apply_origin(subscription, number))),
                     using_origins);
  }
}

OriginOutcome use_origin(pg::Connection& connection, const std::string& name, std::string& why) {
  auto literal = quote_literal(name);
  try {
    connection.query(fmt::format("select pg_catalog.pg_replication_origin_create({0}) "
                                 "where pg_catalog.pg_replication_origin_oid({0}) is null",
                                 literal),
                     using_origins);
    connection.query(fmt::format("select pg_catalog.pg_replication_origin_session_setup({})", literal),
                     using_origins);
    return OriginOutcome::used;
  } catch (const Error& error) {
    if (error.sqlstate().empty() || error.sqlstate().starts_with("57")) throw;
    why = error.message();
    // 55006: a session has it; 23505: another session made it just now.
    bool busy = error.sqlstate() == "55006" || error.sqlstate() == "23505";
    return busy ? OriginOutcome::busy : OriginOutcome::refused;
  }
}

void check_name_is_free(pg::Connection& connection, const std::string& subscription) {
  auto others = connection.query(fmt::format("select datname from pg_catalog.pg_stat_activity where "
                                             "application_name = pg_catalog.left({}, 63) and datname <> "
                                             "pg_catalog.current_database() order by 1 limit 1",
                                             quote_literal(apply_application(subscription))),
                                 using_origins);
  if (others.rows() == 0) return;
  throw Error(Retry::needs_operator,
              fmt::format("a tailrace named {} applies to the database {} of the target's server already; its "
                          "replication origin is the whole server's",
                          quote_identifier(subscription), quote_identifier(others.str(0, 0))),
              "Give this one another name: --name NAME");
}

bool use_copy_origin(pg::Connection& connection, const std::string& subscription, std::string& why) {
  for (int number = 1; number <= most_copies; ++number) {
    auto name = fmt::format("{}/copy_{}", apply_origin(subscription), number);
    auto outcome = use_origin(connection, name, why);
    if (outcome != OriginOutcome::busy) return outcome == OriginOutcome::used;
  }
  return false;
}

std::set<std::string> origins_of(pg::Connection& connection, const std::string& subscription) {
  auto own = connection.query(
      fmt::format("select o.roname from pg_catalog.pg_replication_origin o where {}", is_own(subscription)),
      using_origins);
  std::set<std::string> out;
  for (int i = 0; i < own.rows(); ++i) out.insert(own.str(i, 0));
  return out;
}

std::set<std::string> drop_origins(pg::Connection& connection, const std::string& subscription,
                                   const std::set<std::string>& kept) {
  // Who may not use origins may not call the function either, not even for none of them.
  std::set<std::string> out;
  for (const auto& name : origins_of(connection, subscription)) {
    if (kept.contains(name)) continue;
    connection.query(fmt::format("select pg_catalog.pg_replication_origin_drop({})", quote_literal(name)),
                     using_origins);
    out.insert(name);
  }
  return out;
}

void Writers::load(pg::Connection& connection, const std::string& subscription, const std::string& source) {
  auto literal = quote_literal(subscription);
  connection.query(fmt::format("insert into tailrace.writers values ({0}, {1}) on conflict (subscription) do "
                               "update set writer = excluded.writer where writers.writer <> excluded.writer",
                               literal, quote_literal(source)),
                   using_origins);
  auto here = connection.query(
      "select system_identifier || '/' || pg_catalog.current_database() from pg_catalog.pg_control_system()",
      using_origins);
  here_ = here.str(0, 0);
  auto rows = connection.query(
      fmt::format("select o.roident, o.roname, {}, "
                  "(select w.writer from tailrace.writers w where 'tailrace_' || w.subscription = o.roname) "
                  "from pg_catalog.pg_replication_origin o",
                  is_own(subscription)),
      using_origins);
  origins_.clear();
  std::string own;
  for (int i = 0; i < rows.rows(); ++i) {
    bool mine = rows.flag(i, 2);
    if (mine) own += (own.empty() ? "" : ",") + rows.str(i, 0);
    auto name = rows.str(i, 1);
    origins_[rows.str(i, 0)] = {name, mine ? source : rows.is_null(i, 3) ? name : rows.str(i, 3)};
  }
  own_ = fmt::format("'{{{}}}'::pg_catalog.oid[]", own);
}

std::string Writers::name_of(const std::string& origin) const {
  auto found = origins_.find(origin);
  return found == origins_.end() ? here_ : found->second.writer;
}

std::string Writers::origin_name(const std::string& origin) const {
  auto found = origins_.find(origin);
  return found == origins_.end() ? "local" : found->second.name;
}

}  // namespace tailrace::target::postgres
