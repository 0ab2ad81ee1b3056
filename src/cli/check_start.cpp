#include "cli/check_start.h"

#include "base/log.h"
#include "cli/source_access.h"
#include "pipeline/open_options.h"
#include "pipeline/published_tables.h"
#include "pipeline/start_checks.h"
#include "source/publication.h"
#include "source/timeline.h"
#include "target/open_target.h"

namespace tailrace::cli {
namespace {

using source::CheckResult;
using source::Verdict;

CheckResult failed(const std::string& title, const Error& error) {
  return {Verdict::fail, title, error.message(), error.remedy()};
}

/// On a connection of its own, whose patience is short afterwards.
void refuse_lost_publication(const config::Config& config) {
  auto peek = open_source(config);
  if (peek.server_version() >= 180000) return;
  bool missing = !source::read_publications(peek, config.publication.names, source::Filters::as_stored);
  source::check_known_to_slot(peek, config.slot.name, config.publication.names, missing);
}

}  // namespace

std::vector<CheckResult> check_replication(const config::Config& config, pg::Connection& source,
                                           const std::optional<Checkpoint>& checkpoint) {
  constexpr const char* connecting = "replication connection";
  std::optional<pg::Connection> replication;
  std::optional<source::SystemIdentity> server;
  try {
    replication = open_source(config, pg::Mode::replication);
    server = source::identify_system(*replication);
  } catch (const Error& error) {
    return {failed(connecting, error)};
  }
  std::vector<CheckResult> out{{Verdict::pass, connecting, "the source takes one", ""}};
  if (!checkpoint) return out;
  try {
    pipeline::check_checkpoint(config, *server, *checkpoint, source);
    if (!checkpoint->lsn.valid() || checkpoint->slot.empty() || pipeline::is_standby(source)) return out;
    auto slot = source::read_slot(source, config.slot.name);
    if (!slot) throw pipeline::slot_is_gone(config, *checkpoint);
    // One that is read from is where its reader is, and that one is lost is said already.
    if (slot->active_pid != 0 || source::is_lost(*slot)) return out;
    source::check_usable(*slot, checkpoint);
    if (!checkpoint->system_identifier.empty() && server->timeline > checkpoint->timeline)
      source::check_history(source::read_timeline_history(*replication, server->timeline), *checkpoint,
                            slot->confirmed_flush);
    refuse_lost_publication(config);
  } catch (const Error& error) {
    out.push_back(failed("what the target has", error));
  }
  return out;
}

std::vector<CheckResult> check_rows_as_of(const config::Config& config, pg::Connection& source,
                                          const std::optional<Checkpoint>& checkpoint) {
  if (config.snapshot.enabled || (checkpoint && !checkpoint->slot.empty())) return {};
  try {
    pipeline::check_rows_as_of(config, source, source::read_slot(source, config.slot.name), checkpoint, 0);
  } catch (const Error& error) {
    if (error.retry() == Retry::transient) throw;
    return {failed("where the rows begin", error)};
  }
  return {};
}

std::vector<CheckResult> check_chosen_types(const config::Config& config, pg::Connection& source) {
  try {
    target::check_chosen_types(pipeline::open_options(config), [&] {
      return pipeline::catalog(config, source)
          .tables(pipeline::wanted_at_start(config, source), schema::Catalog::Detail::definition);
    });
  } catch (const Error& error) {
    if (error.retry() == Retry::transient) throw;
    return {failed("types", error)};
  }
  return {};
}

std::vector<CheckResult> check_first_start(const config::Config& config, pg::Connection& source,
                                           pg::Connection& target) {
  constexpr const char* title = "tables at the target";
  // What a start would tell in its log is no finding.
  log::configure(log::Level::error, config.log.format);
  source.query("begin isolation level repeatable read read only", "reading the source's tables");
  auto tables = schema::Catalog(source).tables(pipeline::wanted_at_start(config, source));
  std::set<Oid> coming;
  if (!config.snapshot.enabled) coming = pipeline::coming_whole(config, source, tables);
  auto refused = target::foresee_refusals(
      pipeline::open_options(config), target, tables, coming,
      [&](const auto& oids, const auto& how) { return schema::read_structure(source, oids, how); });
  source.query("rollback", "reading the source's tables");
  std::vector<CheckResult> out;
  for (const auto& error : refused) out.push_back(failed(title, error));
  if (out.empty()) out.push_back({Verdict::pass, title, "can take the source's, or be made", ""});
  return out;
}

}  // namespace tailrace::cli
