#pragma once
// RowOrders: which tables are applied one change after the other in the source's order, why, and for how long.

#include <chrono>
#include <map>
#include <set>
#include <string>

#include "base/lsn.h"

namespace tailrace::target::postgres {

class RowOrders {
 public:
  /// For as long as the target's table is what it is.
  void always(Oid table, const std::string& reason);
  /// Set-wise was refused: in order for a while, longer each time, and at least until a commit holds changes
  /// that were applied so. (A transaction that comes in parts takes as long as it takes to come again.)
  void keep(Oid table, const std::string& reason);
  /// The order of the source was refused as well: under savepoints, which tell the change.
  void keep_carefully(Oid table);

  bool wanted(Oid table) const;
  bool careful(Oid table) const;
  /// Why; empty if it never was.
  std::string reason(Oid table) const;

  /// The open transaction applies changes of the table in order.
  void used(Oid table) { used_.insert(table); }
  void committed();
  void rolled_back() { used_.clear(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Order {
    std::string reason;
    Clock::time_point until;
    Clock::duration length{};
    bool pending = false;  ///< no commit yet that was applied so
    bool careful = false;
  };
  std::map<Oid, Order> orders_;
  std::set<Oid> used_;
};

}  // namespace tailrace::target::postgres
