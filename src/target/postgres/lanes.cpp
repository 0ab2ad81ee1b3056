#include "target/postgres/lanes.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>

#include "base/log.h"
#include "target/postgres/origins.h"

namespace tailrace::target::postgres {
namespace {

constexpr auto between_looks = std::chrono::milliseconds(200);

}  // namespace

/// One transaction on its way. `execute` runs on a worker's thread; the others are asked from anywhere.
class Lanes::Run {
 public:
  /// `earlier`: those that were on their way when this one was given, in order.
  Run(Group group, std::vector<std::shared_ptr<Run>> earlier)
      : group_(std::move(group)), earlier_(std::move(earlier)), filters_(group_.works.size()) {}

  void execute(Lane& lane, const std::string& advance_sql) {
    backend_ = lane.backend();
    try {
      classify();
      auto landed = apply(lane, advance_sql);
      end(State::committed, landed, nullptr);
    } catch (...) {
      lane.rollback();
      end(State::failed, {}, std::current_exception());
    }
  }

  bool ended() const {
    std::lock_guard lock(mutex_);
    return state_ != State::running;
  }
  /// Waits for its end; true if it committed.
  bool wait() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return state_ != State::running; });
    return state_ == State::committed;
  }
  /// Waits this long for its end; true if it came.
  bool wait_for(std::chrono::milliseconds time) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [&] { return state_ != State::running; });
  }
  const Checkpoint& checkpoint() const { return group_.checkpoint; }
  Landed landed() const { return landed_; }
  std::exception_ptr error() const { return error_; }

 private:
  enum class State { running, committed, failed };
  struct EarlierFailed {};
  struct GivesWay {};

  void classify() {
    std::vector<SetChanges> changes;
    for (const auto& work : group_.works) changes.push_back(SetChanges::of(*work.plan, work.batch));
    std::lock_guard lock(mutex_);
    changes_ = std::move(changes);
    classified_ = true;
    changed_.notify_all();
  }

  /// False when it ended before that was known.
  bool wait_classified() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return classified_ || state_ != State::running; });
    return classified_;
  }

  /// Every one that it must not overtake committed. Throws if one failed: then this one must not be.
  void wait_for_earlier() const {
    if (!std::ranges::all_of(earlier_, [](const auto& run) { return run->wait(); })) throw EarlierFailed();
  }

  /// The same, in a transaction. An earlier one may wait in the database for a lock of this one, also by way of
  /// somebody else's session; no deadlock is seen there, for this one waits here. Then it gives way.
  void wait_for_earlier(Lane& lane) const {
    for (const auto& run : earlier_) {
      while (!run->wait_for(between_looks)) {
        std::vector<int> backends;
        for (const auto& other : earlier_) {
          if (!other->ended() && other->backend_ != 0) backends.push_back(other->backend_);
        }
        if (lane.any_waits(backends)) throw GivesWay();
      }
    }
    wait_for_earlier();
  }

  Landed apply(Lane& lane, const std::string& advance_sql) {
    std::vector<Run*> beside;
    for (const auto& run : earlier_) {
      if (!run->ended()) beside.push_back(run.get());
    }
    check_earlier();
    if (!beside.empty()) {
      try {
        return apply_beside(lane, advance_sql, beside);
      } catch (const EarlierFailed&) {
        throw;
      } catch (const Error& error) {
        if (error.retry() == Retry::in_doubt || !lane.rollback()) throw;
        wait_for_earlier();
      } catch (...) {
        // It may have met an earlier one after all: only what fails alone has failed.
        if (!lane.rollback()) throw;
        wait_for_earlier();
      }
    }
    lane.begin(group_.deferrable);
    for (std::size_t i = 0; i < group_.works.size(); ++i)
      lane.write(*group_.works[i].plan, group_.works[i].batch, changes_[i]);
    return lane.commit(group_.checkpoint, advance_sql);
  }

  void check_earlier() const {
    for (const auto& run : earlier_) {
      if (run->ended() && !run->wait()) throw EarlierFailed();
    }
  }

  Landed apply_beside(Lane& lane, const std::string& advance_sql, const std::vector<Run*>& beside) {
    std::vector<SetChanges> now = changes_;
    std::vector<SetChanges> later(now.size());
    for (Run* run : beside) {
      if (!run->wait_classified()) throw EarlierFailed();
      for (std::size_t i = 0; i < now.size(); ++i) run->hold_back(group_.works[i], now[i], later[i]);
    }
    lane.begin(group_.deferrable);
    for (std::size_t i = 0; i < now.size(); ++i)
      lane.write(*group_.works[i].plan, group_.works[i].batch, now[i]);
    wait_for_earlier(lane);
    for (std::size_t i = 0; i < later.size(); ++i)
      lane.write(*group_.works[i].plan, group_.works[i].batch, later[i]);
    return lane.commit(group_.checkpoint, advance_sql);
  }

  /// Of another's work, which comes after this one: moves to `later` what must not be done before this is
  /// committed. Called by the other's thread.
  void hold_back(const Work& work, SetChanges& now, SetChanges& later) {
    for (std::size_t i = 0; i < group_.works.size(); ++i) {
      const auto& mine = group_.works[i];
      if (mine.plan->oid != work.plan->oid || now.count() == 0) continue;
      // Another plan of the table: one of both may not know what makes its rows depend on each other.
      if (mine.plan != work.plan || work.plan->key.empty() || work.plan->further_unique) {
        later = std::exchange(now, {});
        continue;
      }
      bool went = !changes_[i].deletes.empty();
      if (now.deletes.empty() && now.updates.empty() && !went) continue;
      std::lock_guard lock(filters_mutex_);
      if (!filters_[i]) filters_[i] = changes_[i].touched(*mine.plan, mine.batch);
      now.split_off(*work.plan, work.batch, *filters_[i], went, later);
    }
  }

  void end(State state, Landed landed, std::exception_ptr error) {
    std::lock_guard lock(mutex_);
    earlier_.clear();
    landed_ = landed;
    error_ = std::move(error);
    state_ = state;
    changed_.notify_all();
  }

  Group group_;
  std::atomic<int> backend_ = 0;               ///< of its lane
  std::vector<std::shared_ptr<Run>> earlier_;  ///< its own thread's

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  State state_ = State::running;
  bool classified_ = false;
  std::vector<SetChanges> changes_;  ///< of each work; not changed once it is classified
  Landed landed_;
  std::exception_ptr error_;

  std::mutex filters_mutex_;
  std::vector<std::optional<KeyFilter>> filters_;  ///< of each work, made when first asked for
};

