#pragma once
// SameTable: a transaction's snapshot shows the catalogs as they were, but a statement finds a table by its
// name as it is now. In between a table can lose its name to another one.

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

#include "pg/connection.h"

namespace tailrace::schema {

/// A table as the transaction's snapshot shows it.
struct SeenTable {
  Oid oid = 0;
  std::string schema;
  std::string name;
  bool partitioned = false;
};

/// Thrown where a table is not what the snapshot shows any more: under a newer one it may be read.
class TableAltered : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Locks what has the name now against whoever alters it, and says why it does not hold that table's rows as
/// the snapshot shows them; nullopt: it does. What the server says of a name that leads to no table is thrown.
/// `before`: statements to begin with, each with its semicolon.
std::optional<std::string> lock_as_seen(pg::Connection& connection, const SeenTable& table,
                                        const std::string& before = {});
/// The same of what was locked, when its rows have been read: the schema can be renamed meanwhile.
std::optional<std::string> is_still(pg::Connection& connection, const SeenTable& table);
/// Whether the server may have said this because the name leads elsewhere by now: then is_still() tells.
bool may_be_of_another(const Error& error);

/// Runs `read`, which reads the table by its name, between the two looks, in a savepoint. Throws TableAltered.
void read_as_seen(pg::Connection& connection, const SeenTable& table, const std::function<void()>& read);

}  // namespace tailrace::schema
