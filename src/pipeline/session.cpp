#include "pipeline/session.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include "base/log.h"
#include "base/pulse.h"
#include "base/short_turns.h"
#include "base/sql_text.h"
#include "config/validation.h"
#include "pipeline/holding.h"
#include "pipeline/interrupter.h"
#include "pipeline/observer.h"
#include "pipeline/open_options.h"
#include "pipeline/published_tables.h"
#include "pipeline/start_checks.h"
#include "pipeline/table_copier.h"
#include "schema/catalog.h"
#include "source/backlog_stream.h"
#include "source/foreign_rows.h"
#include "source/replication_stream.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Where the observer cannot.
constexpr auto observe_every = 500ms;
constexpr auto look_every = 10s;
constexpr auto look_again_after = 1s;
constexpr auto tidy_after = 5s;

}  // namespace

Session::Session(const config::Config& config, target::Target& target, std::unique_ptr<pg::Connection> source,
                 StatusBoard& board, const StopSignal& stop, Looks& looks,
                 std::function<void(Applier*)> started)
    : config_(config),
      target_(target),
      board_(board),
      stop_(stop),
      looks_(looks),
      started_(std::move(started)),
      connection_(std::move(source)) {}

Session::Ended Session::run() {
  connect();
  auto checkpoint = target_.checkpoint();
  bool anew = wants_anew();
  if (end_ != nullptr) {
    end_->look(*connection_);
    if (anew) end_->refuse_copy(*connection_);
    if (checkpoint && !anew) end_->refuse_beyond(*checkpoint);
  }
  bool following = !anew && checkpoint && checkpoint->lsn.valid() && !checkpoint->slot.empty();
  std::optional<source::SlotInfo> replaced;
  if (anew) {
    replaced = look_before_beginning_anew();
    if (stop_.requested()) return Ended::stopped;
  } else if (!following && !config_.snapshot.enabled) {
    check_start(source::read_slot(*connection_, config_.slot.name));
  }
  if (following) {
    ensure_slot();
    refuse_lost_publication();
  }
  auto outcome = source::ensure_publication(*connection_, publication_spec(config_));
  for (const auto& warning : outcome.warnings) log::warn("source", "{}", warning);
  if (first_ != nullptr && outcome.change == source::PublicationChange::created) first_->made_publication();
  publication_ = std::move(outcome.info);
  if (leaves_new_tables()) end_->keep_to_first(publication_.tables);
  mark_named_now();
  if (anew) begin_anew(replaced);
  std::optional<CopySnapshot> snapshot;
  if (following) {
    check_chosen_types();
    forget_outdated_tables();
    note_timeline();
    find_waiting();
  } else if (checkpoint && !anew && !begins_anew()) {
    follow_a_snapshot();
  } else {
    if (config_.snapshot.enabled) forget_unfinished_snapshot();
    auto tables =
        catalog(config_, *connection_).tables(wanted_tables(publication_), schema::Catalog::Detail::definition);
    if (!was_copied()) check_before_writing(tables);
    if (!config_.snapshot.enabled) {
      if (auto made = source::read_slot(*connection_, config_.slot.name))
        refuse_altered(tables, stated_position(*made));
    }
    if (end_ != nullptr && config_.snapshot.enabled) end_->refuse_copy(*connection_);
    snapshot = create_main_slot();
  }
  if (stop_.requested()) return Ended::stopped;
  {
    Interrupter interrupter(target_, stop_);
    if (waiting_.empty()) copy_missing(std::move(snapshot));
    if (stop_.requested()) return Ended::stopped;
    target_.complete_structure(stop_);
  }
  if (stop_.requested()) return Ended::stopped;
  if (target_.wants_structure()) follow_structure();
  stream();
  if (stop_.requested() || (!due_ && !stands_still_)) return Ended::stopped;
  Interrupter interrupter(target_, stop_);
  copy_due();
  if (stop_.requested()) return Ended::stopped;
  // Now: a table that waits on must not keep it from being made.
  target_.complete_structure(stop_);
  return stop_.requested() ? Ended::stopped : Ended::copied;
}

