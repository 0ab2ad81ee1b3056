#pragma once
// Preflight: everything that would stop or hurt a replication later, looked up beforehand. Reads only.

#include <string>
#include <vector>

#include "pg/connection.h"
#include "source/publication.h"

namespace tailrace::source {

enum class Verdict { pass, warn, fail };

struct CheckResult {
  Verdict verdict = Verdict::pass;
  std::string title;   ///< "wal_level"
  std::string detail;  ///< a sentence
  std::string remedy;  ///< SQL or a configuration line that mends it; empty if nothing needs mending
};

struct PreflightRequest {
  PublicationSpec publication;
  std::string slot;
  bool create_slot = true;
  bool failover_slot = false;
  bool snapshot = true;     ///< existing rows will be copied: SELECT is needed
  std::string application;  ///< what the mirror's own connections are called
};

/// Never throws for a finding; throws Error only when the server cannot be asked.
std::vector<CheckResult> preflight(pg::Connection& connection, const PreflightRequest& request);

std::string_view to_string(Verdict verdict);

}  // namespace tailrace::source
