#pragma once
// Copies: the connections that tables are filled by, as many as there are readers. Thread-safe.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "schema/table.h"
#include "target/postgres/table_plan.h"
#include "target/target.h"

namespace tailrace::target::postgres {

class Copies {
 public:
  Copies(const std::string& conninfo, const std::string& subscription);

  /// From now on what is copied is marked with origins of the subscription, as far as they are to be had.
  void mark() { marks_ = true; }
  /// Into which table and columns a source's table goes.
  void know(const TablePlan& plan);
  bool reads_binary(const schema::Table& table);
  std::unique_ptr<CopyWriter> begin(Oid table, bool binary);
  /// When there is nothing to copy for a while.
  void close_idle();

 private:
  std::unique_ptr<pg::Connection> idle_connection();
  std::unique_ptr<pg::Connection> connection();

  std::string conninfo_;
  std::string subscription_;
  std::atomic<bool> marks_{false};
  std::atomic<int> under_way_{0};
  std::mutex mutex_;  ///< guards what follows
  pg::Connection catalogs_;
  std::map<Oid, std::pair<std::string, std::string>> statements_;  ///< COPY, and what it is for
  std::vector<std::unique_ptr<pg::Connection>> idle_;
};

}  // namespace tailrace::target::postgres
