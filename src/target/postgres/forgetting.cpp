#include "base/sql_text.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/kept_changes.h"
#include "target/postgres/lane.h"
#include "target/postgres/postgres_target.h"

namespace tailrace::target {

bool forget_postgres(const PostgresOptions& options) {
  using namespace postgres;
  constexpr const char* purpose = "removing tailrace's traces from the target";
  auto connection = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription});
  auto there = connection.query("select pg_catalog.to_regclass('tailrace.structure') is not null", purpose);
  if (!there.flag(0, 0)) return false;
  Bookkeeping books(connection, options.subscription);
  books.lock();
  bool ours = books.read_checkpoint().has_value() || !books.read_tables().empty();
  connection.query("begin", purpose);
  books.remove_all();
  KeptChanges::remove_all(connection, options.subscription);
  auto others = connection.query(
      "select exists (select from tailrace.checkpoint) or exists (select from tailrace.tables)", purpose);
  if (!others.flag(0, 0)) connection.query("drop schema tailrace cascade", purpose);
  connection.query("commit", purpose);
  connection.query("select pg_catalog.pg_replication_origin_drop(roname) from pg_replication_origin where " +
                       is_origin_of(options.subscription),
                   purpose);
  return ours;
}

}  // namespace tailrace::target
