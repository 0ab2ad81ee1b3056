#pragma once
// Adoption: a table that somebody loaded into the file becomes a mirrored one, rows and all.

#include <string>

#include "target/duckdb/database.h"
#include "target/duckdb/mirror.h"

namespace tailrace::target::duckdb {

/// True when the file holds tables outside of the schema tailrace.
bool holds_tables(Session& session);

/// The mirror of the table that has the planned place in the file, with its columns in that table's order.
/// Columns are matched by name. A column may be VARCHAR where the mirror would have
/// another type: it holds PostgreSQL's exact text then. Throws Error (needs_operator) where the table cannot
/// serve; writes nothing.
MirrorTable adopted(Session& session, MirrorTable planned);

}  // namespace tailrace::target::duckdb
