#include "pipeline/engine.h"

#include <algorithm>
#include <future>
#include <iterator>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/sql_text.h"
#include "base/system_failure.h"
#include "pg/one_database.h"
#include "pipeline/followed.h"
#include "pipeline/holding.h"
#include "pipeline/open_options.h"
#include "pipeline/session.h"
#include "pipeline/single_copy.h"
#include "pipeline/slot_watch.h"
#include "target/open_target.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int most_restarts_a_minute = 20;
constexpr auto patience_with_the_stream = 10s;

bool may_retry(const Error& error) {
  return error.retry() == Retry::transient || error.retry() == Retry::in_doubt;
}

/// What the target says that it does.
std::function<void(const std::string& what)> telling(StatusBoard& board) {
  return [&board](const std::string& what) { board.update([&](Status& status) { status.message = what; }); };
}

/// Nothing if the promise was broken.
std::optional<schema::StructureOptions> value_of(std::future<schema::StructureOptions>& future) {
  try {
    return future.get();
  } catch (const std::future_error&) {
    return std::nullopt;
  }
}

/// Gives the source. A target that is set up was told apart from it before, and need not wait for one that is
/// away: null then.
std::unique_ptr<pg::Connection> tell_apart(const config::Config& config, pg::Connection& target, bool set_up) {
  std::unique_ptr<pg::Connection> source;
  try {
    source = open_source(config, pg::Mode::sql);
  } catch (const Error& error) {
    if (!set_up || !may_retry(error)) throw;
    return nullptr;
  }
  pg::refuse_one_database(*source, target);
  return source;
}

}  // namespace

std::unique_ptr<pg::Connection> open_source(const config::Config& config, pg::Mode mode) {
  pg::ConnectOptions options;
  options.mode = mode;
  options.application_name = config.name;
  options.connect_timeout_seconds =
      static_cast<int>(std::max<std::int64_t>(config.connect.timeout.count() / 1000, 2));
  auto out = std::make_unique<pg::Connection>(pg::Connection::open(config.source, options));
  out->set_patience(catalog_patience);
  return out;
}

target::OpenOptions open_options(const config::Config& config) {
  target::OpenOptions out;
  out.kind = config.target.kind;
  out.path = config.target.path;
  out.name = config.name;
  out.memory_bytes = static_cast<std::int64_t>(config.limits.duckdb_memory);
  out.file_mode = config.file_mode.value_or(out.file_mode);
  out.types = config.types;
  out.connections = config.apply.connections;
  out.lz4 = config.apply.toast_compression == config::ToastCompression::lz4;
  out.conflicts = config.conflicts;
  out.make_structure = config.schema.mode == config::SchemaMode::copy;
  out.owners = config.schema.owners;
  out.privileges = config.schema.privileges;
  out.trust_source = config.schema.trust_source;
  out.keep_rows = !config.snapshot.enabled;
  out.in_loop = config.origin == config::Origin::none;
  out.quarantine = config.on_error == config::OnError::quarantine;
  out.hold = config.quarantine.then == config::ThenBad::hold;
  if (config.target.kind == "postgres" && !config.source.empty()) {
    out.before_writing = [&config](pg::Connection& target, bool set_up) { tell_apart(config, target, set_up); };
  }
  return out;
}

void Engine::mark_for_copy(target::Target& target, const std::vector<std::string>& tables) {
  asked_.clear();
  if (!tables.empty() && !config_.snapshot.enabled) {
    throw Error(Retry::needs_operator, "a table cannot be copied anew with snapshot.enabled: off",
                "Run once with snapshot: {enabled: on} and --recopy, until it follows");
  }
  std::vector<Oid> marked;
  for (const auto& name : tables) {
    auto before = marked.size();
    for (const auto& record : target.tables()) {
      if (record.schema + "." + record.name == name) marked.push_back(record.oid);
    }
    // One whose copy was interrupted before it had a record begins anew anyway, if the source has it.
    asked_.push_back({name, marked.size() > before});
  }
  for (Oid table : marked) target.mark_for_copy(table, "asked for");
}

CopyOutcome Engine::run(const Recopy& recopy, const Until& until) {
  recopy_ = recopy;
  anew_ = recopy.all;
  end_ = RunEnd(until);
  FirstStart first(config_);
  try {
    return run_supervised(first);
  } catch (...) {
    if (first.undo()) established_ = false;
    throw;
  }
}

