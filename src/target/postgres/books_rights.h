#pragma once
// BooksRights: who may put what into tailrace's own tables at a target. What is in them is acted upon with the
// rights of the target's user (the statements of tailrace.structure are run), so nobody with fewer rights may
// write there, and nothing of his may hang on them. Reading is harmless.

#include <functional>
#include <string>
#include <string_view>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// Throws Error where somebody with other rights than the user's owns what tailrace keeps there or may write to
/// it, or where a trigger, rule, policy or foreign key hangs on it. To be asked before the books are opened.
void check_books(pg::Connection& connection);

/// While they are open: the error leads to a new start, which refuses them, and is no table's fault.
void check_books_again(pg::Connection& connection);

/// Takes from others what default privileges gave them on a schema that was just made.
void close_schema(pg::Connection& connection, const std::string& schema);

/// Makes the schema, if it is not there, without what default privileges give others. Within a transaction.
void make_books_schema(pg::Connection& connection);

/// The tables and sequences that `make` makes in it: likewise.
void make_books(pg::Connection& connection, const std::function<void()>& make);

/// The same in a transaction of its own, for what is made when it is first needed.
void add_books(pg::Connection& connection, const std::string& sql, std::string_view purpose);

/// Takes a trigger's function in that schema from all but its owner, and the owner of the table, whose new
/// partitions get the trigger too.
void close_function(pg::Connection& connection, const std::string& function, Oid table);

}  // namespace tailrace::target::postgres
