#pragma once
// CatalogPulse: tells, by a few cheap questions, what may have changed in a source's catalogs since they were
// looked at last. A row that came to be seen since then was written by a transaction that had not ended at that
// time, and so is no older than the oldest one that was running; what is deleted is missed in a count. Nothing
// that changed goes unnoticed; now and then something is named that did not.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::source {

class CatalogPulse {
 public:
  explicit CatalogPulse(std::vector<std::string> publications) : publications_(std::move(publications)) {}

  /// A table, partitioned table or foreign table, as it is now, of which something changed: a row of its own in
  /// pg_class, or one of its columns, its keys, or its place among partitions.
  struct Relation {
    Oid oid = 0;
    std::string schema;
    std::string name;
    char kind = 'r';         ///< as of pg_class
    bool permanent = true;   ///< not unlogged
    bool partition = false;  ///< of another one
    bool described = false;  ///< its pg_class row is another one
    bool attached = false;   ///< it became a partition, or an heir
    bool published = false;  ///< a row came by which one of the publications names it
  };
  struct Changes {
    bool first = false;         ///< nothing is known of before: all may have changed
    bool by_schema = false;     ///< one of the publications names a schema
    bool publications = false;  ///< themselves, or which tables they name
    bool schemas = false;       ///< were made, renamed or dropped, or are hidden from us otherwise
    bool tables = false;        ///< some were made or dropped
    bool heirs = false;         ///< tables became partitions or heirs, or are none any more
    std::vector<Relation> relations;
    std::set<Oid> keys_dropped;  ///< the tables of which an index went that may have been their identity
  };
  /// In a transaction of its own, which has ended when this returns. Of a server that is not the one that was
  /// asked before, it knows nothing. Where it throws, the next call tells of everything since the last that did
  /// not.
  Changes look(pg::Connection& connection);

 private:
  using Keys = std::vector<std::pair<Oid, Oid>>;  ///< table, index

  Changes read(pg::Connection& connection);
  std::string names() const;
  std::string counts_sql(int server_version) const;
  std::string recent_sql() const;
  void read_recent(pg::Connection& connection, Changes& changes);
  void read_keys(pg::Connection& connection, Changes& changes);

  std::vector<std::string> publications_;
  std::string snapshot_;  ///< of the last look; empty: there was none
  std::string horizon_;   ///< the oldest transaction that was running then
  struct Counts {
    std::string publications, schemas, members, tables, partitions, keys;
    bool by_schema = false;
  } counts_;
  std::set<std::string> hidden_;
  std::map<Oid, std::string> recent_;  ///< of the last look: what of these was no older than its horizon
  Keys keys_;
};

}  // namespace tailrace::source
