#pragma once
// Relation: a table as the replication stream describes it at one moment (pgoutput message 'R').

#include <cstdint>
#include <string>
#include <vector>

#include "base/lsn.h"

namespace tailrace {

enum class ReplicaIdentity : char { by_default = 'd', nothing = 'n', full = 'f', index = 'i' };

struct RelationColumn {
  std::string name;
  Oid type_oid = 0;
  std::int32_t typmod = -1;
  bool is_key = false;  ///< part of the replica identity

  bool operator==(const RelationColumn&) const = default;
};

struct Relation {
  Oid oid = 0;
  std::string schema;
  std::string name;
  ReplicaIdentity identity = ReplicaIdentity::by_default;
  std::vector<RelationColumn> columns;  ///< the published ones, in the order of the tuples

  bool operator==(const Relation&) const = default;
  std::string qualified() const { return schema + "." + name; }
};

}  // namespace tailrace
