#pragma once
// ChangesSince: what the source's catalogs cannot rule out to have become of a table after a logical slot was
// made. The slot's catalog_xmin is the oldest transaction that can have been running then: whatever older ones
// wrote was there, and every row of the catalogs says which transaction wrote it. It errs to one side: what a
// transaction did that ended before the slot began, while an older one was running, counts as done since.

#include <map>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::schema {

struct ChangeSince {
  std::string what;  ///< in words, of a table that was there; empty: it is the same
  bool joined =
      false;  ///< of one that was there: published since, or otherwise; the publication's own making aside
  bool made = false;         ///< the table itself is younger
  bool always_sent = false;  ///< of one that is: published since it was made
  bool has_rows = false;     ///< of one that is: at the source, or it had some
};

/// As the connection's transaction sees the catalogs. Those of the tables that are the same are left out. With
/// no such slot nothing is known to be the same.
std::map<Oid, ChangeSince> changes_since(pg::Connection& connection, const std::string& slot,
                                         const std::vector<std::string>& publications,
                                         const std::vector<Oid>& tables);

}  // namespace tailrace::schema
