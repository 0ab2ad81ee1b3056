#include "schema/same_table.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/sql_text.h"
#include "schema/partition_tree.h"

namespace tailrace::schema {
namespace {

/// What functions tell is as of now. A rewrite (ALTER TABLE, TRUNCATE, VACUUM FULL) leaves a heap that the
/// snapshot sees as empty or foreign; the file's number tells.
std::string question(int server_version, const SeenTable& table) {
  // A query of a partitioned table reads the partitions that it has now.
  auto other_tree = fmt::format(
      "with recursive {} select from tree t having pg_catalog.array_agg(t.relid order by t.relid) is distinct "
      "from "
      "(select pg_catalog.array_agg(n.relid::pg_catalog.oid order by n.relid::pg_catalog.oid) from "
      "pg_catalog.pg_partition_tree(c.oid) n) or pg_catalog.bool_or((select f.relkind = 'r' and f.relfilenode "
      "is "
      "distinct from pg_catalog.pg_relation_filenode(f.oid) from pg_catalog.pg_class f where f.oid = t.relid))",
      partition_tree(server_version, "array[c.oid]"));
  constexpr const char* other_file =
      "select where c.relfilenode is distinct from pg_catalog.pg_relation_filenode(c.oid)";
  return fmt::format(
      "select x.same, x.same and not exists ({}), x.same and not exists (select from pg_catalog.pg_attribute a "
      "where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname::pg_catalog.text is "
      "distinct from (pg_catalog.pg_identify_object_as_address(1259::pg_catalog.oid, a.attrelid, "
      "a.attnum)).object_names[3]) "
      "from pg_catalog.pg_class c cross join lateral (select "
      "coalesce(pg_catalog.to_regclass({})::pg_catalog.oid "
      "= c.oid, false)) x(same) where c.oid = {}",
      table.partitioned ? other_tree : other_file, quote_literal(quote_qualified(table.schema, table.name)),
      table.oid);
}

std::optional<std::string> answer(const pg::Result& row) {
  if (row.rows() == 0 || !row.flag(0, 0)) return "was dropped or renamed";
  if (!row.flag(0, 1)) return "was truncated or rewritten";
  if (!row.flag(0, 2)) return "changed its columns";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> lock_as_seen(pg::Connection& connection, const SeenTable& table,
                                        const std::string& before) {
  auto name = quote_qualified(table.schema, table.name);
  return answer(connection.query(fmt::format("{}lock table only {} in access share mode; {}", before, name,
                                             question(connection.server_version(), table)),
                                 "locking " + name));
}

std::optional<std::string> is_still(pg::Connection& connection, const SeenTable& table) {
  return answer(
      connection.query(question(connection.server_version(), table), "looking whether it is the same table"));
}

bool may_be_of_another(const Error& error) {
  constexpr std::array by_name = {"42", "3F", "XX0"};
  return std::ranges::any_of(by_name, [&](auto prefix) { return error.sqlstate().starts_with(prefix); });
}

void read_as_seen(pg::Connection& connection, const SeenTable& table, const std::function<void()>& read) {
  auto expect = [&](const std::optional<std::string>& why) {
    if (why) throw TableAltered(fmt::format("{}.{} {} while it was read", table.schema, table.name, *why));
  };
  try {
    expect(lock_as_seen(connection, table, "savepoint as_seen; "));
    read();
  } catch (const Error& error) {
    if (!may_be_of_another(error)) throw;
    connection.query("rollback to savepoint as_seen", "looking whether it is the same table");
    expect(is_still(connection, table));
    throw;
  }
  expect(is_still(connection, table));
  connection.query("release savepoint as_seen", "looking whether it is the same table");
}

}  // namespace tailrace::schema
