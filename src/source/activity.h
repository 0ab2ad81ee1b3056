#pragma once
// Activity: a server process of the source, in words for people.

#include <string>

#include "pg/connection.h"

namespace tailrace::source {

/// To be selected of pg_stat_activity a, as the first columns.
extern const char* const activity_columns;
/// Of such a row. Who may not see what others do is given neither age nor statement; a statement that may hold
/// a secret is not shown to anybody.
std::string describe_activity(const pg::Result& rows, int row);

}  // namespace tailrace::source