/// A table that is held, or was renamed since the target heard of it, bears its former name there; that one may
/// be another table's former name too, which was marked. One without a record is copied anyway.
void Session::mark_named_now() {
  if (named_now_ == nullptr) return;
  std::set<Oid> wanted;
  std::set<Oid> wanted_if_held;
  for (const auto& [name, known] : *named_now_) {
    auto table = std::ranges::find(publication_.tables, name, [](const auto& published) {
      return published.schema + "." + published.name;
    });
    if (table != publication_.tables.end()) {
      (known ? wanted_if_held : wanted).insert(table->oid);
    } else if (!known) {
      throw Error(Retry::needs_operator, fmt::format("there is no table {} to copy anew", name),
                  "Write it as SCHEMA.TABLE, as 'tailrace status' lists it");
    }
  }
  named_now_->clear();
  for (const auto& record : target_.tables()) {
    if (wanted.contains(record.oid) || (record.is_held() && wanted_if_held.contains(record.oid)))
      target_.mark_for_copy(record.oid, "asked for");
  }
}

/// Where somebody has locked a table, he may wait for the stream: it comes later.
void Session::follow_structure() {
  try {
    connection_->query(
        fmt::format("begin isolation level repeatable read read only; set local {}", lock_patience),
        "reading the source's structure");
    target_.follow_structure(
        [&](const auto& tables, const auto& how) { return schema::read_structure(*connection_, tables, how); });
    connection_->query("commit", "reading the source's structure");
  } catch (const Error& error) {
    if (error.sqlstate() != lock_not_available) throw;
    log::info("source", "what the source's structure got is made later: {}", error.what());
    connection_->query("rollback", "reading the source's structure");
    structure_waits_ = true;
  }
}

void Session::connect() {
  if (!connection_) connection_ = open_source(config_, pg::Mode::sql);
  connection_->leave_on(stop_);
  replication_ = open_source(config_, pg::Mode::replication);
  replication_->leave_on(stop_);
  identity_ = source::identify_system(*replication_);
  board_.update([&](Status& status) {
    status.server_version = connection_->server_version();
    status.source_lsn = identity_.wal_position;
  });
  target_.follows(identity_.system_identifier + "/" + identity_.database);
  if (auto checkpoint = target_.checkpoint()) {
    if (wants_anew()) {
      check_anew(*checkpoint);
    } else {
      check_checkpoint(config_, identity_, *checkpoint, *connection_);
    }
  }
}

/// One for a slot or a stream: each is a process at the server.
std::unique_ptr<pg::Connection> Session::replication() {
  auto out = replication_ ? std::move(replication_) : open_source(config_, pg::Mode::replication);
  out->leave_on(stop_);
  out->set_patience({});
  return out;
}

/// Binary only if every published column has a binary form that the target reads; pgoutput knows no choice per
/// column.
bool Session::stream_in_binary() {
  if (config_.binary == config::Binary::off || connection_->server_version() < 140000 || checks_text())
    return false;
  auto tables = catalog(config_, *connection_).tables(followed_tables(), schema::Catalog::Detail::definition);
  const auto* odd = target_.first_not_binary(tables);
  if (odd == nullptr) return true;
  if (config_.binary != config::Binary::on) return false;
  throw Error(Retry::needs_operator,
              fmt::format("binary: on is configured, but {} has a column whose type has no binary form here",
                          odd->qualified()),
              "Use binary: auto, or leave that column out");
}

/// What is not UTF-8 must be seen before it is in the target; in binary rows nobody could.
bool Session::checks_text() const {
  return connection_->raw_text() && !target_.takes_raw_text();
}

/// Null where the replication stream is the way from the start.
std::unique_ptr<source::ChangeStream> Session::open_backlog(const source::StreamOptions& options,
                                                            const StopSignal& over) {
  // A copy of a slot has neither of these marks: prepared transactions would come otherwise than before, and
  // what the standbys do not have yet would not be waited for.
  if (config_.limits.backlog == 0 || two_phase_ || failover_) return nullptr;
  auto row = connection_->query(
      "select case when pg_catalog.pg_is_in_recovery() then null else pg_catalog.pg_current_wal_flush_lsn() "
      "end",
      "reading the source's position");
  if (row.is_null(0, 0) || row.lsn(0, 0).value < options.start.value + config_.limits.backlog) return nullptr;
  try {
    auto connection = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name});
    connection.leave_on(over);
    return std::make_unique<source::BacklogStream>(std::move(connection), options);
  } catch (const Error& error) {
    log::info("source", "the backlog comes by the replication stream: {}", error.what());
    return nullptr;
  }
}

/// A run to the source's end, where the next one can copy them.
bool Session::leaves_new_tables() const {
  return end_ != nullptr && end_->until().once && config_.snapshot.enabled;
}

