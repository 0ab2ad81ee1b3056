#pragma once
// Places: schemas that tailrace makes at the target for its tables to stand in for a while. Which are its own
// its books say, by their object identifiers: whatever has a name that looks like one of them is somebody
// else's.

#include <string>

#include "pg/connection.h"

namespace tailrace::target::postgres {

struct Place {
  Oid schema = 0;
  std::string name;
};

/// A new schema, of this name or, where somebody has that, with a number after it. In the open transaction,
/// which also notes it.
Place make_place(pg::Connection& connection, const std::string& wanted);

}  // namespace tailrace::target::postgres
