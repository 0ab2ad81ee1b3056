#include <algorithm>

#include "base/kill_point.h"
#include "base/sql_text.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/books_format.h"
#include "target/postgres/books_rights.h"
#include "target/postgres/deletions.h"
#include "target/postgres/emptying.h"
#include "target/postgres/hidden_tables.h"
#include "target/postgres/kept_changes.h"
#include "target/postgres/lock_holder.h"
#include "target/postgres/names.h"
#include "target/postgres/origins.h"
#include "target/postgres/postgres_target.h"
#include "target/postgres/target_user.h"

namespace tailrace::target {
namespace postgres {
namespace {

/// In the open transaction. True if no other subscription has anything there, and the schema went.
bool remove_notes(pg::Connection& connection, const std::string& subscription, Bookkeeping& books,
                  const std::map<Oid, TableRecord>& records, std::string_view purpose) {
  std::vector<TableRecord> tables;
  for (const auto& [oid, record] : records) tables.push_back(record);
  stop_noting_deletions(connection, subscription, tables);
  remove_conflicts(connection, subscription);
  HiddenTables(connection, subscription).remove_all();
  books.remove_all();
  KeptChanges::remove_all(connection, subscription);
  auto others = connection.query(
      "select exists (select from tailrace.checkpoint) or exists (select from tailrace.tables) or "
      "exists (select from tailrace.hidden)",
      std::string(purpose));
  if (others.flag(0, 0)) return false;
  connection.query("drop schema tailrace cascade", std::string(purpose));
  return true;
}

/// Tables that were there, and empty, when the copy into them began.
void empty_begun(pg::Connection& connection, const std::string& subscription,
                 const std::map<Oid, TableRecord>& records, const std::vector<NewObject>& made) {
  std::set<Oid> ours;
  for (const auto& object : made) ours.insert(object.oid);
  for (const auto& root : HiddenTables(connection, subscription).roots()) ours.insert(root.relation);
  for (const auto& [oid, record] : records) {
    if (record.target_oid == 0 || ours.contains(record.target_oid)) continue;
    if (auto there = find_own_table(connection, record))
      empty_tables(connection, {{{there->sql_name(), there->kind == 'p'}}}, false);
  }
}

}  // namespace
}  // namespace postgres

Forgotten forget_postgres(const PostgresOptions& options) {
  using namespace postgres;
  constexpr const char* purpose = "removing tailrace's traces from the target";
  auto connection = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription});
  check_books(connection);
  connection.query("set default_transaction_read_only = off", purpose);
  if (!has_books(connection)) return {};
  Bookkeeping books(connection, options.subscription);
  books.lock();
  auto records = books.read_tables();
  Forgotten out;
  out.books = books.read_checkpoint().has_value() || !records.empty();
  make_conflict_tables(connection);
  out.origins = drop_origins(connection, options.subscription);
  connection.query("begin", purpose);
  // Books without an entry are what a start left that went no further.
  out.books |= remove_notes(connection, options.subscription, books, records, purpose);
  connection.query("commit", purpose);
  return out;
}

std::optional<std::vector<std::string>> take_back_postgres(const PostgresOptions& options,
                                                           const PostgresTraces& traces) {
  using namespace postgres;
  constexpr const char* purpose = "taking back what this start made at the target";
  auto connection = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription});
  connection.set_patience(std::chrono::seconds(30));
  check_books(connection);
  if (!has_books(connection)) return std::vector<std::string>{};
  take_replica_role(connection, purpose);
  Bookkeeping books(connection, options.subscription);
  try {
    books.lock();
  } catch (const Error&) {
    if (traces.opened) throw;
    // Another run has it, and all that is there.
    return std::nullopt;
  }
  auto records = books.read_tables();
  bool noted = books.read_checkpoint().has_value() || !records.empty();
  bool whole = std::ranges::any_of(
      records, [](const auto& one) { return one.second.copied || one.second.copied_at.valid(); });
  if (whole || (noted && !traces.opened)) return std::nullopt;
  make_conflict_tables(connection);
  drop_origins(connection, options.subscription, traces.origins);
  kill_point("undo.postgres.origins");
  connection.query("begin", purpose);
  if (!options.keep_rows) empty_begun(connection, options.subscription, records, traces.objects);
  remove_notes(connection, options.subscription, books, records, purpose);
  auto left = drop_objects(connection, traces.objects);
  connection.query("commit", purpose);
  return left;
}

std::optional<Books> read_postgres_books(const PostgresOptions& options) {
  using namespace postgres;
  auto connection = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription});
  connection.set_patience(std::chrono::seconds(10));
  connection.query("set default_transaction_read_only = on", "reading tailrace's books");
  check_books(connection);
  if (!has_books(connection)) return std::nullopt;
  Bookkeeping books(connection, options.subscription);
  auto checkpoint = books.read_checkpoint();
  if (!checkpoint) return std::nullopt;
  auto holder = living_lock_holder(connection, options.subscription);
  return Books{*checkpoint, books.count_unfinished(), holder.value_or("")};
}

}  // namespace tailrace::target
