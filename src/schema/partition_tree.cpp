#include "schema/partition_tree.h"

#include <fmt/format.h>

namespace tailrace::schema {

std::string partition_tree(int server_version, std::string_view tables) {
  // A table's heirs, as opposed to its partitions, are tables of their own.
  return fmt::format(
      "tree (root, relid) as (select o, o from pg_catalog.unnest({}::pg_catalog.oid[]) o union all "
      "select t.root, i.inhrelid from tree t join pg_catalog.pg_class k on k.oid = t.relid and k.relkind = 'p' "
      "join pg_catalog.pg_inherits i on i.inhparent = t.relid{})",
      tables, server_version >= 140000 ? " and not i.inhdetachpending" : "");
}

}  // namespace tailrace::schema
