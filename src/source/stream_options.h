#pragma once
// StreamOptions: what is asked of pgoutput (PostgreSQL documentation: "Logical Streaming Replication
// Parameters"), and the commands that ask for it.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/lsn.h"

namespace tailrace::source {

struct StreamOptions {
  std::string slot;
  std::vector<std::string> publications;
  Lsn start;                ///< end_lsn of the last committed transaction; older ones are not sent again
  Lsn durable;              ///< what may be acknowledged at once; not after `start`
  bool acknowledge = true;  ///< false: the slot is told nothing
  bool binary = false;
  bool streaming = false;  ///< large transactions come before they commit (servers from 14)
  /// Leave out what the source itself received by replication. Servers from 16 do it; of older ones the
  /// TransactionAssembler must.
  bool local_only = false;
  std::chrono::milliseconds status_interval{5'000};
  std::chrono::milliseconds silence_limit{60'000};  ///< a server silent for longer counts as lost
};

/// START_REPLICATION as such a server understands it.
std::string start_replication_command(const StreamOptions& options, int server_version);

/// Copies out, in binary, one column: the messages of what commits from where `slot` stands until `upto`, or
/// until they are more than `messages`. The slot then stands there. What is still in progress there may be
/// among them in part, if it is large, and comes again from its beginning with the next.
std::string read_backlog_command(const StreamOptions& options, const std::string& slot, Lsn upto,
                                 std::optional<std::uint64_t> messages, int server_version);

}  // namespace tailrace::source
