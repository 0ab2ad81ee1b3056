#pragma once
// CatalogMarks: tells whether a snapshot shows the source as it is now. What pg_publication_tables says is as
// of now in any transaction; the other catalogs show what the snapshot sees. Taken together they tell of tables
// that never were.

#include <string>
#include <vector>

#include "pg/connection.h"

namespace tailrace::source {

/// Of what these publications are made of: their tables, with columns and partitions. The same inside a
/// snapshot's transaction and outside of it, later: what was read meanwhile is of one moment.
std::string catalog_marks(pg::Connection& connection, const std::vector<std::string>& publications);

}  // namespace tailrace::source
