#include "target/postgres/odd_partitions.h"

#include "base/error.h"
#include "base/log.h"
#include "base/sql_text.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* looking = "looking for the target's partitions";

}  // namespace

OddPartitions odd_partitions(pg::Connection& connection, const TableRecord& root, const Attachments& source) {
  OddPartitions out;
  // Parents come before their partitions.
  auto rows = connection.query(
      fmt::format(
          "select n.nspname, c.relname, pn.nspname, p.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid) "
          "from pg_catalog.pg_partition_tree({}) t join pg_catalog.pg_class c on c.oid = t.relid "
          "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "join pg_catalog.pg_class p on p.oid = t.parentrelid "
          "join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace where t.level > 0 order by t.level, "
          "t.relid",
          root.target_oid),
      looking);
  std::set<std::string> odd;
  std::size_t alike = 0;
  for (int row = 0; row < rows.rows(); ++row) {
    auto name = quote_qualified(rows.get(row, 0), rows.get(row, 1));
    auto parent = quote_qualified(rows.get(row, 2), rows.get(row, 3));
    bool below = odd.contains(parent);
    if (!below && source.contains(fmt::format("ALTER TABLE ONLY {} ATTACH PARTITION {} {}", parent, name,
                                              rows.get(row, 4)))) {
      ++alike;
      continue;
    }
    odd.insert(name);
    if (!below) out.there.push_back(name);
  }
  out.lacks = alike < source.size();
  return out;
}

void drop_empty(pg::Connection& connection, const TableRecord& root,
                const std::vector<std::string>& partitions) {
  for (const auto& partition : partitions) {
    try {
      auto rows = connection.query(
          fmt::format("select exists (select from {0}), i.inhparent::pg_catalog.regclass "
                      "from pg_catalog.pg_inherits i where i.inhrelid = {1}::pg_catalog.regclass",
                      partition, quote_literal(partition)),
          looking);
      if (rows.rows() == 0 || rows.flag(0, 0)) continue;
      connection.query(fmt::format("alter table {} detach partition {}; drop table {}", rows.get(0, 1),
                                   partition, partition),
                       "dropping a partition");
      log::info("target", "{} went, which was empty: the source's {} has no such partition now", partition,
                root.qualified());
    } catch (const Error& error) {
      if (error.retry() == Retry::transient) throw;
      log::warn("target", "{} stays, empty, as a partition that the source's {} has no more: {}", partition,
                root.qualified(), error.message());
    }
  }
}

}  // namespace tailrace::target::postgres
