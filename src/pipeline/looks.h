#pragma once
// Looks: how those who cannot wait for the next look at the source's catalogs ask for one now.

#include <atomic>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/lsn.h"

namespace tailrace::pipeline {

/// Thread-safe. Whoever asks counts `asked` up; `done` follows once a look that began later has ended, and all
/// that it found is copied.
struct Looks {
  std::atomic<std::uint64_t> asked{0};
  std::atomic<std::uint64_t> done{0};
  bool wanted() const { return done.load() < asked.load(); }
  /// Tables that are held because the catalogs did not show them yet: what those say of them is no reason to
  /// forget that. Of one thread, which looks.
  std::set<Oid> unseen;
};

/// What a look that was asked for brought; tables are qualified names.
struct RefreshReport {
  std::int64_t tables = 0;  ///< that are followed now
  std::vector<std::string> added;
  std::vector<std::string> removed;
};

}  // namespace tailrace::pipeline
