#pragma once
// Ties: inheritance between tables of ours. The server alters an heir with its parent and refuses to alter it
// alone; the source may have altered either alone, or in the other order, or have ended the inheritance first.
// So each is altered by itself, and inherits again as soon as both have the columns for it (PostgreSQL
// documentation: "Inheritance").

#include <set>
#include <utility>

#include "pg/connection.h"
#include "target/postgres/names.h"

namespace tailrace::target::postgres {

/// One thread. All calls in an open transaction; what it undid is tied by it, and a later call finds that.
class Ties {
 public:
  /// Of our table (its object identifier at the target) with others of ours.
  void loosen(pg::Connection& connection, const Records& records, Oid table);
  /// Those of the table that were loosened, as far as the columns are such.
  void tie(pg::Connection& connection, const Records& records, Oid table);

 private:
  using Tie = std::pair<Oid, Oid>;  ///< heir, parent
  std::set<Tie> loose_;
};

}  // namespace tailrace::target::postgres
