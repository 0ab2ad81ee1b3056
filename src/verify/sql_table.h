#pragma once
// SqlTable: a table as a PostgreSQL database shows it in one transaction, summed up there or read from there;
// never another one that got its name since: rather schema::TableAltered is thrown.
// Values are PostgreSQL's text, to the letter, whatever types they have on either side.

#include <functional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "pg/connection.h"
#include "schema/same_table.h"
#include "schema/table.h"
#include "verify/table_digest.h"

namespace tailrace::verify {

using RowVisitor = std::function<void(const Row&)>;

/// Runs a query, by the end of which it is planned; or throws Error where it must not be.
using Around = std::function<void(const std::function<void()>& query)>;

/// What one side is asked about: the same on both, so that equal rows have equal sums.
struct ChecksumPlan {
  ChecksumPlan(const schema::Table& table, const RowShape& shape);

  std::size_t buckets = 0;  ///< a power of two
  /// SELECT of a row's parts, which are hashed one after the other, and of its key as `k`; what is between
  /// SELECT and FROM.
  std::string parts;
  std::string first_hash;   ///< of those parts
  std::string second_hash;  ///< another one
  std::string bucket;       ///< of those parts
  std::string row_bucket;   ///< of the columns themselves
};

/// Borrows the connection, which is in the transaction to look with. One thread.
class SqlTable {
 public:
  /// `filter`: a WHERE condition, or empty. `around`: every query of the table; empty: they just run.
  SqlTable(pg::Connection& connection, schema::SeenTable table, std::string filter, Around around = {});

  /// Equal for two servers that hash equal rows alike: same encoding, same byte order.
  std::string dialect();
  /// Sums up in the server, a piece of the table after the other; `counted` is told how many rows each had.
  void sum(const ChecksumPlan& plan, TableDigest& digest, const StopSignal& stop,
           const std::function<void(std::int64_t)>& counted);
  /// `condition`: SQL, or empty for all rows.
  void read(const std::vector<std::string>& columns, const std::string& condition, const StopSignal& stop,
            const RowVisitor& visit);

 private:
  void guarded(const std::function<void()>& query) const;
  void sum_pieces(const ChecksumPlan& plan, TableDigest& digest, const StopSignal& stop,
                  const std::function<void(std::int64_t)>& counted);
  std::vector<std::string> pieces();
  std::string where(const std::string& condition, const std::string& more = {}) const;

  pg::Connection& connection_;
  schema::SeenTable table_;
  std::string name_;
  std::string from_;
  std::string filter_;
  std::string purpose_;
  Around around_;
};

/// The condition that a row is in one of the buckets.
std::string in_buckets(const ChecksumPlan& plan, const std::vector<bool>& buckets);

}  // namespace tailrace::verify
