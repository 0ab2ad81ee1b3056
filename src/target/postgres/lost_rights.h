#pragma once
// LostRights: what the target's user may not do any more, or not yet where it is another one than before: by
// the role, the right, the object, and the GRANT. Asked once a statement was refused for it, and of the books
// at the start.

#include "pg/connection.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// SQLSTATE insufficient_privilege; triggers and policies of somebody else raise it too.
constexpr const char* insufficient_privilege = "42501";

/// Throws Error where the user lacks what keeping tailrace's own tables takes. Nothing where there are none.
void check_rights_on_books(pg::Connection& connection);

/// Throws TableRefused where the user lacks what following the table takes.
void check_rights_on(pg::Connection& connection, const TableRecord& table);

}  // namespace tailrace::target::postgres
