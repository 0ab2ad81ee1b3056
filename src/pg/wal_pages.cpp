#include "pg/wal_pages.h"

namespace tailrace::pg {

WalPages WalPages::read(Connection& connection) {
  auto row = connection.query(
      "select pg_catalog.current_setting('wal_block_size')::pg_catalog.int8, "
      "pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))",
      "reading the sizes of the log's pages");
  return {static_cast<std::uint64_t>(row.i64(0, 0)), static_cast<std::uint64_t>(row.i64(0, 1))};
}

}  // namespace tailrace::pg
