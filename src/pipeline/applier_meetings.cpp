#include <algorithm>
#include <functional>

#include "pipeline/applier.h"

// What others ask of the applier: to be met at a position, to wait, and to do something between transactions.

namespace tailrace::pipeline {

void Applier::request(std::shared_ptr<Barrier> barrier) {
  std::lock_guard lock(barrier_mutex_);
  barriers_.push_back(std::move(barrier));
  feedback_.want_position(Feedback::Waiter::barrier, true);
  held_until_ = {};
  held_changed_.notify_all();
}

void Applier::withdraw(const std::shared_ptr<Barrier>& barrier) {
  std::lock_guard lock(barrier_mutex_);
  std::erase(barriers_, barrier);
  feedback_.want_position(Feedback::Waiter::barrier, !barriers_.empty());
}

void Applier::hold(std::chrono::steady_clock::time_point until) {
  std::lock_guard lock(barrier_mutex_);
  held_until_ = until;
  held_changed_.notify_all();
}

void Applier::end_before(Lsn position, PgTimestamp time) {
  end_position_ = position;
  end_time_ = time;
  ended_ = position.valid() && checkpoint_.lsn >= position;
}

void Applier::wait_while_held() {
  std::unique_lock lock(barrier_mutex_);
  while (std::chrono::steady_clock::now() < held_until_) held_changed_.wait_until(lock, held_until_);
}

/// `progress`: what the target would hold after a commit now. `next_commit`: of the transaction to come,
/// invalid if there is none in hand; it lets a barrier be met before the stream's own position reaches it.
void Applier::meet_barriers(Lsn progress, Lsn next_commit) {
  std::lock_guard lock(barrier_mutex_);
  auto reached = [&](const std::shared_ptr<Barrier>& barrier) {
    return progress >= barrier->lsn || (next_commit.valid() && next_commit >= barrier->lsn);
  };
  auto late = [&](const std::shared_ptr<Barrier>& barrier) { return last_commit_ >= barrier->lsn; };
  if (std::ranges::any_of(barriers_, [&](const auto& barrier) { return reached(barrier) && !late(barrier); })) {
    flush(true);
    commit(progress);
    target_.settle();
    note_committed();
  }
  auto first = std::stable_partition(barriers_.begin(), barriers_.end(), std::not_fn(reached));
  std::vector<std::shared_ptr<Barrier>> met(first, barriers_.end());
  barriers_.erase(first, barriers_.end());
  feedback_.want_position(Feedback::Waiter::barrier, !barriers_.empty());
  for (const auto& barrier : met) {
    if (late(barrier)) {
      barrier->done.set_exception(std::make_exception_ptr(BarrierPassed()));
    } else {
      meet(*barrier);
    }
  }
}

void Applier::meet(Barrier& barrier) {
  try {
    barrier.act(target_, checkpoint_);
    barrier.done.set_value();
  } catch (const target::RestartFromCheckpoint&) {
    // The target is another one than we know.
    barrier.done.set_exception(std::current_exception());
    throw;
  } catch (...) {
    barrier.done.set_exception(std::current_exception());
  }
}

std::future<void> Applier::ask(Task task) {
  std::packaged_task<void(target::Target&)> packaged(std::move(task));
  auto done = packaged.get_future();
  std::lock_guard lock(tasks_mutex_);
  tasks_.push_back(std::move(packaged));
  return done;
}

void Applier::work_off() {
  TAILRACE_CHECK(!began_);
  std::vector<std::packaged_task<void(target::Target&)>> tasks;
  {
    std::lock_guard lock(tasks_mutex_);
    tasks.swap(tasks_);
  }
  if (tasks.empty()) return;
  settle();
  for (auto& task : tasks) {
    task(target_);
    read_skips();
    read_records();
    show_bad_changes();
  }
}

}  // namespace tailrace::pipeline
