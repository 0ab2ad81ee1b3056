#include "target/postgres/copies.h"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/copy_writer.h"
#include "target/postgres/fence.h"
#include "target/postgres/origins.h"
#include "target/postgres/table_checks.h"

namespace tailrace::target::postgres {
namespace {

bool all_binary(const schema::Table& table, const TargetTable& there, int server_version) {
  return std::ranges::all_of(table.columns, [&](const auto& column) {
    const auto* target = there.find(column.name);
    return target != nullptr && same_binary(column, *target, server_version);
  });
}

}  // namespace

Copies::Copies(std::string conninfo, std::string subscription, int server_version)
    : conninfo_(std::move(conninfo)), subscription_(std::move(subscription)), server_version_(server_version) {}

void Copies::know(const TablePlan& plan) {
  std::lock_guard lock(mutex_);
  std::string name = plan.table.sql_name();
  bool plain = plan.table.kind == 'r';
  // By the name that people know: it may stand out of sight still.
  auto purpose = fmt::format("copying into {}.{}", plan.relation->schema, plan.relation->name);
  statements_.insert_or_assign(plan.oid,
                               Statements{plan.copy_sql(), plain ? name : "", std::move(purpose), plan.table});
}

bool Copies::reads_binary(const schema::Table& table) {
  std::lock_guard lock(mutex_);
  return all_binary(table, statements_.at(table.oid).there, server_version_);
}

const schema::Table* Copies::first_not_binary(pg::Connection& catalogs,
                                              const std::vector<schema::Table>& tables,
                                              const std::map<Oid, TableRecord>& records) const {
  std::vector<Oid> ours;
  for (const auto& [oid, record] : records) ours.push_back(record.target_oid);
  auto there = load_tables(catalogs, ours);
  for (const auto& table : tables) {
    auto record = records.find(table.oid);
    auto found = record == records.end() ? there.end() : there.find(record->second.target_oid);
    if (found == there.end() || !all_binary(table, found->second, server_version_)) return &table;
  }
  return nullptr;
}

std::unique_ptr<pg::Connection> Copies::idle_connection() {
  std::lock_guard lock(mutex_);
  if (idle_.empty()) return nullptr;
  auto out = std::move(idle_.back());
  idle_.pop_back();
  return out;
}

/// Where there is no origin left, it is waited for what another copy uses.
std::unique_ptr<pg::Connection> Copies::connection() {
  if (auto idle = idle_connection()) return idle;
  auto out = std::make_unique<pg::Connection>(
      pg::Connection::open(conninfo_, {pg::Mode::sql, subscription_ + " copy"}));
  out->query("set session_replication_role = replica; set synchronous_commit = off", "preparing to copy");
  enter_fence(*out, subscription_);
  std::string why;
  while (marks_ && !use_copy_origin(*out, subscription_, why)) {
    if (under_way_ == 0) {
      log::warn("target", "what is copied is not marked with a replication origin: {}", why);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (auto idle = idle_connection()) return idle;
  }
  return out;
}

void Copies::interrupt() noexcept {
  std::lock_guard lock(mutex_);
  for (const auto* connection : used_) connection->cancel_or_cut();
}

void Copies::close_idle() {
  std::lock_guard lock(mutex_);
  idle_.clear();
  statements_.clear();
}

/// In a transaction that truncated the table, COPY may freeze. Where others look at the table, point at it by a
/// foreign key, wrote rows to it, or would be sent the truncation, it is filled without. Gives how much of it
/// may stay in the shared buffers: a table of up to a quarter of them is read into them when its key is made
/// anyway. That takes round trips, so of one that is far away nothing.
std::optional<std::size_t> Copies::begin_frozen(pg::Connection& connection, const Statements& statements) {
  if (statements.table.empty()) return std::nullopt;
  try {
    connection.query(fmt::format("begin; set local lock_timeout = '1s'; lock table only {} in access exclusive "
                                 "mode; set local lock_timeout = 0",
                                 statements.table),
                     statements.purpose);
    auto others = connection.query(
        fmt::format("select c.relispartition or exists (select from only {0}) or exists (select from "
                    "pg_catalog.pg_publication_tables p where p.schemaname = n.nspname "
                    "and p.tablename = c.relname), "
                    "pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) / 4 "
                    "from pg_catalog.pg_class c "
                    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                    "where c.oid = {1}::pg_catalog.regclass",
                    statements.table, quote_literal(statements.table)),
        statements.purpose);
    if (!others.flag(0, 0)) {
      connection.query("truncate only " + statements.table, statements.purpose);
      return connection.is_near() ? static_cast<std::size_t>(others.i64(0, 1)) : 0;
    }
  } catch (const Error& error) {
    constexpr std::array refusals = {"0A000", "42501", "55P03"};
    if (std::ranges::find(refusals, error.sqlstate()) == refusals.end()) throw;
  }
  connection.query("rollback", statements.purpose);
  return std::nullopt;
}

void Copies::refused(const Error& error) {
  constexpr std::array looks_for_something = {"42P01", "42704", "42883", "3F000"};
  if (!hides_ || std::ranges::find(looks_for_something, error.sqlstate()) == looks_for_something.end()) return;
  looked_for_ = true;
  throw RestartFromCheckpoint("a value looks for a table that is out of sight: " + error.message());
}

/// A connection that is interrupted with the others, and counted, until it is given back or goes.
class Copies::Use {
 public:
  Use(Copies& copies, const pg::Connection& connection) : copies_(copies), connection_(&connection) {
    std::lock_guard lock(copies_.mutex_);
    copies_.used_.insert(connection_);
    ++copies_.under_way_;
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() { end(); }

  void end() {
    const auto* connection = std::exchange(connection_, nullptr);
    if (connection == nullptr) return;
    std::lock_guard lock(copies_.mutex_);
    copies_.used_.erase(connection);
    --copies_.under_way_;
  }

 private:
  Copies& copies_;
  const pg::Connection* connection_;
};

std::unique_ptr<CopyWriter> Copies::begin(Oid table, bool binary, bool alone) {
  auto used = connection();
  Statements statements;
  {
    std::lock_guard lock(mutex_);
    statements = statements_.at(table);
  }
  auto use = std::make_shared<Use>(*this, *used);
  auto cached = alone ? begin_frozen(*used, statements) : std::nullopt;
  auto writer = std::make_unique<PostgresCopyWriter>(
      std::move(used),
      PostgresCopyWriter::Copy{statements.copy, statements.purpose, binary, cached.has_value(),
                               cached.value_or(0), [this](const Error& error) { refused(error); }},
      // With the writer that fails this goes before its connection.
      [this, use = std::move(use)](std::unique_ptr<pg::Connection> done) {
        use->end();
        std::lock_guard lock(mutex_);
        idle_.push_back(std::move(done));
      });
  writer->open();
  return writer;
}

}  // namespace tailrace::target::postgres
