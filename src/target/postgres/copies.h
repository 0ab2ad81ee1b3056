#pragma once
// Copies: the connections that tables are filled by, as many as there are readers. Thread-safe.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "schema/table.h"
#include "target/postgres/table_plan.h"
#include "target/target.h"

namespace tailrace::target::postgres {

class Copies {
 public:
  Copies(std::string conninfo, std::string subscription, int server_version);

  /// From now on what is copied is marked with origins of the subscription, as far as they are to be had.
  void mark() { marks_ = true; }
  /// Tables of the copy are out of sight. A value that looks for one of them by its name (a regclass, a check
  /// that reads another table) does not find it then: RestartFromCheckpoint, and looked_for() is true.
  void hides(bool any) { hides_ = any; }
  bool looked_for() const { return looked_for_; }
  /// Into which table and columns a source's table goes, until close_idle().
  void know(const TablePlan& plan);
  /// Only of what know() told.
  bool reads_binary(const schema::Table& table);
  /// Looks at the target's catalogs, by a connection of the caller's.
  const schema::Table* first_not_binary(pg::Connection& catalogs, const std::vector<schema::Table>& tables,
                                        const std::map<Oid, TableRecord>& records) const;
  /// `alone`: nobody else fills the table. Then its rows are frozen from the start (PostgreSQL documentation:
  /// "COPY", FREEZE), where the table can be truncated for it.
  std::unique_ptr<CopyWriter> begin(Oid table, bool binary, bool alone);
  /// From any thread: what the connections wait for is cancelled.
  void interrupt() noexcept;
  /// When there is nothing to copy for a while.
  void close_idle();

 private:
  class Use;
  struct Statements {
    std::string copy;
    std::string table;  ///< as SQL writes it; empty where rows cannot be frozen
    std::string purpose;
    TargetTable there;
  };

  void refused(const Error& error);
  std::unique_ptr<pg::Connection> idle_connection();
  std::unique_ptr<pg::Connection> connection();
  static std::optional<std::size_t> begin_frozen(pg::Connection& connection, const Statements& statements);

  std::string conninfo_;
  std::string subscription_;
  int server_version_;
  std::atomic<bool> marks_{false};
  std::atomic<bool> hides_{false};
  std::atomic<bool> looked_for_{false};
  std::atomic<int> under_way_{0};
  std::mutex mutex_;  ///< guards what follows
  std::map<Oid, Statements> statements_;
  std::vector<std::unique_ptr<pg::Connection>> idle_;
  std::set<const pg::Connection*> used_;
};

}  // namespace tailrace::target::postgres
