#pragma once
// Reading: to plan a query, PostgreSQL works out what the expressions of a table's indexes, statistics and
// partition key call with constants, with the rights of whoever asks. COPY of a table plans nothing.

#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/lsn.h"
#include "base/stop.h"
#include "pg/connection.h"

namespace tailrace::schema {

/// Of tables that are to be queried, while we are a superuser; none where we are not.
struct Judged {
  /// A query of them would so run functions of somebody who is no superuser; or, at a standby, may.
  std::set<Oid> refused;
  /// Somebody who is no superuser may give them such code at any moment: what was judged of them holds only
  /// under a QueryGuard.
  std::set<Oid> open_to_others;
};
Judged judge_queries(pg::Connection& connection, const std::vector<Oid>& tables);

/// Throws Error that names them.
[[noreturn]] void refuse_to_query(pg::Connection& source, const std::set<Oid>& tables);

/// Queries of the source's tables that are open to others. For the moment that it takes to plan one, a
/// connection of its own keeps whoever owns the table from giving it an index or statistics (SHARE UPDATE
/// EXCLUSIVE, which nobody who reads or writes waits for), and judges it then. Any thread; one query at a time.
class QueryGuard {
 public:
  QueryGuard(std::string conninfo, std::string application_name, const StopSignal& stop);

  /// Runs `query`, by the end of which a query of the table (`tree`: and of its partitions) has been planned,
  /// and returns nothing; or runs nothing, and returns why.
  std::optional<Error> while_judged(const std::string& schema, const std::string& name, bool tree,
                                    const std::function<void()>& query);

 private:
  std::optional<Error> lock_and_judge(const std::string& schema, const std::string& name, bool tree);
  void let_go() noexcept;

  const std::string conninfo_;
  const std::string application_name_;
  const StopSignal& stop_;
  std::mutex mutex_;
  std::optional<pg::Connection> connection_;
};

}  // namespace tailrace::schema
