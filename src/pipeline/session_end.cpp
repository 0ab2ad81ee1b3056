#include <algorithm>

#include "base/log.h"
#include "base/sql_text.h"
#include "pipeline/published_tables.h"
#include "pipeline/session.h"

// Where a run that has an end gets there.

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto look_every = 250ms;
constexpr int most_tellings = 5;

}  // namespace

/// What was copied is newer than where the stream begins. A run to the source's end goes on until all tables
/// are of one position.
void Session::prepare_end(Applier& applier) {
  auto followed = followed_tables();
  for (const auto& record : target_.tables()) {
    bool is_followed =
        std::ranges::any_of(followed, [&](const auto& table) { return table.oid == record.oid; });
    if (record.copied && is_followed) end_->include(record.copied_at);
  }
  applier.end_before(end_->position(), end_->until().time);
}

void Session::look_for_end(Applier& applier, bool idle) {
  if (applier.ended()) return;
  // While changes come, the stream shows where it is.
  if (end_->in_reach()) {
    if (idle) applier.feedback().want_position(Feedback::Waiter::end, true);
    return;
  }
  auto now = Clock::now();
  if (now - last_end_look_ < look_every) return;
  last_end_look_ = now;
  end_->look(*connection_);
  if (end_->in_reach()) applier.end_before(end_->position(), end_->until().time);
}

/// True once all of it is durable, and what goes with it is done.
bool Session::arrive(Applier& applier) {
  applier.settle();
  applier.refresh_durable();
  if (applier.awaits_durable()) return false;
  if (config::keeps_sequences(config_)) {
    auto kept = target_.keep_sequences(*connection_, oids_of(publication_), config_.sequences.margin);
    board_.update([&](Status& status) { status.sequences = kept; });
  }
  return true;
}

/// The stream told it as it ended, unless that ended otherwise, or was a backlog, which tells it seldom.
void Session::tell_slot(Lsn position, const std::function<std::unique_ptr<source::ChangeStream>()>& open) {
  for (int told = 0; !stop_.requested(); ++told) {
    auto rows =
        connection_->query(fmt::format("select confirmed_flush_lsn from pg_catalog.pg_replication_slots "
                                       "where slot_name operator(pg_catalog.=) {}",
                                       quote_literal(config_.slot.name)),
                           "asking what the slot was told");
    if (rows.rows() > 0 && rows.lsn(0, 0) >= position) return;
    if (rows.rows() == 0 || told == most_tellings) {
      throw Error(Retry::transient,
                  fmt::format("all up to {} is in the target, but slot \"{}\" could not be told",
                              position.str(), config_.slot.name));
    }
    log::debug("source", "telling the slot of {} once more", position.str());
    open()->finish();
  }
}

}  // namespace tailrace::pipeline
