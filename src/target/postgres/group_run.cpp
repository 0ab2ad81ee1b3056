#include "target/postgres/group_run.h"

#include <algorithm>

#include "base/pulse.h"

namespace tailrace::target::postgres {
namespace {

struct EarlierFailed {};
struct GivesWay {};

}  // namespace

GroupRun::GroupRun(Group group, std::vector<std::shared_ptr<GroupRun>> earlier)
    : group_(std::move(group)), earlier_(std::move(earlier)), filters_(group_.works.size()) {}

void GroupRun::execute(Lane& lane, const std::string& advance_sql) {
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

bool GroupRun::ended() const {
  std::lock_guard lock(mutex_);
  return state_ != State::running;
}

bool GroupRun::wait() const {
  Waiting waiting;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return state_ != State::running; });
  return state_ == State::committed;
}

bool GroupRun::wait_for(std::chrono::milliseconds time) const {
  Waiting waiting;
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [&] { return state_ != State::running; });
}

void GroupRun::classify() {
  std::vector<SetChanges> changes;
  for (const auto& work : group_.works) changes.push_back(SetChanges::of(*work.plan, work.batch));
  std::lock_guard lock(mutex_);
  changes_ = std::move(changes);
  classified_ = true;
  changed_.notify_all();
}

/// False when it ended before that was known.
bool GroupRun::wait_classified() const {
  Waiting waiting;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return classified_ || state_ != State::running; });
  return classified_;
}

/// Every one that it must not overtake committed. Throws if one failed: then this one must not be.
void GroupRun::wait_for_earlier() const {
  if (!std::ranges::all_of(earlier_, [](const auto& run) { return run->wait(); })) throw EarlierFailed();
}

/// The same, in a transaction. An earlier one may wait in the database for a lock of this one, also by way of
/// somebody else's session; no deadlock is seen there, for this one waits here. Then it gives way.
void GroupRun::wait_for_earlier(Lane& lane) const {
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

Landed GroupRun::apply(Lane& lane, const std::string& advance_sql) {
  std::vector<GroupRun*> beside;
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
  return lane.commit(group_.checkpoint, advance_sql, {.flushed = group_.flushed});
}

void GroupRun::check_earlier() const {
  for (const auto& run : earlier_) {
    if (run->ended() && !run->wait()) throw EarlierFailed();
  }
}

Landed GroupRun::apply_beside(Lane& lane, const std::string& advance_sql,
                              const std::vector<GroupRun*>& beside) {
  std::vector<SetChanges> now = changes_;
  std::vector<SetChanges> later(now.size());
  for (GroupRun* run : beside) {
    if (!run->wait_classified()) throw EarlierFailed();
    for (std::size_t i = 0; i < now.size(); ++i) run->hold_back(group_.works[i], now[i], later[i]);
  }
  lane.begin(group_.deferrable);
  for (std::size_t i = 0; i < now.size(); ++i) lane.write(*group_.works[i].plan, group_.works[i].batch, now[i]);
  wait_for_earlier(lane);
  for (std::size_t i = 0; i < later.size(); ++i)
    lane.write(*group_.works[i].plan, group_.works[i].batch, later[i]);
  return lane.commit(group_.checkpoint, advance_sql, {.flushed = group_.flushed});
}

/// Of another's work, which comes after this one: moves to `later` what must not be done before this is
/// committed. Called by the other's thread.
void GroupRun::hold_back(const Work& work, SetChanges& now, SetChanges& later) {
  for (std::size_t i = 0; i < group_.works.size(); ++i) {
    const auto& mine = group_.works[i];
    if (mine.plan->oid != work.plan->oid || now.count() == 0) continue;
    // Another plan of the table: one of both may not know what makes its rows depend on each other.
    if (mine.plan != work.plan || work.plan->key.empty() || work.plan->further_unique) {
      now.move_all(later);
      continue;
    }
    bool went = !changes_[i].deletes.empty();
    if (now.deletes.empty() && now.updates.empty() && !went) continue;
    std::lock_guard lock(filters_mutex_);
    if (!filters_[i]) filters_[i] = changes_[i].touched(*mine.plan, mine.batch);
    now.split_off(*work.plan, work.batch, *filters_[i], went, later);
  }
}

void GroupRun::end(State state, Landed landed, std::exception_ptr error) {
  std::lock_guard lock(mutex_);
  earlier_.clear();
  landed_ = landed;
  error_ = std::move(error);
  state_ = state;
  changed_.notify_all();
}

}  // namespace tailrace::target::postgres
