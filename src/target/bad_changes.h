#pragma once
// What a target keeps of source transactions and changes that it does not take: notes of transactions that are
// to be left out, and changes in quarantine. Used by the runner's thread alone.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/lsn.h"

namespace tailrace::target {

/// A source transaction that somebody wants left out whole.
struct SkipNote {
  Lsn commit_lsn;
  std::string state;     ///< "waiting", "used" (it was left out), "unused" (no such transaction came)
  std::string left_out;  ///< once used: how many changes of which tables
};

/// Throws Error when what commits there is in the target already. `applied`: the checkpoint.
inline void check_skip(Lsn commit_lsn, Lsn applied) {
  if (commit_lsn >= applied) return;
  throw Error(Retry::needs_operator,
              fmt::format("{} is behind the target's checkpoint {}: what commits there is applied, or was left "
                          "out, and cannot be skipped any more",
                          commit_lsn.str(), applied.str()),
              "Give the position that the error names: 'the source's transaction at ...'");
}

class SkipBook {
 public:
  virtual ~SkipBook() = default;
  /// The waiting ones, and the latest of the others.
  virtual std::vector<SkipNote> read() = 0;
  /// Durable. Error(needs_operator): the checkpoint is beyond it.
  virtual void note(Lsn commit_lsn) = 0;
  /// Durable. False: no note of it waits.
  virtual bool take_back(Lsn commit_lsn) = 0;
  /// In the open transaction: the note is used up.
  virtual void use(Lsn commit_lsn, const std::string& left_out) = 0;
  /// Durable: nothing committed there, and nothing will.
  virtual void give_up(Lsn commit_lsn) = 0;
};

/// What is in quarantine of one table.
struct KeptBack {
  std::int64_t changes = 0;
  bool held = false;  ///< all later changes of the table go there too
  std::string error;  ///< of the last change that was refused
};

class Quarantine {
 public:
  virtual ~Quarantine() = default;
  /// As of the last commit; tables without an entry flow.
  virtual const std::map<Oid, KeptBack>& kept_back() const = 0;
  /// Applies what is kept of the table in the source's order, in one transaction, or with `discard` drops it;
  /// then the table flows again. Outside of begin() and commit(). Returns how many changes there were. Throws
  /// Error, and has then changed nothing.
  virtual std::int64_t replay(Oid table, bool discard) = 0;
};

/// What to do about a source transaction that the target does not take.
inline std::string bad_change_remedy(Lsn commit_lsn) {
  return fmt::format(
      "Nothing of it was applied. Mend the target and start again; or leave the whole transaction out with "
      "'tailrace skip SOURCE TARGET --lsn {}'; or keep such changes aside with on_error: quarantine",
      commit_lsn.str());
}

}  // namespace tailrace::target