void Session::stream() {
  note_timeline();
  list_tables(waiting_);
  auto checkpoint = target_.checkpoint();
  TAILRACE_CHECK(checkpoint.has_value());
  Applier applier(target_, config_.source, config_.publication.names, board_);
  if (checks_text()) applier.check_text();
  if (wants_labels(config_.types)) applier.read_labels();
  if (!config_.snapshot.enabled) {
    applier.hold_unseen([this](const Relation& relation, const std::string& reason) {
      schema::Table table;
      table.oid = relation.oid;
      table.schema = relation.schema;
      table.name = relation.name;
      hold_table(config_, target_, table, {table.oid, reason, copy_once});
      looks_.unseen.insert(table.oid);
    });
  }
  watch_ = std::make_unique<DefinitionWatch>(publication_spec(config_), target_, copies_unasked(),
                                             [this] { mark_tables_that_left(); });
  watch_->expect(waiting_);
  watch_->expect_unseen(looks_.unseen);
  if (leaves_new_tables()) {
    watch_->leave_new_tables();
    applier.leave_new_tables();
  }
  look_before_streaming(applier);
  source::StreamOptions options;
  options.slot = config_.slot.name;
  options.publications = config_.publication.names;
  // With prepared transactions the server must begin before them; what is in the target already is left out
  // here.
  options.start = two_phase_ ? slot_position_ : checkpoint->lsn;
  // Not all that was committed needs to be flushed yet.
  options.durable = std::min(options.start, target_.durable());
  options.acknowledge = config_.slot.acknowledge;
  options.binary = stream_in_binary();
  options.streaming = config_.streaming;
  options.local_only = config_.origin == config::Origin::none;
  options.status_interval = config_.intervals.status;
  // The reader may wait long for a server that decodes; where this session fails, it must not.
  StopSignal over(&stop_);
  auto follow = [this, options, &over](Lsn start, Lsn acknowledged,
                                       pg::Connection& beside) -> std::unique_ptr<source::ChangeStream> {
    auto from = options;
    from.start = start;
    from.durable = acknowledged;
    auto connection = replication();
    connection->leave_on(over);
    auto stream = std::make_unique<source::ReplicationStream>(std::move(*connection), from);
    // Until now nobody kept others from it: copies take long, and so does a backlog.
    source::check_not_passed(beside, from.slot, start);
    log::info("source", "streaming from {} in {} format", start.str(), options.binary ? "binary" : "text");
    return stream;
  };
  // The reader's thread has no connection besides the stream's.
  auto go_on = [&](Lsn start, Lsn acknowledged) {
    auto beside = open_source(config_, pg::Mode::sql);
    beside->leave_on(over);
    return follow(start, acknowledged, *beside);
  };
  if (end_ != nullptr) prepare_end(applier);
  auto stream = open_backlog(options, over);
  // The server has places for few of them.
  if (stream) replication_.reset();
  if (!stream) stream = follow(options.start, options.durable, *connection_);
  board_.judge_by([&](Step& step) {
    step.applied(checkpoint->commit_time);
    step.reached(target_.durable());
  });
  board_.update([&](Status& status) {
    status.state = RunState::streaming;
    status.message.clear();
    status.binary = options.binary;
    status.catalogs_lag = false;
    status.received = status.applied = checkpoint->lsn;
    status.acknowledged = config_.slot.acknowledge ? checkpoint->lsn : Lsn{};
    for (auto& table : status.tables) {
      if (table.state == TableState::copied) table.state = TableState::streaming;
    }
  });
  applier.show_bad_changes();
  BatchQueue queue(config_.limits.queue);
  Reader reader(std::move(stream), go_on,
                source::TransactionAssembler({.spool_directory = config::spool_directory(config_),
                                              .applied = checkpoint->lsn,
                                              .seen = SeenTransactions::parse(checkpoint->seen),
                                              .local_only = options.local_only,
                                              .ahead = target_.applies_ahead(),
                                              .relation_bytes = config_.limits.memory / 4}),
                queue, applier.feedback(), board_, over);
  Interrupter interrupter(target_, stop_);
  WatchThread watch_thread(config_, *watch_, *connection_, over);
  watch_thread_ = &watch_thread;
  std::jthread reading([&] { reader.run(); });
  struct Leave {
    Session& session;
    BatchQueue& queue;
    StopSignal& over;
    ~Leave() {
      session.started_(nullptr);
      over.request();
      queue.close();
    }
  } leave{*this, queue, over};
  // While tables wait, whoever would compare the two sides waits too.
  if (waiting_.empty()) started_(&applier);
  Observer observer(config_, target_.probe(), board_, applier.feedback(), over);
  bool whole = true;
  try {
    if (!waiting_.empty()) prepare_copy(applier);
    whole = apply_from(queue, applier, observer);
  } catch (const Error& error) {
    target_.rollback();
    explain(error);
    throw;
  } catch (...) {
    target_.rollback();
    throw;
  }
  if (!whole || applier.in_transaction()) {
    target_.rollback();
  } else {
    applier.settle();
    target_.give_up_ahead();
  }
  // What is copied next is of a later position, and so is the end then.
  if (!applier.ended() || due_ || stands_still_ || stop_.requested()) return;
  queue.close();
  reading.join();
  Lsn told = reader.left_at();
  if (config_.slot.acknowledge && !told.valid() && !stop_.requested())
    throw Error(Retry::transient, "the replication stream ended before the slot was told what is applied");
  if (config_.slot.acknowledge) tell_slot(told, [&] { return follow(told, told, *connection_); });
  if (!stop_.requested()) end_->reach();
}

