#include "target/postgres/ties.h"

#include <fmt/format.h>

#include "base/log.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* purpose = "altering tables that inherit";

std::string name_of(pg::Connection& connection, Oid table) {
  return connection.query(fmt::format("select {}::pg_catalog.oid::pg_catalog.regclass", table), purpose)
      .str(0, 0);
}

}  // namespace

void Ties::loosen(pg::Connection& connection, const Records& records, Oid table) {
  std::set<Oid> ours;
  for (const auto& [_, record] : records) ours.insert(record.target_oid);
  auto rows = connection.query(
      fmt::format(
          "select i.inhrelid, i.inhparent, i.inhrelid::pg_catalog.regclass, "
          "i.inhparent::pg_catalog.regclass from pg_catalog.pg_inherits i join pg_catalog.pg_class c on "
          "c.oid = i.inhrelid where c.relkind = 'r' and not c.relispartition and {} in (i.inhrelid, "
          "i.inhparent)",
          table),
      purpose);
  for (int row = 0; row < rows.rows(); ++row) {
    Tie tie{rows.oid(row, 0), rows.oid(row, 1)};
    if (!ours.contains(tie.first) || !ours.contains(tie.second)) continue;
    connection.query(fmt::format("alter table {} no inherit {}", rows.get(row, 2), rows.get(row, 3)), purpose);
    loose_.insert(tie);
  }
}

void Ties::tie(pg::Connection& connection, const Records& records, Oid table) {
  std::set<Oid> ours;
  for (const auto& [_, record] : records) ours.insert(record.target_oid);
  for (auto tie = loose_.begin(); tie != loose_.end();) {
    auto [heir, parent] = *tie;
    if (heir != table && parent != table) {
      ++tie;
      continue;
    }
    bool there = ours.contains(heir) && ours.contains(parent);
    connection.query("savepoint tailrace_tie", purpose);
    try {
      if (there) {
        connection.query(
            fmt::format("alter table {} inherit {}", name_of(connection, heir), name_of(connection, parent)),
            purpose);
      }
      tie = loose_.erase(tie);
    } catch (const Error& error) {
      if (error.retry() == Retry::transient) throw;
      connection.query("rollback to tailrace_tie", purpose);
      log::debug("target", "{}", error.message());
      ++tie;
    }
    connection.query("release tailrace_tie", purpose);
  }
}

}  // namespace tailrace::target::postgres
