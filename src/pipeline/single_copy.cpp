#include "pipeline/single_copy.h"

#include <chrono>
#include <utility>

#include "pg/wal_pages.h"
#include "pipeline/interrupter.h"
#include "pipeline/published_tables.h"
#include "pipeline/table_copier.h"
#include "schema/catalog.h"
#include "source/publication.h"

namespace tailrace::pipeline {

SingleCopy::SingleCopy(const config::Config& config, StatusBoard& board, const StopSignal& stop)
    : config_(config),
      board_(board),
      stop_(stop),
      exporter_(pg::Connection::open(config.source, {pg::Mode::sql, config.name + " snapshot"})) {
  exporter_.leave_on(stop);
  exporter_.query("begin isolation level repeatable read read only", "taking a snapshot");
  auto row = exporter_.query(
      "select pg_catalog.pg_export_snapshot(), case when pg_catalog.pg_is_in_recovery() then "
      "pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_insert_lsn() end, "
      // A standby's snapshot does not list what is in progress.
      "case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_current_snapshot()::pg_catalog.text end",
      "taking a snapshot");
  snapshot_ = row.str(0, 0);
  lsn_ = pg::WalPages::read(exporter_).end_of_record(row.lsn(0, 1));
  checkpoint_.lsn = lsn_;
  if (!row.is_null(0, 2)) checkpoint_.seen = fmt::format("{} {}", row.str(0, 2), lsn_.str());
  note_cluster();
  std::vector<schema::Catalog::Wanted> wanted;
  for (const auto& table :
       source::select_tables(source::read_catalog_tables(exporter_), publication_spec(config))) {
    wanted.push_back({table.table.oid, table.columns, table.where, {}});
  }
  tables_ = catalog(config, exporter_).tables(wanted);
  for (const auto& table : tables_) oids_.push_back(table.oid);
}

/// So that whoever follows from here later is told of another cluster. Not every user may ask for it.
void SingleCopy::note_cluster() {
  constexpr const char* purpose = "identifying the source's cluster";
  auto may = exporter_.query(
      "select pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute') "
      "and pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'execute')",
      purpose);
  if (!may.flag(0, 0)) return;
  auto row = exporter_.query(
      "select s.system_identifier::pg_catalog.text, c.timeline_id from pg_catalog.pg_control_system() s, "
      "pg_catalog.pg_control_checkpoint() c",
      purpose);
  checkpoint_.system_identifier = row.str(0, 0);
  checkpoint_.timeline = static_cast<std::uint32_t>(row.i64(0, 1));
}

/// A commit that its session did not wait for is copied before it is flushed, and a crash of the source would
/// take it back. PostgreSQL flushes within three times wal_writer_delay; what is no commit's, within 15 s.
void SingleCopy::wait_until_flushed() {
  while (!stop_.requested()) {
    auto row = exporter_.query(
        "select case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_current_wal_flush_lsn() end",
        "waiting until the source has flushed what was copied");
    if (row.is_null(0, 0) || row.lsn(0, 0) >= lsn_) return;
    stop_.sleep(std::chrono::milliseconds(20));
  }
}

void SingleCopy::read_structure(const schema::StructureOptions& how) {
  structure_for_ = how;
  structure_ = schema::read_structure(exporter_, oids_, structure_for_);
}

schema::Structure SingleCopy::structure(const std::vector<Oid>& tables, const schema::StructureOptions& how) {
  if (structure_ && tables == oids_ && how.same_for_empty_target(structure_for_))
    return *std::exchange(structure_, std::nullopt);
  return schema::read_structure(exporter_, tables, how);
}

void SingleCopy::into(target::Target& target) {
  Interrupter interrupter(target, stop_);
  target.forget_unfinished(tables_);
  target.prepare_structure(tables_,
                           [this](const auto& tables, const auto& how) { return structure(tables, how); });
  std::vector<target::Target::NamedTable> expected;
  for (const auto& table : tables_) expected.push_back({table.oid, table.schema, table.name});
  target.expect_copies(expected);
  board_.update([&](Status& status) {
    status.state = RunState::copying;
    status.server_version = exporter_.server_version();
    status.tables.clear();
    list_to_copy(tables_, status);
  });
  bool checks_text = exporter_.raw_text() && !target.takes_raw_text();
  CopyOptions options{config_.source,
                      snapshot_,
                      lsn_,
                      config_.snapshot.readers,
                      config_.binary != config::Binary::off && !checks_text,
                      config_.schema.trust_source,
                      {},
                      false,
                      checks_text};
  auto unfinished = copy_tables(options, tables_, exporter_, target, board_, stop_);
  if (stop_.requested()) return;
  if (!unfinished.empty()) {
    throw Error(Retry::needs_operator,
                fmt::format("{} tables were truncated, rewritten, renamed or dropped while they were copied",
                            unfinished.size()),
                "Take the snapshot again into a new file");
  }
  // Making indexes may take long, and a snapshot keeps the source from removing dead rows.
  exporter_.query("commit", "ending the snapshot");
  target.complete_structure(stop_);
  if (stop_.requested()) return;
  if (config::keeps_sequences(config_)) {
    target.keep_sequences(exporter_, oids_, 0);
  }
  wait_until_flushed();
  if (stop_.requested()) return;
  checkpoint_.commit_time = PgTimestamp::now();
  target.initialize(checkpoint_);
  board_.update([](Status& status) { status.state = RunState::stopped; });
}

}  // namespace tailrace::pipeline