CopyOutcome Engine::run_supervised(FirstStart& first) {
  SlotWatch slot_watch(config_, board_, stop_);
  if (!config_.slot.acknowledge) {
    log::warn("slot",
              "slot.acknowledge is off: slot \"{}\" holds back all WAL of the source from where it stands",
              config_.slot.name);
  }
  bool marked = false;
  while (!stop_.requested() && !end_.reached()) {
    try {
      auto options = open_options(config_);
      options.doing = telling(board_);
      first.watch(options);
      std::unique_ptr<pg::Connection> source;
      if (options.before_writing) {
        options.before_writing = [&](pg::Connection& there, bool set_up) {
          if (!set_up) first.look_at(there);
          source = tell_apart(config_, there, set_up);
        };
      }
      auto target = target::open(options);
      first.look_at(*target);
      established_ = established_ || target->checkpoint().has_value();
      if (!std::exchange(marked, true)) {
        mark_for_copy(*target, recopy_.tables);
        if (!anew_) tell_and_try_held(*target, config_.snapshot.enabled);
      }
      try {
        attempt(*target, std::move(source), first);
      } catch (...) {
        first.look_at(*target);
        established_ = established_ || target->checkpoint().has_value();
        note_outcome(*target);
        throw;
      }
      established_ = established_ || target->checkpoint().has_value();
      if (stop_.requested() || end_.reached()) {
        note_outcome(*target);
        board_.update([](Status& status) {
          status.state = RunState::stopping;
          status.message = "finishing the target";
        });
        target->tidy();
      }
    } catch (const Error& error) {
      if (stop_.requested() && may_retry(error)) {
        log::debug("run", "left without waiting for it: {}", error.what());
        break;
      }
      board_.measures().failed(error.retry());
      if (!wait_before_retry(error, established_ || source_has_slot(error))) {
        board_.update([&](Status& status) {
          status.state = RunState::failed;
          status.message = error.what();
        });
        throw;
      }
    }
  }
  board_.update([](Status& status) {
    status.state = RunState::stopped;
    status.message.clear();
  });
  return outcome_;
}

/// After each session: where the next one does not come about, this is what is left.
void Engine::note_outcome(target::Target& target) {
  // Nothing is made any more once it streams.
  std::optional<bool> structure;
  if (streamed_) structure = true;
  try {
    structure = target.structure_is_complete();
  } catch (const std::exception& error) {
    // What ended the session may be the connection to the target.
    log::debug("run", "{}", error.what());
  }
  outcome_ = copy_outcome(target, board_.read(), recopy_, structure);
}

/// A target that is away cannot say whether it was set up; the source's slot can.
bool Engine::source_has_slot(const Error& error) const {
  if (error.retry() != Retry::transient || config_.target.kind != "postgres") return false;
  try {
    auto source = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name});
    source.set_patience(catalog_patience);
    auto rows = source.query(fmt::format("select from pg_catalog.pg_replication_slots where slot_name = {}",
                                         quote_literal(config_.slot.name)),
                             "looking for the slot");
    return rows.rows() > 0;
  } catch (const Error&) {
    // The source is away too: nothing is known.
    return false;
  }
}

/// Sessions follow one another at once while each ends only because the target was prepared for the next.
/// `source`: for the first of them; or null.
void Engine::attempt(target::Target& target, std::unique_ptr<pg::Connection> source, FirstStart& first) {
  auto since = Clock::now();
  int restarts = 0;
  for (;;) {
    streamed_ = false;
    try {
      Session session(config_, target, std::move(source), board_, stop_, looks_, [&](Applier* applier) {
        // All is copied, even where that is nothing.
        first.keep();
        if (applier != nullptr) streaming_since_ = Clock::now();
        streamed_ = true;
        applier_.set(applier);
      });
      session.note_made(first);
      session.copy_all_anew(anew_);
      session.copy_as_named_now(asked_);
      if (end_.wanted()) session.end_at(end_);
      if (session.run() == Session::Ended::stopped) return;
    } catch (const StopRequested&) {
      return;
    } catch (const target::TableRefused& refused) {
      target.rollback();
      hold_table(config_, target, refused);
    } catch (const std::system_error& error) {
      throw tailrace::as_error(error);
    } catch (const target::RestartFromCheckpoint& restart) {
      log::info("run", "going back to the checkpoint: {}", restart.what());
      if (Clock::now() - since > 1min) {
        since = Clock::now();
        restarts = 0;
      }
      if (++restarts > most_restarts_a_minute) {
        throw Error(Retry::transient, fmt::format("the target was prepared anew {} times in a minute; last: {}",
                                                  restarts, restart.what()));
      }
    }
  }
}

