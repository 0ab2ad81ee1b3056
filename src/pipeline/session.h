#pragma once
// Session: one attempt, from connecting to the end of it: make sure of publication and slot, copy what is not
// copied, then stream from the checkpoint. Every failure leaves it by an exception, and the next attempt
// starts from what the target durably holds; nothing else is carried over.

#include <functional>
#include <memory>
#include <set>

#include "base/stop.h"
#include "config/config.h"
#include "pipeline/applier.h"
#include "pipeline/copy_outcome.h"
#include "pipeline/copy_preparation.h"
#include "pipeline/definition_watch.h"
#include "pipeline/first_start.h"
#include "pipeline/looks.h"
#include "pipeline/observer.h"
#include "pipeline/reader.h"
#include "pipeline/run_end.h"
#include "pipeline/status.h"
#include "pipeline/watch_thread.h"
#include "schema/catalog.h"
#include "source/catalog_marks.h"
#include "source/change_stream.h"
#include "source/publication.h"
#include "source/slot.h"
#include "source/stream_options.h"
#include "target/target.h"

namespace tailrace::pipeline {

class Session {
 public:
  /// `source`: by open_source(), if there is one already; else null. `started`: told the applier once streaming
  /// begins, and null when it is over; for those who wait for a position.
  Session(const config::Config& config, target::Target& target, std::unique_ptr<pg::Connection> source,
          StatusBoard& board, const StopSignal& stop, Looks& looks, std::function<void(Applier*)> started);

  /// Who is told what is made at the source.
  void note_made(FirstStart& first) { first_ = &first; }

  /// While `wanted`, everything is to be copied anew, whatever became of the slot; false, once that has begun.
  void copy_all_anew(bool& wanted) { anew_ = &wanted; }

  /// What somebody wants copied: of what the source calls so now, all that the target knows by no such name,
  /// and what is held besides. `asked` is empty then. Error(needs_operator) for a name that neither side knows.
  void copy_as_named_now(std::vector<AskedCopy>& asked) { named_now_ = &asked; }

  /// Where the run ends by itself.
  void end_at(RunEnd& end) { end_ = &end; }

  enum class Ended { stopped, copied };
  /// Returns when a stop is requested or the end is reached, or when it copied what waited for it while the
  /// others were followed: the next one follows all. Throws Error, RestartFromCheckpoint, and TableRefused for
  /// a table that the target has a record of.
  Ended run();