/// Throws a better Error, where there is one.
void Session::explain(const Error& error) {
  // The decoding server's "publication ... does not exist", which says nothing of when.
  if (error.sqlstate() != "42704" || error.message().find("publication") == std::string::npos) return;
  bool missing =
      !source::read_publications(*connection_, config_.publication.names, source::Filters::as_stored);
  throw source::explain_missing(error, config_.publication.names, missing);
}

void Session::prepare_copy(Applier& applier) {
  std::set<Oid> tables;
  for (const auto& table : waiting_) tables.insert(table.oid);
  preparation_.emplace(config_, std::move(tables), board_, stop_);
  applier.await_copy(*preparation_, waiting_);
}

/// Between transactions, or where the one in hand is to be rolled back.
void Session::settle_preparation(Applier& applier) {
  if (!preparation_) return;
  auto state = preparation_->state();
  if (state == CopyPreparation::State::ready) {
    if (!applier.may_copy()) return preparation_->again();
    only_ = preparation_->tables();
    due_ = preparation_->take();
    due_->exporter->leave_on(stop_);
  } else if (state == CopyPreparation::State::failed) {
    try {
      preparation_->take();
    } catch (const std::exception& error) {
      // Above all where the source has no place for one connection or slot more.
      log::info("copy", "following stands still while tables are copied: {}", error.what());
    }
    stands_still_ = true;
  }
}

/// False: what is in hand is to be rolled back.
bool Session::apply_from(BatchQueue& queue, Applier& applier, Observer& observer) {
  ShortTurns turns;
  WorkingThread working("applier");
  last_look_ = last_applied_ = Clock::now();
  std::vector<std::shared_ptr<const ChangeBatch>> batches;
  while (!stop_.requested() && !due_ && !stands_still_) {
    beat();
    batches.clear();
    // What is not durable yet is asked for soon.
    gather(queue, applier.awaits_durable() ? 20ms : 100ms, batches);
    if (!batches.empty()) {
      std::int64_t commits = board_.read_commits();
      auto began = Clock::now();
      try {
        applier.apply(batches);
      } catch (const CopyIsDue&) {
        settle_preparation(applier);
        TAILRACE_CHECK(due_.has_value());
        return false;
      }
      if (board_.read_commits() != commits) {
        last_applied_ = Clock::now();
        last_commit_took_ = last_applied_ - began;
        tidy_ = false;
      }
    }
    periodic(applier, observer, batches.empty());
    // Of a table that waits for its copy, all is missing yet.
    if (end_ == nullptr || applier.in_transaction() || !waiting_.empty()) continue;
    look_for_end(applier, batches.empty());
    if (applier.ended() && arrive(applier)) return true;
  }
  return true;
}

