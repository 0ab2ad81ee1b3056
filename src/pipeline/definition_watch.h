#pragma once
// DefinitionWatch: looks at the source's catalogs now and then, for what the stream never says: tables that
// were created, rows that were rewritten, and new definitions of tables that nobody writes to. It asks only of
// what may have changed since it looked last, and of what it could not decide then.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "pg/connection.h"
#include "pg/wal_pages.h"
#include "pipeline/applier.h"
#include "pipeline/evolution.h"
#include "schema/catalog.h"
#include "source/catalog_pulse.h"
#include "source/publication.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// What catalogs are read by. Borrows the connection.
class CatalogReader {
 public:
  CatalogReader(pg::Connection& connection, schema::Catalog catalog);

  pg::Connection& connection() { return connection_; }
  schema::Catalog& catalog() { return catalog_; }
  /// Where the source's WAL ends now.
  Lsn position();
  /// In one snapshot, so that the heap's file and the columns' versions are of one moment.
  std::vector<schema::Table> tables(const std::vector<schema::Catalog::Wanted>& wanted);

 private:
  pg::Connection& connection_;
  pg::WalPages pages_;
  schema::Catalog catalog_;
};

/// One look at a time, on any thread. What it finds is compared and done where rows are applied.
class DefinitionWatch {
 public:
  /// `may_copy`: a table may be copied anew without being asked. `tables_left`: is called where rows are
  /// applied, when some are not published any more.
  DefinitionWatch(source::PublicationSpec spec, target::Target& target, bool may_copy,
                  std::function<void()> tables_left);

  /// Does its argument where rows are applied, between transactions, and returns when it is done.
  using Meet = std::function<void(const std::function<void(Applier&)>& what)>;
  /// Of the applier, between transactions, before the look; the catalogs may not lag then.
  struct Start {
    std::set<Oid> reshaped;  ///< Applier::take_reshaped()
    std::int64_t lags = 0;   ///< Applier::lags()
  };
  /// False: the catalogs lagged behind what was applied meanwhile; nothing was done, and the next look finds
  /// it. Throws RestartFromCheckpoint, out of `meet` too, when tables must be copied. Where something else is
  /// thrown, the next look finds all that this one did not.
  bool look(CatalogReader& source, const Start& start, const Meet& meet);
  /// These tables are about to be copied, and not new.
  void expect(const std::vector<schema::Table>& tables) {
    for (const auto& table : tables) expected_.insert(table.oid);
  }
  /// The catalogs may not show these yet, which are held.
  void expect_unseen(const std::set<Oid>& tables) { expected_.insert(tables.begin(), tables.end()); }
  /// Tables that nothing is known of yet are left for another run: this one ends at a position that was there
  /// before them, and would never end where some are made all the time.
  void leave_new_tables() { leaves_new_tables_ = true; }
  /// It saw what only another look can decide.
  bool undecided() const { return publication_due_ || !open_.empty(); }

 private:
  using Reason = std::optional<std::string>;  ///< to begin again from the checkpoint
  using Plan = std::variant<target::Evolution, CopyAnew>;
  using NamesNow = std::map<Oid, target::Target::NameAtSource>;

  /// What the target has of tables, before their definitions are read.
  struct Known {
    std::map<Oid, target::TableRecord> records;
    std::map<Oid, Xid> truncated_by;
    Lsn durable;
  };
  /// What is to be done about a table, if the target's record of it is still this one.
  struct Finding {
    target::TableRecord record;
    Reason copy;
    std::optional<std::string> storage;
    std::optional<Plan> plan;
    std::string name;
  };
  struct Findings {
    std::optional<source::PublicationInfo> publication;  ///< if it was read
    Reason selected;  ///< a table that the publication is to have, and has not
    NamesNow moved;
    std::vector<Finding> tables;
  };

  void notice(const source::CatalogPulse::Changes& changes);
  void notice(const std::set<Oid>& reshaped);
  bool may_join(const source::CatalogPulse::Relation& relation) const;
  void read_publication(CatalogReader& source, const Meet& meet, Findings& findings);
  void know(const source::PublicationInfo& publication);
  Reason selected_and_not_published(CatalogReader& source, const source::PublicationInfo& publication);
  bool look_at(const std::vector<Oid>& tables, CatalogReader& source, const Meet& meet, Findings& findings);
  void judge(const schema::Table& table, const Known& known, Lsn position, CatalogReader& source,
             Findings& findings);
  Reason unsaid_reason(const target::TableRecord& record, const schema::Table& table, Lsn position,
                       const Known& known, schema::Catalog& catalog);
  /// Nothing while it is not known to be the last one.
  std::optional<Plan> new_definition(const target::TableRecord& record, const schema::Table& table,
                                     Lsn position, const Known& known, schema::Catalog& catalog);
  void close(Oid table);

  bool lags(Applier& applier) const;
  bool act(const Findings& findings, Applier& applier);
  Reason look_for_new_tables(const source::PublicationInfo& publication) const;
  Reason mark_outdated_tables(const source::PublicationInfo& publication);
  Reason settle_moved_tables(const source::PublicationInfo& publication, const NamesNow& now);
  Reason drop_replaced_tables(const source::PublicationInfo& publication);
  Reason mark_changed_tables(const std::vector<const Finding*>& tables, Applier& applier);
  void follow_definitions(const std::vector<const Finding*>& tables, Applier& applier);

  source::PublicationSpec spec_;
  target::Target& target_;
  bool may_copy_;
  bool leaves_new_tables_ = false;
  std::function<void()> tables_left_;
  source::CatalogPulse pulse_;
  std::set<Oid> expected_;
  std::int64_t lags_ = 0;  ///< when the look under way began

  /// As the publication was read last. Without the columns' names where all are published.
  std::map<Oid, source::PublishedTable> published_;
  bool all_tables_ = false;
  bool by_schema_ = false;
  std::set<Oid> roots_;          ///< of the published ones, those that are partitioned
  bool publication_due_ = true;  ///< to be read, and compared with what the target has
  std::set<Oid> open_;           ///< to be read: they changed, or are not decided
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
