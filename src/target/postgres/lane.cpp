#include "target/postgres/lane.h"

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {

// A blank never stands in a subscription's name, so no other subscription's origin looks like a lane's.
std::string origin_of(const std::string& subscription, int number) {
  return number == 0 ? "tailrace_" + subscription : fmt::format("tailrace_{} {}", subscription, number);
}

std::string is_origin_of(const std::string& subscription) {
  auto first = origin_of(subscription, 0);
  return fmt::format("(roname = {} or pg_catalog.starts_with(roname, {}))", quote_literal(first),
                     quote_literal(first + " "));
}

Lane::Lane(const std::string& conninfo, const std::string& subscription, int number)
    : session_(conninfo, subscription + " apply") {
  set_up_origin(subscription, number);
}

/// Marks what we write as replicated, so that it can be told from what others write, and is not sent back in a
/// circle.
void Lane::set_up_origin(const std::string& subscription, int number) {
  auto name = quote_literal(origin_of(subscription, number));
  try {
    auto& connection = session_.direct();
    connection.query(fmt::format("select pg_catalog.pg_replication_origin_create({0}) "
                                 "where pg_catalog.pg_replication_origin_oid({0}) is null",
                                 name),
                     "making the replication origin");
    connection.query(fmt::format("select pg_catalog.pg_replication_origin_session_setup({})", name),
                     "using the replication origin");
    has_origin_ = true;
  } catch (const Error& error) {
    // Not permitted, or no place for one more (53400): tailrace needs none.
    if (error.sqlstate().empty() || error.sqlstate().starts_with("57")) throw;
    // In use: by a session of ours that the server has not noticed is gone.
    if (error.sqlstate() == "55006") throw Error(Retry::transient, error.message(), "Try again in a moment");
    log::info("target", "changes are not marked with a replication origin: {}", error.message());
  }
}

void Lane::begin(bool deferrable) {
  // Whatever the database's default is: a later statement must see what an earlier transaction of another lane
  // committed meanwhile.
  session_.send("begin isolation level read committed", {});
  // What the source checked at the end of a statement or of its transaction is checked at the end here.
  if (deferrable) session_.send("set constraints all deferred", {});
}

void Lane::write(const TablePlan& plan, const TableBatch& batch, const SetChanges& changes) {
  if (changes.count() == 0) return;
  SetWriter(session_, stages_, plan, batch).write(changes);
}

void Lane::write(const TablePlan& plan, const RowRun& run) {
  RowWriter writer(session_, plan);
  for (const auto& entry : run.entries) writer.change(*entry.change, entry.commit_lsn);
}

Landed Lane::commit(const Checkpoint& checkpoint, const std::string& advance_sql) {
  auto lsn = checkpoint.lsn.str();
  auto micros = std::to_string(checkpoint.commit_time.micros);
  session_.send(advance_sql, {{lsn.c_str(), 0, false}, {micros.c_str(), 0, false}});
  if (has_origin_) {
    auto time = checkpoint.commit_time.str();
    session_.send("select pg_catalog.pg_replication_origin_xact_setup($1::pg_catalog.pg_lsn, $2::timestamptz)",
                  {{lsn.c_str(), 0, false}, {time.c_str(), 0, false}});
  }
  session_.send("commit", {});
  session_.send("select pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn()", {});
  auto row = session_.settle_with_row();
  return {Lsn::parse(row.at(0)).value(), Lsn::parse(row.at(1)).value()};
}

bool Lane::rollback() noexcept {
  session_.abandon();
  try {
    auto& connection = session_.direct();
    connection.query("rollback", "undoing");
    stages_.forget(connection);
    return true;
  } catch (const std::exception& error) {
    // The next use of the connection fails with the same cause and is reported there.
    log::debug("target", "undoing failed: {}", error.what());
    return false;
  }
}

}  // namespace tailrace::target::postgres
