#include "target/postgres/row_orders.h"

#include <algorithm>
#include <utility>

namespace tailrace::target::postgres {
namespace {

constexpr auto at_first = std::chrono::seconds(1);
constexpr auto at_most = std::chrono::minutes(5);

}  // namespace

void RowOrders::always(Oid table, const std::string& reason) {
  Order& order = orders_[table];
  order.reason = reason;
  order.until = Clock::time_point::max();
}

/// For longer each time: where it happens often, trying set-wise first is wasted work.
void RowOrders::keep(Oid table, const std::string& reason) {
  Order& order = orders_[table];
  order.length = std::clamp<Clock::duration>(order.length * 2, at_first, at_most);
  order.reason = reason;
  order.until = std::max(order.until, Clock::now() + order.length);
  order.pending = true;
}

void RowOrders::keep_carefully(Oid table) {
  orders_[table].careful = true;
}

bool RowOrders::wanted(Oid table) const {
  auto order = orders_.find(table);
  return order != orders_.end() && (order->second.pending || Clock::now() < order->second.until);
}

bool RowOrders::careful(Oid table) const {
  auto order = orders_.find(table);
  return order != orders_.end() && order->second.careful;
}

std::string RowOrders::reason(Oid table) const {
  auto order = orders_.find(table);
  return order != orders_.end() ? order->second.reason : "";
}

void RowOrders::committed() {
  for (Oid table : used_) {
    Order& order = orders_[table];
    if (std::exchange(order.pending, false)) order.until = std::max(order.until, Clock::now() + order.length);
  }
  used_.clear();
}

}  // namespace tailrace::target::postgres
