#pragma once
// A log that DuckDB cannot replay: tailrace up to format 1 widened a column by ALTER ... USING a function of
// its own, whose name the log keeps, and which does not exist yet while a file is opened. Replayed by a
// database that knows such functions, in a copy of the file, it comes out right.

#include <cstdint>
#include <string>
#include <string_view>

namespace tailrace::target::duckdb {

/// True if `message`, of a failed open, is about such a log of this file.
bool has_unreadable_log(const std::string& file, std::string_view message);

/// Puts in the file's place a copy in which the log is replayed. Throws Error and leaves the file as it is when
/// that cannot be done.
void replay_unreadable_log(const std::string& file, std::int64_t memory_bytes);

/// Ends what an earlier process began, between the two renames at the end of a replay.
void finish_replay(const std::string& file);

}  // namespace tailrace::target::duckdb
