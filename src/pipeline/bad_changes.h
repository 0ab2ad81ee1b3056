#pragma once
// What a user does about changes that the target does not take: leave a source transaction out, replay what is
// in quarantine. Each for a target in hand, between transactions; and for one that nothing runs on.

#include <cstdint>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "config/config.h"

namespace tailrace::target {
class Target;
}

namespace tailrace::pipeline {

struct ReplayRequest {
  std::string table;     ///< as SCHEMA.TABLE; empty: every table that has something in quarantine
  bool discard = false;  ///< drop it instead
};

struct ReplayReport {
  struct Table {
    std::string table;
    std::int64_t changes = 0;
  };
  std::vector<Table> tables;  ///< in the order in which they were replayed, each in a transaction of its own
  std::string error;          ///< why the next one was not; empty: all were
};

/// Error(needs_operator): the target keeps no such notes, or is beyond that position.
void note_skip(target::Target& target, Lsn commit_lsn);
/// Error(needs_operator): no note of it waits.
void take_skip_back(target::Target& target, Lsn commit_lsn);
/// Error(needs_operator) where nothing can have committed there: the source has written up to `written` only.
void refuse_skip_ahead(Lsn commit_lsn, Lsn written);
ReplayReport replay(target::Target& target, const ReplayRequest& request);

/// Open the target themselves. Error: it runs.
void note_skip(const config::Config& config, Lsn commit_lsn);
void take_skip_back(const config::Config& config, Lsn commit_lsn);
ReplayReport replay(const config::Config& config, const ReplayRequest& request);

}  // namespace tailrace::pipeline
