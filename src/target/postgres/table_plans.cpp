#include "target/postgres/table_plans.h"

#include "target/postgres/names.h"

namespace tailrace::target::postgres {
namespace {

// What it costs then is a look into the catalogs per table.
constexpr auto plans_serve = std::chrono::seconds(10);

}  // namespace

const std::shared_ptr<const TablePlan>* TablePlans::find(
    Oid table, const std::shared_ptr<const Relation>& relation) const {
  auto found = plans_.find(table);
  return found != plans_.end() && found->second->relation == relation ? &found->second : nullptr;
}

const std::shared_ptr<const TablePlan>& TablePlans::make(const TableRecord& record,
                                                         const std::shared_ptr<const Relation>& relation,
                                                         pg::Connection& catalogs) {
  auto there = own_table(catalogs, record);
  if (!there.row_order.empty()) row_orders_.always(record.oid, there.row_order);
  auto late = catalogs.query("select exists (select from pg_catalog.pg_constraint where condeferrable)",
                             "reading the target's catalogs");
  deferrable_ = late.flag(0, 0);
  auto plan = std::make_shared<TablePlan>(record.oid, relation, std::move(there));
  conflicts_.complete(*plan, catalogs);
  return plans_.insert_or_assign(record.oid, std::move(plan)).first->second;
}

void TablePlans::forget_old() {
  auto now = Clock::now();
  if (now - made_ <= plans_serve) return;
  plans_.clear();
  made_ = now;
}

}  // namespace tailrace::target::postgres
