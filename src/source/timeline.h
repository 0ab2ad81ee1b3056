#pragma once
// Timelines of the source: which positions of an earlier one a promoted server still has (PostgreSQL
// documentation: "Streaming Replication Protocol", TIMELINE_HISTORY; "Continuous Archiving": "Timelines").

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/lsn.h"
#include "model/checkpoint.h"
#include "pg/connection.h"

namespace tailrace::source {

/// Where the server's past left a timeline: what was written to that one beyond `left_at` is not the server's.
struct TimelineEnd {
  std::uint32_t timeline = 0;
  Lsn left_at;

  bool operator==(const TimelineEnd&) const = default;
};

/// The past of a timeline, oldest first. Sends one command on a replication connection.
std::vector<TimelineEnd> read_timeline_history(pg::Connection& replication, std::uint32_t timeline);

/// Of a history file's text; lines that are none are passed over, as the server does with comments. Pure.
std::vector<TimelineEnd> parse_timeline_history(std::string_view text);

/// Throws when the target has what the server never had: a standby was promoted that was behind it. Pure.
///
/// Landings before this check kept the timeline of the first start for good, so a checkpoint beyond the end of
/// its timeline may have come from the next one. The slot tells: on a server that never streamed to us beyond
/// that end it was not acknowledged beyond it either (`confirmed_flush`).
void check_history(const std::vector<TimelineEnd>& history, const Checkpoint& checkpoint, Lsn confirmed_flush);

}  // namespace tailrace::source
