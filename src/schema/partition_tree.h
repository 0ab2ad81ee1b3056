#pragma once
// PartitionTree: partitioned tables and what is below them, as the transaction's snapshot shows it. The
// server's own pg_partition_tree() and pg_partition_ancestors() show what is now.

#include <string>
#include <string_view>

namespace tailrace::schema {

/// "tree(root, relid) as (...)", for a WITH RECURSIVE: each of the tables and all its partitions, at any level,
/// less those that are on their way out (DETACH ... CONCURRENTLY). `tables`: SQL for an array of oids.
std::string partition_tree(int server_version, std::string_view tables);

}  // namespace tailrace::schema