/// The one place where retry or stop is decided.
bool Engine::wait_before_retry(const Error& error, bool established) {
  // Before anything is set up, somebody is watching: a wrong address is better said than waited for.
  // What met somebody's DDL at the source in the middle is another matter.
  bool raced = error.retry() == Retry::transient && error.sqlstate() == "XX000";
  if (!may_retry(error) || !(established || raced)) return false;
  // A run that got somewhere, or held for a while, starts afresh; one that fails again and again at the same
  // place (a full disk) does not, though it connects each time.
  auto since = std::exchange(streaming_since_, std::nullopt);
  bool held = since && Clock::now() - *since > config_.connect.backoff_max;
  Lsn applied = board_.read().applied;
  bool moved = since && std::exchange(failed_at_, applied) != applied;
  if (held || moved) backoff_ = 0ms;
  // Whoever runs it again and again waits for it to end.
  if (end_.until().once && backoff_ >= config_.connect.backoff_max) return false;
  backoff_ = std::clamp(backoff_ * 2, config_.connect.backoff_min, config_.connect.backoff_max);
  log::write(
      log::Level::warn, "run",
      fmt::format("{}; trying again in {:.1f} s", error.what(), static_cast<double>(backoff_.count()) / 1000),
      error);
  board_.update([&](Status& status) {
    status.state = RunState::reconnecting;
    status.message = error.what();
    ++status.reconnects;
  });
  stop_.sleep(backoff_);
  return true;
}

void Engine::between_transactions(std::function<void(target::Target&)> work, const StopSignal& stop) {
  auto give_up = [&] { return stop.requested() || stop_.requested(); };
  auto since = Clock::now();
  std::future<void> done;
  try {
    applier_.with([&](Applier& applier) { done = applier.ask(std::move(work)); },
                  [&] { return give_up() || Clock::now() - since > patience_with_the_stream; });
  } catch (const StopRequested&) {
    if (give_up()) throw Error(Retry::needs_operator, "it was stopped");
    throw Error(Retry::transient, "it does not follow its source right now", "Look at 'tailrace status'");
  }
  while (done.wait_for(100ms) != std::future_status::ready) {
    if (give_up()) throw Error(Retry::needs_operator, "it was stopped");
  }
  try {
    done.get();
  } catch (const std::future_error&) {
    throw Error(Retry::transient, "the stream was interrupted before this was done; try again");
  }
}

VerifyReport Engine::compare(const VerifyRequest& request, const StopSignal& stop) {
  VerifyReport report;
  try {
    Verification(config_, applier_, board_, stop_, stop).run(request, report);
  } catch (const StopRequested&) {
    report.error = "the comparison was stopped";
  } catch (const std::exception& error) {
    report.error = error.what();
  }
  if (!report.error.empty()) report.equal = false;
  for (const auto& table : report.tables) {
    // One that is held was not compared; that it is held is told elsewhere.
    if (!table.held.empty()) continue;
    auto listed = static_cast<std::int64_t>(table.differences.size());
    board_.measures().compared(table.table, table.equal ? 0 : std::max<std::int64_t>(listed, 1));
  }
  board_.measures().compared_whole(report.equal);
  return report;
}

RefreshReport Engine::refresh(const StopSignal& stop) {
  auto followed = [this] {
    std::set<std::string> out;
    for (const auto& table : board_.read().tables) {
      if (table.state != TableState::stopped) out.insert(table.schema + "." + table.name);
    }
    return out;
  };
  auto before = followed();
  auto ticket = ++looks_.asked;
  auto done = [&] { return looks_.done.load() >= ticket && board_.read().state == RunState::streaming; };
  while (!done()) {
    if (stop.requested() || !stop_.sleep(50ms))
      throw Error(Retry::needs_operator, "the refresh was stopped before it was done");
  }
  auto after = followed();
  RefreshReport report;
  report.tables = static_cast<std::int64_t>(after.size());
  std::ranges::set_difference(after, before, std::back_inserter(report.added));
  std::ranges::set_difference(before, after, std::back_inserter(report.removed));
  return report;
}

