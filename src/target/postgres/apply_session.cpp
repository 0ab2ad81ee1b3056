#include "target/postgres/apply_session.h"

#include "target/postgres/bad_change.h"
#include "target/postgres/origins.h"
#include "target/postgres/table_plan.h"
#include "target/postgres/target_user.h"

namespace tailrace::target::postgres {
namespace {

// Answers gather in the socket and in libpq until they are read.
constexpr std::size_t most_unanswered = 4000;

pg::Connection open(const ApplyOptions& options) {
  auto connection =
      pg::Connection::open(options.conninfo, {pg::Mode::sql, apply_application(options.subscription)});
  take_replica_role(connection, "preparing to apply");
  // A commit is acknowledged to the source only once it is flushed, so it need not be when it returns. Staged
  // keys are looked up one by one: statistics of a table that was just filled would mislead the planner. An
  // array of keys is hashed only in a plan that was made for it. Whatever the database's default is, a later
  // statement must see what an earlier transaction of another lane committed meanwhile.
  connection.query(
      "set synchronous_commit = off; set jit = off; set enable_hashjoin = off; set enable_mergejoin = off; "
      "set enable_seqscan = off; set enable_bitmapscan = off; set enable_material = off; "
      "set client_min_messages = error; set max_parallel_workers_per_gather = 0; "
      "set plan_cache_mode = auto; set default_transaction_isolation = 'read committed'",
      "preparing to apply");
  // Every commit asks for them.
  connection.query("select pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn()",
                   "looking at the target's log");
  return connection;
}

/// Whether it does now. What was set by anybody, anywhere, stays.
bool choose_lz4(pg::Connection& connection) {
  auto chosen = connection.query(
      "select pg_catalog.set_config(name, 'lz4', false) from pg_catalog.pg_settings "
      "where name = 'default_toast_compression' and source = 'default' and setting <> 'lz4' "
      "and 'lz4' = any(enumvals)",
      "preparing to apply");
  return chosen.rows() > 0;
}

}  // namespace

ApplySession::ApplySession(const ApplyOptions& options)
    : connection_(open(options)), lz4_(options.lz4 && choose_lz4(connection_)) {}

pg::Pipeline& ApplySession::pipeline() {
  if (!pipeline_) pipeline_.emplace(connection_);
  return *pipeline_;
}

const std::string& ApplySession::prepared(const std::string& sql) {
  auto [found, fresh] = prepared_.try_emplace(sql);
  if (fresh) {
    found->second = fmt::format("s{}", ++serial_);
    unsure_.push_back(sql);
    pipeline().prepare(found->second, sql);
  }
  return found->second;
}

void ApplySession::send(const std::string& sql, const std::vector<pg::Parameter>& parameters) {
  const std::string& name = prepared(sql);
  pipeline().execute(name, parameters);
}

void ApplySession::change(Oid table, const char* what, Lsn commit_lsn, const std::string& sql,
                          const std::vector<pg::Parameter>& parameters) {
  if (pipeline().sent() >= most_unanswered) settle();
  auto statement = pipeline().sent();
  send(sql, parameters);
  // It may fail when it is prepared already.
  for (; statement < pipeline().sent(); ++statement)
    expected_.push_back({statement, table, what, commit_lsn, entry_});
}

void ApplySession::settle() {
  wait(nullptr);
}

std::vector<std::string> ApplySession::settle_with_row() {
  Rows rows;
  wait(&rows);
  std::vector<std::string> out;
  if (rows.size() != 1) return out;
  for (auto& value : rows.front()) out.push_back(std::move(value).value_or(""));
  return out;
}

ApplySession::Rows ApplySession::ask(const std::string& sql, const std::vector<pg::Parameter>& parameters) {
  Rows rows;
  send(sql, parameters);
  wait(&rows);
  return rows;
}

void ApplySession::wait(Rows* last_rows) {
  if (!pipeline_) return;
  std::size_t last = pipeline_->sent() - 1;
  try {
    pipeline_->wait("applying changes", [&](std::size_t statement, const pg::Result& result) {
      if (last_rows == nullptr || statement != last) return;
      for (int row = 0; row < result.rows(); ++row) {
        auto& out = last_rows->emplace_back();
        for (int i = 0; i < result.columns(); ++i)
          out.push_back(result.is_null(row, i) ? std::nullopt : std::optional(result.str(row, i)));
      }
    });
  } catch (pg::Pipeline::Failed& failed) {
    Expected culprit;
    for (const auto& expected : expected_) {
      if (expected.statement == failed.statement) culprit = expected;
    }
    bool after_commit = commit_ && failed.statement > *commit_;
    abandon();
    if (after_commit) throw Error(Retry::in_doubt, failed.error.message(), failed.error.remedy());
    if (failed.error.message().contains(row_missing))
      throw RowMissing{culprit.table, culprit.commit_lsn, culprit.what, culprit.entry};
    if (about_a_change(failed.error))
      throw ConstraintFailed{culprit.table, culprit.commit_lsn, failed.error, culprit.entry};
    throw Error(failed.error);
  } catch (...) {
    abandon();
    throw;
  }
  expected_.clear();
  unsure_.clear();
  commit_.reset();
  pipeline_.reset();
}

void ApplySession::compress_as_server() {
  if (lz4_) send("set local default_toast_compression to default", {});
}

pg::Connection& ApplySession::direct() {
  settle();
  return connection_;
}

void ApplySession::abandon() noexcept {
  expected_.clear();
  // What was prepared in a failed pipeline may not be there; a name is never used twice.
  for (const auto& sql : unsure_) prepared_.erase(sql);
  unsure_.clear();
  commit_.reset();
  pipeline_.reset();
}

void ApplySession::forget_statements() {
  direct().deallocate_all("forgetting prepared statements");
  prepared_.clear();
}

}  // namespace tailrace::target::postgres