/// One transaction when the stream is quiet; while it flows, as much as comes in several times of what a commit
/// takes, so that commits cost a small part of the time, and never more than the limit.
void Session::gather(BatchQueue& queue, std::chrono::milliseconds wait,
                     std::vector<std::shared_ptr<const ChangeBatch>>& batches) {
  auto next = queue.pop_for(wait);
  // What came before the reader failed is applied; the next call tells of the failure. Not to wait at all is
  // another call: a wait of no time still ends by a timer of the kernel's.
  auto take = [&](std::chrono::milliseconds time) -> decltype(next) {
    try {
      return time > 0ms ? queue.pop_for(time) : queue.try_pop();
    } catch (const std::exception&) {
      return std::nullopt;
    }
  };
  auto patience = std::clamp<Clock::duration>(last_commit_took_ * 8, 20ms, 1s);
  auto until = Clock::now() + patience;
  auto [most, most_changes] = target_.worth_a_commit();
  most = std::min(config_.limits.batch, most);
  std::size_t bytes = 0;
  std::size_t changes = 0;
  while (next) {
    bool caught_up = (*next)->caught_up;
    bytes += (*next)->bytes();
    changes += (*next)->changes.size();
    batches.push_back(std::move(*next));
    if (bytes >= most || changes >= most_changes || stop_.requested()) return;
    next = take(0ms);
    if (next || caught_up) continue;
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left > 0ms) next = take(left);
  }
}

/// Who waits for what is never said waits for ever.
void Session::refuse_waiters(const Applier& applier) const {
  if (config_.slot.acknowledge || !applier.feedback().commits_wait()) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("commits at the source wait for {0} (synchronous_standby_names), and with "
                  "slot.acknowledge: off it never tells them that they are durable",
                  config_.name),
      fmt::format("Take {} out of synchronous_standby_names, or set slot: {{acknowledge: on}}", config_.name));
}

void Session::periodic(Applier& applier, Observer& observer, bool idle) {
  auto now = Clock::now();
  refuse_waiters(applier);
  if (!observer.sees_source() && now - last_observed_ >= observe_every) {
    last_observed_ = now;
    observer.look(*connection_);
  }
  if (applier.in_transaction()) return;
  if (idle) applier.settle();
  applier.work_off();
  applier.refresh_durable();
  applier.measure();
  settle_preparation(applier);
  keep_looking(applier, now);
  if (config::keeps_sequences(config_) && now - last_sequences_ >= config_.sequences.interval) {
    last_sequences_ = now;
    auto kept = target_.keep_sequences(*connection_, oids_of(publication_), config_.sequences.margin);
    board_.update([&](Status& status) { status.sequences = kept; });
  }
  if (idle && !tidy_ && now - last_applied_ >= tidy_after) {
    target_.tidy();
    tidy_ = true;
  }
}

/// Nothing is applied yet, so that nobody waits for it.
void Session::look_before_streaming(Applier& applier) {
  auto asked = looks_.asked.load();
  check_target();
  CatalogReader reader(*connection_, catalog(config_, *connection_));
  bool judged = watch_->look(reader, {{}, applier.lags()}, [&](const auto& what) { what(applier); });
  end_look({asked, true, !judged, watch_->undecided()});
}

void Session::keep_looking(Applier& applier, Clock::time_point now) {
  bool lag = applier.catalogs_lag();
  lagged_ |= lag;
  if (auto ended = watch_thread_->serve(applier)) end_look(*ended);
  if (lag || watch_thread_->looks()) return;
  bool due = look_again_ ? now - last_look_ >= look_again_after
                         : (looks_.wanted() && waiting_.empty()) || now - last_look_ >= look_every;
  // What was applied meanwhile is judged as soon as can be.
  if (!due && !lagged_) return;
  lagged_ = false;
  last_look_ = now;
  auto asked = looks_.asked.load();
  check_target();
  watch_thread_->begin({applier.take_reshaped(), applier.lags()}, asked);
}

void Session::end_look(const WatchThread::Ended& ended) {
  lagged_ |= ended.postponed;
  look_again_ = ended.undecided || ended.postponed || !ended.whole;
  if (!look_again_ && waiting_.empty()) looks_.done = ended.ticket;
}

/// What becomes of tables by what is at the target.
void Session::check_target() {
  if (!std::exchange(structure_waits_, false) && target_.wants_structure())
    throw target::RestartFromCheckpoint("the target's structure is to follow");
  auto refused = target_.check_followed();
  if (refused.empty()) return;
  for (const auto& table : refused) hold_table(config_, target_, table);
  throw target::RestartFromCheckpoint("tables of the target are held");
}

void Session::mark_tables_that_left() {
  auto records = target_.tables();
  board_.update([&](Status& status) {
    for (const auto& record : records) {
      bool awaited = std::ranges::any_of(waiting_, [&](const auto& table) { return table.oid == record.oid; });
      if (awaited || !has_left(record)) continue;
      for (auto& table : status.tables) {
        if (table.schema == record.schema && table.name == record.name &&
            table.target_name == record.target_name)
          mark_left(table);
      }
    }
  });
}

}  // namespace tailrace::pipeline
