#pragma once
// DefinitionWatch: looks at the source's catalogs now and then, for what the stream never says: tables that
// were created, rows that were rewritten, and new definitions of tables that nobody writes to.

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "pg/connection.h"
#include "pg/wal_pages.h"
#include "pipeline/applier.h"
#include "schema/catalog.h"
#include "source/publication.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// One thread: the runner's.
class DefinitionWatch {
 public:
  /// `source`: by which it looks, and which lives longer. `may_copy`: a table may be copied anew without being
  /// asked.
  DefinitionWatch(pg::Connection& source, source::PublicationSpec spec, target::Target& target, bool may_copy);

  /// Only between transactions. Throws RestartFromCheckpoint when tables must be copied.
  void look(Applier& applier);
  /// These tables are about to be copied, and not new.
  void expect(const std::vector<schema::Table>& tables) {
    for (const auto& table : tables) expected_.insert(table.oid);
  }
  /// The catalogs may not show these yet, which are held.
  void expect_unseen(const std::set<Oid>& tables) { expected_.insert(tables.begin(), tables.end()); }
  /// It saw what only another look can decide.
  bool undecided() const { return !seen_.empty() || !suspects_.empty(); }

 private:
  using Reason = std::optional<std::string>;  ///< to begin again from the checkpoint

  Reason look_for_new_tables(const source::PublicationInfo& publication);
  Reason mark_outdated_tables(const source::PublicationInfo& publication);
  Reason settle_moved_tables(const source::PublicationInfo& publication);
  Reason drop_replaced_tables(const source::PublicationInfo& publication);
  Reason mark_changed_tables(const std::vector<schema::Table>& tables, Lsn position, Applier& applier);
  Reason unsaid_reason(const target::TableRecord& record, const schema::Table& table, Lsn position,
                       const Applier& applier);
  void look_for_definitions(const std::vector<schema::Table>& tables, Lsn position, Applier& applier);
  Lsn read_position();

  pg::Connection& connection_;
  source::PublicationSpec spec_;
  target::Target& target_;
  bool may_copy_;
  std::set<Oid> expected_;
  pg::WalPages pages_;
  schema::Catalog catalog_;
  /// A definition that differs from the target's, and a position of which it was there already. It is followed
  /// once the stream has passed that position and it is still the same, to the versions of its columns: no
  /// change in an older shape can come then.
  struct Seen {
    Relation relation;
    std::vector<target::RecordedColumn> columns;
    Lsn position;
  };
  std::map<Oid, Seen> seen_;
  /// Tables whose rows may have changed without a word in the stream: how that was seen, and a position by
  /// which it had happened. They are copied unless the stream has said it by then.
  struct Suspect {
    std::string storage;
    Lsn position;
  };
  std::map<Oid, Suspect> suspects_;
};

}  // namespace tailrace::pipeline