struct Lanes::Worker {
  explicit Worker(std::unique_ptr<Lane> opened) : lane(std::move(opened)) {}

  void loop(const std::stop_token& stop, const std::string& advance_sql) {
    for (;;) {
      std::shared_ptr<Run> run;
      {
        std::unique_lock lock(mutex);
        if (!changed.wait(lock, stop, [&] { return next != nullptr; })) return;
        run = std::exchange(next, nullptr);
      }
      run->execute(*lane, advance_sql);
    }
  }

  void start(std::shared_ptr<Run> run) {
    std::lock_guard lock(mutex);
    next = std::move(run);
    changed.notify_one();
  }

  std::unique_ptr<Lane> lane;
  Run* busy_with = nullptr;  ///< the owner's view
  std::mutex mutex;
  std::condition_variable_any changed;
  std::shared_ptr<Run> next;
  std::jthread thread;  ///< last, so that it ends first
};

Lanes::Lanes(std::string conninfo, std::string subscription, int count, std::string advance_sql)
    : conninfo_(std::move(conninfo)),
      subscription_(std::move(subscription)),
      advance_sql_(std::move(advance_sql)),
      workers_(static_cast<std::size_t>(count)) {
  auto first = std::make_unique<Lane>(conninfo_, subscription_, 0);
  if (first->has_origin()) make_origins(first->session().direct(), subscription_, count);
  workers_.front() = std::make_unique<Worker>(std::move(first));
}

Lanes::~Lanes() {
  abandon();
}

Lane& Lanes::alone() {
  TAILRACE_CHECK(idle());
  return *workers_.front()->lane;
}

void Lanes::give(Group group) {
  while (running_.size() == workers_.size() || (!running_.empty() && running_.front()->ended()))
    finish_earliest();
  std::size_t number = 0;
  while (workers_[number] && workers_[number]->busy_with != nullptr) ++number;
  if (!workers_[number]) {
    if (!open(number)) {
      workers_.resize(number);
      return give(std::move(group));
    }
  }
  auto& worker = workers_[number];
  if (!worker->thread.joinable()) {
    worker->thread =
        std::jthread([&made = *worker, this](const std::stop_token& stop) { made.loop(stop, advance_sql_); });
  }
  auto run = std::make_shared<Run>(std::move(group), std::vector(running_.begin(), running_.end()));
  running_.push_back(run);
  worker->busy_with = run.get();
  worker->start(std::move(run));
}

/// One more than the first. False if it cannot be had: then fewer do the work.
bool Lanes::open(std::size_t number) {
  std::string why;
  try {
    auto lane = std::make_unique<Lane>(conninfo_, subscription_, static_cast<int>(number));
    // Without an origin, what it wrote would be taken for somebody else's.
    if (lane->has_origin() == workers_.front()->lane->has_origin()) {
      workers_[number] = std::make_unique<Worker>(std::move(lane));
      return true;
    }
    why = lane->why_no_origin();
  } catch (const Error& error) {
    why = error.message();
  }
  log::info("target", "{} of {} connections apply: {}", number, workers_.size(), why);
  return false;
}

void Lanes::finish_earliest() {
  auto run = running_.front();
  bool committed = run->wait();
  running_.pop_front();
  for (auto& worker : workers_) {
    if (worker && worker->busy_with == run.get()) worker->busy_with = nullptr;
  }
  if (committed) {
    committed_.push_back({run->checkpoint(), run->landed()});
    return;
  }
  abandon();
  std::rethrow_exception(run->error());
}

void Lanes::settle() {
  while (!running_.empty()) finish_earliest();
}

void Lanes::abandon() noexcept {
  while (!running_.empty()) {
    try {
      finish_earliest();
    } catch (...) {
      // How it ended is of no interest; nothing after it was applied.
      continue;
    }
  }
}

std::vector<Lanes::Committed> Lanes::committed() {
  return std::exchange(committed_, {});
}

void Lanes::forget_statements() {
  TAILRACE_CHECK(idle());
  for (auto& worker : workers_) {
    if (worker) worker->lane->session().forget_statements();
  }
}

}  // namespace tailrace::target::postgres
