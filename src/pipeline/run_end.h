#pragma once
// RunEnd: where a run ends by itself, if it does: at the source's end as of its start, at a position, or at a
// time of the source's clock. One for a run: it outlives the sessions, so that a lost connection moves no end.

#include <optional>
#include <set>
#include <vector>

#include "base/lsn.h"
#include "model/checkpoint.h"
#include "pg/connection.h"
#include "source/publication.h"

namespace tailrace::pipeline {

/// What the user asks for. At most one of them.
struct Until {
  bool once = false;
  Lsn lsn;           ///< what commits there or later is left for another run; 0/0: not given
  PgTimestamp time;  ///< and so is the first transaction that committed later, with all after it; 0: not given

  bool given() const { return once || lsn.valid() || time.micros != 0; }
};

/// One thread.
class RunEnd {
 public:
  explicit RunEnd(const Until& until) : until_(until), position_(until.lsn) {}

  bool wanted() const { return until_.given(); }
  const Until& until() const { return until_; }

  /// Asks the source where it is. The first time tells where it ends, for a run to that.
  void look(pg::Connection& source);
  /// No transaction that commits here or later is applied. Invalid: nobody knows yet, for the time has not
  /// come.
  Lsn position() const { return position_; }
  /// The source has got there, so that its stream shows it, also when nothing more comes.
  bool in_reach() const { return in_reach_; }

  /// Throws Error when the target has more than the user wants in it.
  void refuse_beyond(const Checkpoint& checkpoint) const;
  /// Asks the source. Throws Error when rows that are copied now would be of a later moment than is wanted.
  void refuse_copy(pg::Connection& source);
  /// A run to the source's end goes further where a copy is newer: all tables are to be of one position.
  void include(Lsn copied_at);

  /// A run to the source's end brings the tables that there were when it began: one that was made later is
  /// another run's, or this one would not end where some are made all the time. The first call says which.
  void keep_to_first(std::vector<source::PublishedTable>& tables);

  bool reached() const { return reached_; }
  void reach() { reached_ = true; }

 private:
  Until until_;
  Lsn position_;
  std::optional<std::set<Oid>> tables_;
  bool in_reach_ = false;
  bool late_ = false;  ///< the source is beyond it
  bool reached_ = false;
};

}  // namespace tailrace::pipeline
