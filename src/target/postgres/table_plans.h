#pragma once
// TablePlans: how each table's changes are applied, as its target table was a short while ago.

#include <chrono>
#include <map>
#include <memory>

#include "target/postgres/conflict_handling.h"
#include "target/postgres/row_orders.h"
#include "target/postgres/table_plan.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// One thread. Borrows both.
class TablePlans {
 public:
  TablePlans(RowOrders& row_orders, const ConflictHandling& conflicts)
      : row_orders_(row_orders), conflicts_(conflicts) {}

  /// For changes that `relation` describes; null if there is none yet.
  const std::shared_ptr<const TablePlan>* find(Oid table,
                                               const std::shared_ptr<const Relation>& relation) const;
  /// A new one, as the catalogs say. Throws TableRefused where the target lost the table.
  const std::shared_ptr<const TablePlan>& make(const TableRecord& record,
                                               const std::shared_ptr<const Relation>& relation,
                                               pg::Connection& catalogs);
  /// The target has constraints that can be checked late.
  bool deferrable() const { return deferrable_; }

  void forget(Oid table) { plans_.erase(table); }
  void forget_all() { plans_.clear(); }
  /// Whoever owns the target may have altered its tables, given them triggers and indexes. Between
  /// transactions.
  void forget_old();

 private:
  using Clock = std::chrono::steady_clock;

  RowOrders& row_orders_;
  const ConflictHandling& conflicts_;
  std::map<Oid, std::shared_ptr<const TablePlan>> plans_;
  Clock::time_point made_ = Clock::now();
  bool deferrable_ = true;
};

}  // namespace tailrace::target::postgres
