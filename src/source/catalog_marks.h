#pragma once
// CatalogMarks: tells whether a snapshot shows the source as it is now. What pg_publication_tables says is as
// of now in any transaction; the other catalogs show what the snapshot sees. Taken together they tell of tables
// that never were.

#include <map>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::source {

struct CatalogMarks {
  std::string publications;           ///< of their own entries
  std::map<Oid, std::string> tables;  ///< of each that may be published: its name, columns and partitions
};

/// Of what these publications are made of. The same inside a snapshot's transaction and outside of it, later:
/// what was read meanwhile is of one moment.
CatalogMarks catalog_marks(pg::Connection& connection, const std::vector<std::string>& publications);

/// True where all that the snapshot shows is `now` as it was then. Tables that were made since do not count:
/// where some are made all the time, no snapshot would ever do. They are to be left to a later one.
bool is_as_shown(const CatalogMarks& shown, const CatalogMarks& now);

}  // namespace tailrace::source
