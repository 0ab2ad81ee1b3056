#include "base/sql_text.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/books_format.h"
#include "target/postgres/books_rights.h"
#include "target/postgres/deletions.h"
#include "target/postgres/hidden_tables.h"
#include "target/postgres/kept_changes.h"
#include "target/postgres/origins.h"
#include "target/postgres/postgres_target.h"

namespace tailrace::target {

bool forget_postgres(const PostgresOptions& options) {
  using namespace postgres;
  constexpr const char* purpose = "removing tailrace's traces from the target";
  auto connection = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription});
  check_books(connection);
  connection.query("set default_transaction_read_only = off", purpose);
  if (!has_books(connection)) return false;
  Bookkeeping books(connection, options.subscription);
  books.lock();
  bool ours = books.read_checkpoint().has_value() || !books.read_tables().empty();
  make_conflict_tables(connection);
  HiddenTables hidden(connection, options.subscription);
  std::vector<TableRecord> tables;
  for (const auto& [oid, record] : books.read_tables()) tables.push_back(record);
  drop_origins(connection, options.subscription);
  connection.query("begin", purpose);
  stop_noting_deletions(connection, options.subscription, tables);
  remove_conflicts(connection, options.subscription);
  hidden.remove_all();
  books.remove_all();
  KeptChanges::remove_all(connection, options.subscription);
  auto others = connection.query(
      "select exists (select from tailrace.checkpoint) or exists (select from tailrace.tables) or "
      "exists (select from tailrace.hidden)",
      purpose);
  bool last = !others.flag(0, 0);
  if (last) connection.query("drop schema tailrace cascade", purpose);
  connection.query("commit", purpose);
  // Books without an entry are what a start left that went no further.
  return ours || last;
}

std::optional<Checkpoint> read_postgres_checkpoint(const PostgresOptions& options) {
  using namespace postgres;
  auto connection = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription});
  connection.set_patience(std::chrono::seconds(10));
  connection.query("set default_transaction_read_only = on", "reading tailrace's books");
  check_books(connection);
  if (!has_books(connection)) return std::nullopt;
  return Bookkeeping(connection, options.subscription).read_checkpoint();
}

}  // namespace tailrace::target
