#pragma once
// NewObjects: what one transaction made at the target (schemas, extensions, types, functions, tables), known by
// object identifiers, so that a start that came to nothing can drop these and nothing else.

#include <string>
#include <vector>

#include "pg/connection.h"

namespace tailrace::target::postgres {

struct NewObject {
  Oid catalog = 0;  ///< pg_class, pg_type, ...: whose oid it is
  Oid oid = 0;
};

class NewObjects {
 public:
  /// Before that transaction. Borrows the connection.
  explicit NewObjects(pg::Connection& connection);
  /// In it, at its end. Without what goes by itself with something else: members of extensions, row types.
  std::vector<NewObject> made();

 private:
  pg::Connection& connection_;
  std::string before_;
};

/// Drops them in the open transaction, as far as nothing else has come to need them. The SQL that drops what
/// stays.
std::vector<std::string> drop_objects(pg::Connection& connection, const std::vector<NewObject>& objects);

}  // namespace tailrace::target::postgres