 private:
  void mark_named_now();
  void follow_structure();
  void connect();
  std::unique_ptr<pg::Connection> replication();
  void check_anew(const Checkpoint& checkpoint);
  bool wants_anew() const { return anew_ != nullptr && *anew_; }
  bool begins_anew() const;
  bool was_copied() const;
  void check_same_tables(const Checkpoint& checkpoint);
  std::optional<source::SlotInfo> look_before_beginning_anew();
  void begin_anew(const std::optional<source::SlotInfo>& slot);
  void ensure_slot();
  void note_timeline();
  void begin_at(const source::SlotInfo& slot, Lsn position, const std::string& seen);
  Lsn stated_position(const source::SlotInfo& slot) const;
  void check_start(const std::optional<source::SlotInfo>& slot) const;
  void check_chosen_types();
  void check_before_writing(const std::vector<schema::Table>& tables);
  void follow_a_snapshot();
  std::optional<CopySnapshot> create_main_slot();
  void forget_unfinished_snapshot();
  void tell_what_begins_anew(const std::vector<schema::Table>& missing) const;
  void find_waiting();
  void copy_missing(std::optional<CopySnapshot> snapshot);
  void copy_due();
  void copy_from(CopySnapshot& snapshot);
  void copy_under(const CopySnapshot& snapshot);
  void keep_exporter(CopySnapshot& snapshot);
  struct Published {
    source::PublicationInfo publication;
    source::CatalogMarks marks;  ///< after all of it was read
  };
  Published published_now();
  void take_published(Published now, pg::Connection& snapshot);
  std::vector<schema::Catalog::Wanted> followed_tables() const;
  std::set<Oid> coming_whole(const std::vector<schema::Table>& tables);
  void refuse_altered(const std::vector<schema::Table>& tables, Lsn position);
  void refuse_altered_since_snapshot(const std::vector<schema::Table>& tables, Lsn position);
  void hold_altered(std::vector<schema::Table>& missing, pg::Connection& reader);
  void hold_made_again(pg::Connection& reader);
  void take_rows_as_they_are(const CopySnapshot* snapshot);
  void adopt(const schema::Table& table);
  /// The followed ones that wait for a copy, as the publication was when it was read last.
  std::vector<schema::Catalog::Wanted> not_copied() const;
  std::vector<schema::Table> tables_to_copy(pg::Connection& connection);
  void hold_refused(std::vector<schema::Table>& missing);
  void prepare_structure(std::vector<schema::Table>& missing, const schema::ReadStructure& read);
  void forget_outdated_tables();
  void refuse_lost_publication();
  void drop_replaced_tables();
  bool copies_unasked() const;
  void expect_copies();
  void refuse_unfinished_copies(const std::vector<schema::Table>& missing) const;
  void refuse_to_copy_anew(const std::vector<schema::Table>& missing) const;
  /// It was copied once, and is not followed.
  static bool has_left(const target::TableRecord& record);
  static void mark_left(TableStatus& table);
  void list_tables(const std::vector<schema::Table>& missing);
  bool stream_in_binary();
  bool checks_text() const;
  std::unique_ptr<source::ChangeStream> open_backlog(const source::StreamOptions& options,
                                                     const StopSignal& over);
  void stream();
  void prepare_copy(Applier& applier);
  void settle_preparation(Applier& applier);
  void explain(const Error& error);
  bool apply_from(BatchQueue& queue, Applier& applier, Observer& observer);
  void gather(BatchQueue& queue, std::chrono::milliseconds wait,
              std::vector<std::shared_ptr<const ChangeBatch>>& batches);
  void refuse_waiters(const Applier& applier) const;
  void prepare_end(Applier& applier);
  void look_for_end(Applier& applier, bool idle);
  bool arrive(Applier& applier);
  void tell_slot(Lsn position, const std::function<std::unique_ptr<source::ChangeStream>()>& open);
  void periodic(Applier& applier, Observer& observer, bool idle);
  bool leaves_new_tables() const;
  void look_before_streaming(Applier& applier);
  void check_target();
  void keep_looking(Applier& applier, std::chrono::steady_clock::time_point now);
  void end_look(const WatchThread::Ended& ended);
  void mark_tables_that_left();

  const config::Config& config_;
  target::Target& target_;
  StatusBoard& board_;
  const StopSignal& stop_;
  Looks& looks_;
  std::function<void(Applier*)> started_;
  FirstStart* first_ = nullptr;
  std::vector<AskedCopy>* named_now_ = nullptr;
  bool* anew_ = nullptr;   ///< see copy_all_anew(); or null
  RunEnd* end_ = nullptr;  ///< null: it has none

  std::unique_ptr<pg::Connection> connection_;
  std::unique_ptr<pg::Connection> replication_;  ///< which nobody uses now; or null
  source::SystemIdentity identity_;
  source::PublicationInfo publication_;
  std::unique_ptr<DefinitionWatch> watch_;
  WatchThread* watch_thread_ = nullptr;  ///< while it streams
  bool look_again_ = false;              ///< what the last look left open is to be looked at soon
  bool two_phase_ = false;
  bool failover_ = false;
  bool first_copy_ = false;                     ///< nothing was copied before this session
  std::vector<schema::Table> waiting_;          ///< to be copied while the others are followed
  std::optional<CopyPreparation> preparation_;  ///< of that, while it streams
  std::optional<CopySnapshot> due_;             ///< what it came to
  std::optional<std::set<Oid>> only_;           ///< the tables that are copied; unset: all that are missing
  bool stands_still_ = false;                   ///< the source has no room for a snapshot beside the stream
  Lsn slot_position_;
  std::chrono::steady_clock::time_point last_observed_;
  std::chrono::steady_clock::time_point last_look_;
  std::chrono::steady_clock::time_point last_sequences_;
  std::chrono::steady_clock::time_point last_end_look_;
  std::chrono::steady_clock::time_point last_applied_;
  std::chrono::steady_clock::duration last_commit_took_{};
  bool lagged_ = false;  ///< since the last look the source's catalogs did not show all that was applied
  bool structure_waits_ = false;  ///< what the source's structure got could not be read just now
  bool tidy_ = true;              ///< nothing was committed since the target was last tidied
};

}  // namespace tailrace::pipeline
