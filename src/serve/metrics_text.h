#pragma once
// MetricsText: a status as Prometheus reads it (text format 0.0.4). Pure. The names are in docs/monitoring.md.
// What is not known now has no line: a zero would be believed.

#include <optional>
#include <string>
#include <vector>

#include "pipeline/measures.h"
#include "pipeline/status.h"

namespace tailrace::serve {

/// A file system that the mirror fills.
struct Disk {
  std::string holds;  ///< "target", "spool"
  std::uint64_t bytes = 0;
  std::uint64_t free_bytes = 0;
};

/// What neither the status nor the measures know.
struct Surroundings {
  std::string version;
  std::string target_kind;
  PgTimestamp last_beat;
  std::vector<Disk> disks;
};

std::string metrics_text(const pipeline::Status& status, const pipeline::Measures& measures,
                         const Surroundings& around);

/// Space of what a folder is on; nothing if that cannot be told.
std::optional<Disk> disk_of(const std::string& folder, std::string holds);

}  // namespace tailrace::serve
