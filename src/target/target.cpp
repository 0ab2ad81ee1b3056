#include "target/target.h"

namespace tailrace::target {

// What a target of another system leaves out: it has no structure of the source's kind, and takes net effects
// only.

void Target::follows(const std::string& /*source*/) {}

void Target::check_tables(const std::vector<schema::Table>& /*tables*/) {}

void Target::prepare_structure(pg::Connection& /*source*/, const std::vector<schema::Table>& /*tables*/) {}

void Target::complete_structure(const StopSignal& /*stop*/) {}

bool Target::wants_single_transactions() const {
  return false;
}

std::map<Oid, ConflictCounts> Target::take_conflicts() {
  return {};
}

bool Target::needs_row_order(Oid /*table*/) const {
  return false;
}

void Target::apply_in_order(Oid /*table*/, const RowRun& /*run*/) {
  TAILRACE_CHECK(false);
}

bool Target::truncates_together() const {
  return false;
}

void Target::truncate(const std::vector<Oid>& /*tables*/, const Truncate& /*how*/) {
  TAILRACE_CHECK(false);
}

}  // namespace tailrace::target
