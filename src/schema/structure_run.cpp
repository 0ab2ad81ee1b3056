#include <algorithm>
#include <span>

#include "base/log.h"
#include "base/sql_text.h"
#include "schema/structure.h"

namespace tailrace::schema {
namespace {

// A savepoint, and a round trip, of its own for each of them would cost more than most of them, and more the
// more there are: the server's lists of what a transaction changed grow.
constexpr std::size_t at_once = 64;
// Two are an index and the note that it is made. If that fails after an hour, it is not made again to be named.
constexpr std::size_t fewest_together = 3;

/// May succeed when other statements have: something is missing (most of class 42, and 3F000), or a
/// materialized view is not filled yet (55000).
bool may_come_too_early(const std::string& sqlstate) {
  for (auto final : {"42601", "42501", "42P04", "42P05", "42P06", "42P07", "42710", "42723", "42701"}) {
    if (sqlstate == final) return false;
  }
  return sqlstate.starts_with("42") || sqlstate.starts_with("3F") || sqlstate.starts_with("2F") ||
         sqlstate == "55000";
}

std::string remedy_for(const std::string& sqlstate) {
  if (sqlstate == "42P07" || sqlstate == "42710" || sqlstate == "42723" || sqlstate == "42P06")
    return "Take an empty target database, or drop what is in the way there";
  if (sqlstate == "42501") return "Give the target's role the right to create this, or connect as another role";
  if (sqlstate == "58P01" || sqlstate == "0A000")
    return "Install what the message misses at the target's server, or remove its use at the source";
  if (sqlstate == "53200") return "Raise max_locks_per_transaction at the target and restart it";
  return "Create what the message misses at the target by hand, or change or drop the object at the source, "
         "and "
         "start again";
}

[[noreturn]] void give_up(const Error& error) {
  if (error.sqlstate().empty() || (error.retry() == Retry::transient && error.sqlstate() != "53200"))
    throw error;
  Error named(Retry::needs_operator, error.message(), remedy_for(error.sqlstate()));
  throw Error(named.with_sqlstate(error.sqlstate()));
}

void warn_of(const Statement& statement, const Error& error) {
  log::warn("schema", "the target goes without the {}: {}", statement.what, error.message());
}

/// A function, a relation, a type or operator class, a schema.
bool names_something_missing(const std::string& sqlstate) {
  return sqlstate == "42883" || sqlstate == "42P01" || sqlstate == "42704" || sqlstate == "3F000";
}

void warn_of_missing(const Statement& statement, const Error& error) {
  log::warn(
      "schema",
      "left out of the target's structure: the {}: {}. Where a function names what it uses without a schema, "
      "tell it where to look, at both ends (ALTER FUNCTION ... SET search_path = ...), and make this at the "
      "target by hand",
      statement.what, error.message());
}

class Rounds {
 public:
  Rounds(pg::Connection& target, const std::vector<Statement>& statements, Missing missing)
      : target_(target), missing_(missing) {
    if (std::ranges::any_of(statements, [](const auto& statement) { return !statement.roles.empty(); }))
      read_roles();
    for (const auto& statement : statements) {
      if (has_a_role_of(statement)) open_.push_back({&statement, {}});
    }
  }

  void run() {
    while (!open_.empty()) {
      std::size_t before = open_.size();
      std::vector<Open> still_open;
      for (std::size_t from = 0; from < open_.size(); from += at_once) {
        auto some = std::span(open_).subspan(from, std::min(at_once, open_.size() - from));
        if (run_together(some)) continue;
        for (auto& next : some) {
          if (!run_one(next)) still_open.push_back(std::move(next));
        }
      }
      open_ = std::move(still_open);
      if (open_.size() == before) settle();
    }
  }

 private:
  struct Open {
    const Statement* statement = nullptr;
    std::optional<Error> failure;
  };

  void read_roles() {
    auto rows = target_.query("select rolname from pg_catalog.pg_roles", "reading the target's roles");
    for (int row = 0; row < rows.rows(); ++row) roles_.push_back(rows.str(row, 0));
    std::sort(roles_.begin(), roles_.end());
  }

  bool has_a_role_of(const Statement& statement) const {
    bool any = statement.roles.empty();
    for (const auto& role : statement.roles) {
      bool has = std::binary_search(roles_.begin(), roles_.end(), role);
      any = any || has;
      if (!has) log::warn("schema", "the target has no role {}: left out of the {}", role, statement.what);
    }
    return any;
  }

  /// False: one of them failed, and none was run.
  bool run_together(std::span<const Open> some) {
    if (some.size() < fewest_together) return false;
    std::string sql = "SAVEPOINT structure; ";
    // Each on lines of its own: a comment that ends one must not swallow the next.
    for (const auto& open : some) sql += open.statement->sql + ";\n";
    try {
      target_.query(sql + "RELEASE structure", "creating the target's structure");
      return true;
    } catch (const Error& error) {
      if (error.sqlstate().empty() || error.retry() == Retry::transient) give_up(error);
      target_.query("ROLLBACK TO structure; RELEASE structure", "going on after a statement that failed");
      return false;
    }
  }

  /// False: to be tried again.
  bool run_one(Open& open) {
    const auto& statement = *open.statement;
    try {
      target_.query("SAVEPOINT structure; " + statement.sql + "; RELEASE structure",
                    "creating the target's " + statement.what);
      return true;
    } catch (const Error& error) {
      if (error.sqlstate().empty()) throw;
      if (!may_come_too_early(error.sqlstate())) {
        if (!statement.optional || error.retry() == Retry::transient) give_up(error);
        warn_of(statement, error);
      }
      target_.query("ROLLBACK TO structure; RELEASE structure", "going on after a statement that failed");
      open.failure = error;
      return !may_come_too_early(error.sqlstate());
    }
  }

  /// No round will bring what is left any further.
  void settle() {
    for (const auto& open : open_) {
      if (missing_ == Missing::left_out && names_something_missing(open.failure->sqlstate())) {
        warn_of_missing(*open.statement, *open.failure);
        continue;
      }
      if (!open.statement->optional) give_up(*open.failure);
      warn_of(*open.statement, *open.failure);
    }
    open_.clear();
  }

  pg::Connection& target_;
  const Missing missing_;
  std::vector<std::string> roles_;
  std::vector<Open> open_;
};

}  // namespace

void run_structure(pg::Connection& target, const std::vector<Statement>& statements, Missing missing,
                   const std::function<void()>& then) {
  if (statements.empty()) return;
  // Where only tailrace's own tables are written to, triggers are silent. The target's event triggers are not,
  // when something is made.
  target.query(
      "BEGIN; SET LOCAL search_path = ''; SET LOCAL check_function_bodies = off; "
      "SET LOCAL client_min_messages = warning; SET LOCAL row_security = off; "
      "select pg_catalog.set_config(name, 'origin', true) from pg_catalog.pg_settings "
      "where name = 'session_replication_role' and setting = 'replica'",
      "beginning to create the target's structure");
  try {
    Rounds(target, statements, missing).run();
    if (then) then();
  } catch (const std::exception&) {
    try {
      target.query("ROLLBACK", "taking back the target's structure");
    } catch (const Error& error) {
      // A lost connection has taken it back already; the first error is the one to tell.
      log::debug("schema", "{}", error.what());
    }
    throw;
  }
  target.query("COMMIT", "committing the target's structure");
}

}  // namespace tailrace::schema
