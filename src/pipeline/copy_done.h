#pragma once
// CopyDone: what a copy brought, for the line that says so.

#include <chrono>
#include <vector>

#include "pipeline/status.h"
#include "schema/table.h"

namespace tailrace::pipeline {

/// Of those tables, the ones that are whole by now. Nothing is noted if none is.
void note_copied(const std::vector<schema::Table>& tables, Lsn snapshot,
                 std::chrono::steady_clock::time_point began, StatusBoard& board);

}  // namespace tailrace::pipeline
