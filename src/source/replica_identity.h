#pragma once
// Replica identity of the published tables. PostgreSQL documentation: "29.1. Publication": UPDATE and DELETE of
// a published table that has none are refused by the server, which is the source's applications' trouble.

#include <string>
#include <vector>

#include "pg/connection.h"

namespace tailrace::source {

/// Names for people and for SQL, in order.
struct WithoutIdentity {
  std::vector<std::string> bare;        ///< no key
  std::vector<std::string> deferrable;  ///< a primary key that is deferrable, which is none

  bool none() const { return bare.empty() && deferrable.empty(); }
};

/// Of these tables and the leaves below them. Blocking; throws Error.
WithoutIdentity without_identity(pg::Connection& connection, const std::vector<Oid>& tables);

/// A sentence of those that were published just now; empty where all have one.
std::string tell_refused(const WithoutIdentity& tables);

}  // namespace tailrace::source
