#include "target/target.h"

namespace tailrace::target {

// What a target of another system leaves out: it has no structure of the source's kind, takes net effects only,
// and one transaction at a time.

void Target::follows(const std::string& /*source*/) {}

std::vector<TableRefused> Target::check_tables(const std::vector<schema::Table>& /*tables*/) {
  return {};
}

bool Target::wants_structure() const {
  return false;
}

void Target::follow_structure(const schema::ReadStructure& /*read*/) {}

void Target::give_up_name(Oid table) {
  drop_table(table);
}

void Target::settle_moved(Oid /*table*/, const NameAtSource& /*now*/) {}

std::vector<TableRefused> Target::check_followed() {
  return {};
}

void Target::forget_unfinished(const std::vector<schema::Table>& /*tables*/) {}

void Target::prepare_structure(const std::vector<schema::Table>& /*tables*/,
                               const schema::ReadStructure& /*read*/) {}

CopyWriter::Rows CopyWriter::take(pg::CopyOut& /*stream*/) {
  return {};
}

void Target::complete_structure(const StopSignal& /*stop*/) {}

bool Target::structure_is_complete() {
  return true;
}

void Target::free_reader() {}

bool Target::takes_raw_text() const {
  return false;
}

void Target::interrupt() noexcept {}

const schema::Table* Target::first_not_binary(const std::vector<schema::Table>& tables) {
  for (const auto& table : tables) {
    if (!reads_binary(table)) return &table;
  }
  return nullptr;
}

Target::Worth Target::worth_a_commit() const {
  constexpr auto all = std::numeric_limits<std::size_t>::max();
  return {all, all};
}

// By value for who overrides it and keeps both.  NOLINTNEXTLINE(performance-unnecessary-value-param)
void Target::take(Oid table, TableBatch batch, std::shared_ptr<const void> /*borrowed*/) {
  apply(table, batch);
}

void Target::commit_soon(const Checkpoint& checkpoint) {
  commit(checkpoint);
}

void Target::hurry(bool /*hurried*/) {}

bool Target::chooses_otherwise() const {
  return false;
}

void Target::check_chosen_types(const std::vector<schema::Table>& /*followed*/) {}

std::vector<TargetView::Shown> TargetView::shown(Oid /*table*/) const {
  return {};
}

void Target::settle() {}

std::map<Oid, ConflictCounts> Target::take_conflicts() {
  return {};
}

bool Target::mend(Oid /*table*/, const RowRun& /*run*/) {
  return false;
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

std::int64_t Target::keep_sequences(pg::Connection& /*source*/, const std::vector<Oid>& /*tables*/,
                                    std::int64_t /*margin*/) {
  return -1;
}

void Target::truncate(const std::vector<Oid>& /*tables*/, const Truncate& /*how*/,
                      const ChangePlace& /*place*/) {
  TAILRACE_CHECK(false);
}

bool Target::applies_ahead() const {
  return false;
}

// By value for who overrides it and keeps both.  NOLINTNEXTLINE(performance-unnecessary-value-param)
void Target::apply_ahead(const std::shared_ptr<AheadTransaction>& transaction, Oid /*table*/,
                         // NOLINTNEXTLINE(performance-unnecessary-value-param)
                         TableBatch /*batch*/, std::shared_ptr<const void> /*borrowed*/) {
  transaction->give_up();
}

bool Target::commit_ahead(AheadTransaction& transaction, const Checkpoint& /*checkpoint*/) {
  transaction.give_up();
  return false;
}

void Target::give_up_ahead() noexcept {}

bool Target::is_much(const std::map<Oid, std::size_t>& /*columns_of_tables*/) const {
  return false;
}

bool Target::one_transaction_a_commit() const {
  return false;
}

SkipBook* Target::skips() {
  return nullptr;
}

Quarantine* Target::quarantine() {
  return nullptr;
}

std::optional<QueryableTable> TargetView::queryable(Oid /*table*/) {
  return std::nullopt;
}

}  // namespace tailrace::target