void follow_meanwhile(const config::Config& config, StatusBoard& board, const StopSignal& stop,
                      const std::function<void(const Compare&)>& work) {
  refuse_unfollowed(config);
  StopSignal leave;
  Engine engine(config, board, leave);
  std::exception_ptr failed;
  std::exception_ptr unfinished;
  {
    std::jthread following([&] {
      try {
        engine.run();
      } catch (...) {
        failed = std::current_exception();
        leave.request();
      }
    });
    try {
      work([&](const VerifyRequest& request) { return engine.compare(request, stop); });
    } catch (...) {
      unfinished = std::current_exception();
    }
    leave.request();
  }
  // Where following failed, that is why the work did.
  if (failed) std::rethrow_exception(failed);
  if (unfinished) std::rethrow_exception(unfinished);
}

namespace {

/// Tables without a position are of a snapshot that was interrupted: each is as of some snapshot, no two of the
/// same.
void begin_anew(target::Target& target) {
  auto records = target.tables();
  if (records.empty()) return;
  log::info("copy", "a snapshot was interrupted before; all {} tables begin anew, from their first rows",
            records.size());
  for (const auto& record : records) {
    if (record.copied) target.mark_for_copy(record.oid, "a snapshot is of one position");
  }
}

}  // namespace

namespace {

CopyOutcome take_snapshot(const config::Config& config, StatusBoard& board, const StopSignal& stop,
                          FirstStart& first) {
  // Both ends are looked at side by side: on small databases that is a good part of the time.
  std::promise<schema::StructureOptions> empty;
  auto wanted = empty.get_future();
  auto opening = std::async(std::launch::async, [&] {
    auto told = std::move(empty);  // broken when this ends, if there is nothing to tell
    auto options = open_options(config);
    options.doing = telling(board);
    first.watch(options);
    options.found_empty = [&](const schema::StructureOptions& how) { told.set_value(how); };
    if (options.before_writing) {
      options.before_writing = [&](pg::Connection& there, bool set_up) {
        if (!set_up) first.look_at(there);
        tell_apart(config, there, set_up);
      };
    }
    return target::open(options);
  });
  std::optional<SingleCopy> copy;
  std::exception_ptr unread;
  try {
    copy.emplace(config, board, stop);
    if (auto known = value_of(wanted)) copy->read_structure(*known);
  } catch (...) {
    unread = std::current_exception();
  }
  std::unique_ptr<target::Target> target;
  try {
    target = opening.get();
  } catch (const Error& error) {
    if (!stop.requested() || !may_retry(error)) throw;
    log::debug("copy", "left without waiting for it: {}", error.what());
    return {};
  }
  if (target->checkpoint()) {
    throw Error(Retry::needs_operator, fmt::format("{} holds a mirror already", config.target.url()),
                "A snapshot needs a new file, or another --name; to go on following, use 'tailrace run'");
  }
  begin_anew(*target);
  first.look_at(*target);
  try {
    if (unread) std::rethrow_exception(unread);
    for (;;) {
      try {
        copy->into(*target);
        break;
      } catch (const target::RestartFromCheckpoint& restart) {
        log::info("copy", "the snapshot begins again: {}", restart.what());
        copy.emplace(config, board, stop);
      } catch (...) {
        first.look_at(*target);
        throw;
      }
    }
  } catch (const StopRequested&) {
    log::debug("copy", "the snapshot was stopped");
  } catch (const Error& error) {
    if (!stop.requested() || !may_retry(error)) throw;
    log::debug("copy", "left without waiting for it: {}", error.what());
  } catch (const target::TableRefused& refused) {
    throw as_error(refused);
  }
  if (!stop.requested()) {
    target->tidy();
    CopyOutcome all;
    all.known = true;
    return all;
  }
  std::optional<bool> structure;
  try {
    structure = target->structure_is_complete();
  } catch (const Error& error) {
    log::debug("copy", "{}", error.what());
  }
  auto outcome = copy_outcome(*target, board.read(), {}, structure);
  // The position comes last: until then there is no snapshot.
  if (!target->checkpoint() && outcome.whole()) outcome.begun = false;
  return outcome;
}

}  // namespace

CopyOutcome snapshot(const config::Config& config, StatusBoard& board, const StopSignal& stop) {
  FirstStart first(config);
  try {
    return take_snapshot(config, board, stop, first);
  } catch (...) {
    first.undo();
    throw;
  }
}

}  // namespace tailrace::pipeline
