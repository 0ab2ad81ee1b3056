#include "target/postgres/lanes.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/pulse.h"
#include "target/postgres/origins.h"

namespace tailrace::target::postgres {

struct Lanes::Worker {
  explicit Worker(std::unique_ptr<Lane> opened) : lane(std::move(opened)) {}

  void loop(const std::stop_token& stop, const std::string& advance_sql) {
    for (;;) {
      std::shared_ptr<GroupRun> run;
      {
        std::unique_lock lock(mutex);
        if (!changed.wait(lock, stop, [&] { return next != nullptr; })) return;
        run = std::exchange(next, nullptr);
      }
      WorkingThread working("apply connection");
      run->execute(*lane, advance_sql);
    }
  }

  void start(std::shared_ptr<GroupRun> run) {
    std::lock_guard lock(mutex);
    next = std::move(run);
    changed.notify_one();
  }

  std::unique_ptr<Lane> lane;
  GroupRun* busy_with = nullptr;  ///< the owner's view
  std::mutex mutex;
  std::condition_variable_any changed;
  std::shared_ptr<GroupRun> next;
  std::jthread thread;  ///< last, so that it ends first
};

Lanes::Lanes(ApplyOptions options, int count, std::string advance_sql)
    : options_(std::move(options)),
      advance_sql_(std::move(advance_sql)),
      workers_(static_cast<std::size_t>(count)) {
  auto first = std::make_unique<Lane>(options_, 0);
  if (first->has_origin()) make_origins(first->session().direct(), options_.subscription, count + 1);
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
      std::lock_guard lock(opening_);
      workers_.resize(number);
      return give(std::move(group));
    }
  }
  auto& worker = workers_[number];
  if (!worker->thread.joinable()) {
    worker->thread =
        std::jthread([&made = *worker, this](const std::stop_token& stop) { made.loop(stop, advance_sql_); });
  }
  auto run = std::make_shared<GroupRun>(std::move(group), std::vector(running_.begin(), running_.end()));
  running_.push_back(run);
  worker->busy_with = run.get();
  worker->start(std::move(run));
}

/// One more than the first. False if it cannot be had: then fewer do the work.
bool Lanes::open(std::size_t number) {
  std::string why;
  try {
    auto lane = std::make_unique<Lane>(options_, static_cast<int>(number));
    // Without an origin, what it wrote would be taken for somebody else's.
    if (lane->has_origin() == workers_.front()->lane->has_origin()) {
      std::unique_lock lock(opening_);
      workers_[number] = std::make_unique<Worker>(std::move(lane));
      lock.unlock();
      if (ahead_) ahead_->watch(backends());
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

std::vector<int> Lanes::backends() const {
  std::vector<int> out;
  for (const auto& worker : workers_) {
    if (worker) out.push_back(worker->lane->backend());
  }
  return out;
}

void Lanes::apply_ahead(const std::shared_ptr<AheadTransaction>& transaction, Work work, bool deferrable) {
  if (!open_ahead()) return transaction->give_up();
  ahead_->apply(transaction, std::move(work), deferrable, {running_.begin(), running_.end()});
}

bool Lanes::open_ahead() {
  if (ahead_ && ahead_->usable()) return true;
  close_ahead();
  try {
    auto number = static_cast<int>(workers_.size());
    auto lane = std::make_unique<Lane>(options_, number);
    // Without an origin, what it wrote would be taken for somebody else's.
    if (lane->has_origin() == workers_.front()->lane->has_origin()) {
      std::unique_lock lock(opening_);
      ahead_ = std::make_unique<AheadLane>(std::move(lane), advance_sql_);
      lock.unlock();
      ahead_->watch(backends());
      return true;
    }
    log::info("target", "large transactions are applied after their commit: {}", lane->why_no_origin());
  } catch (const Error& error) {
    log::info("target", "large transactions are applied after their commit: {}", error.message());
  }
  return false;
}

std::optional<Landed> Lanes::commit_ahead(const Checkpoint& checkpoint) {
  TAILRACE_CHECK(idle());
  // Nothing of it was to be done, or its lane was given up with the statements that it knew.
  if (!ahead_) return std::nullopt;
  return ahead_->commit(checkpoint);
}

void Lanes::give_up_ahead() noexcept {
  if (ahead_) ahead_->give_up();
}

std::vector<Lanes::Committed> Lanes::committed() {
  return std::exchange(committed_, {});
}

void Lanes::forget_statements() {
  TAILRACE_CHECK(idle());
  for (auto& worker : workers_) {
    if (worker) worker->lane->session().forget_statements();
  }
  close_ahead();
}

void Lanes::close_ahead() {
  give_up_ahead();
  std::lock_guard lock(opening_);
  ahead_.reset();
}

void Lanes::interrupt() noexcept {
  std::lock_guard lock(opening_);
  for (auto& worker : workers_) {
    if (worker) worker->lane->cancel();
  }
  if (ahead_) ahead_->interrupt();
}

}  // namespace tailrace::target::postgres
