#include "target/postgres/ahead_lane.h"

#include <stdexcept>
#include <utility>

#include "base/log.h"
#include "base/pulse.h"

namespace tailrace::target::postgres {
namespace {

// They hold the memory of what they borrow from.
constexpr std::size_t most_waiting = 2;
constexpr auto give_up_patience = std::chrono::milliseconds(500);

struct GivesWay : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What every exception says of itself, of those that applying throws.
std::string words_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown error";
  }
}

bool is_in_doubt(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error.retry() == Retry::in_doubt;
  } catch (const ConstraintFailed&) {
    return false;
  } catch (const RowMissing&) {
    return false;
  } catch (...) {
    return true;
  }
}

}  // namespace

AheadLane::AheadLane(std::unique_ptr<Lane> lane, std::string advance_sql)
    : lane_(std::move(lane)),
      advance_sql_(std::move(advance_sql)),
      thread_([this](const std::stop_token& stop) { loop(stop); }) {}

AheadLane::~AheadLane() {
  give_up();
}

bool AheadLane::usable() const {
  std::lock_guard lock(mutex_);
  return usable_;
}

void AheadLane::apply(const std::shared_ptr<AheadTransaction>& transaction, Work work, bool deferrable,
                      std::vector<std::shared_ptr<GroupRun>> earlier) {
  Waiting waiting;
  std::unique_lock lock(mutex_);
  if (transaction_ != transaction) {
    TAILRACE_CHECK(parts_.empty() && !began_);
    transaction_ = transaction;
  }
  changed_.wait(lock, [&] { return parts_.size() < most_waiting || !transaction->open(); });
  if (!transaction->open()) return;
  parts_.push_back({std::move(work), deferrable, std::move(earlier)});
  changed_.notify_all();
}

void AheadLane::watch(std::vector<int> backends) {
  std::lock_guard lock(mutex_);
  backends_ = std::move(backends);
}

std::optional<Landed> AheadLane::commit(const Checkpoint& checkpoint) {
  Waiting waiting;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return (parts_.empty() || !transaction_ || !transaction_->open()) && !busy_; });
  if (!transaction_ || !transaction_->open() || !began_) {
    lock.unlock();
    give_up();
    return std::nullopt;
  }
  busy_ = true;
  lock.unlock();
  std::optional<Landed> landed;
  std::exception_ptr failure;
  bool certain = true;
  try {
    landed = lane_->commit(checkpoint, advance_sql_, {});
  } catch (...) {
    failure = std::current_exception();
    // Whoever can still be asked to roll back has not committed, but for what it says of a commit that is
    // there.
    certain = !is_in_doubt(failure) && roll_back(words_of(failure));
  }
  lock.lock();
  busy_ = began_ = false;
  usable_ = usable_ && certain;
  transaction_.reset();
  changed_.notify_all();
  if (!certain) std::rethrow_exception(failure);
  return landed;
}

void AheadLane::give_up() noexcept {
  Waiting waiting;
  std::unique_lock lock(mutex_);
  if (!transaction_) return;
  transaction_->give_up();
  changed_.notify_all();
  while (!changed_.wait_for(lock, give_up_patience, [&] { return !busy_ && parts_.empty() && !began_; }))
    lane_->cancel();
  transaction_.reset();
}

void AheadLane::loop(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    auto something = [&] { return !busy_ && (!parts_.empty() || (began_ && !transaction_->open())); };
    bool due = changed_.wait_for(lock, stop, between_looks, something);
    if (stop.stop_requested()) return;
    if (busy_ || (!due && !began_)) continue;
    busy_ = true;
    auto transaction = transaction_;
    std::optional<Part> part;
    if (transaction->open() && !parts_.empty()) part = std::move(parts_.front());
    lock.unlock();
    std::exception_ptr failure;
    try {
      if (part) {
        write(*transaction, *part);
      } else if (transaction->open()) {
        look();
      }
    } catch (...) {
      failure = std::current_exception();
    }
    part.reset();
    if (failure || !transaction->open()) {
      transaction->give_up();
      roll_back(failure ? words_of(failure) : "it was given up");
    }
    lock.lock();
    if (!transaction->open()) {
      parts_.clear();
      began_ = false;
    } else if (due) {
      parts_.pop_front();
    }
    busy_ = false;
    changed_.notify_all();
  }
}

void AheadLane::write(const AheadTransaction& transaction, const Part& part) {
  for (const auto& run : part.earlier) {
    while (!run->wait_for(between_looks)) {
      if (!transaction.open()) return;
      look();
    }
    if (!run->wait()) throw GivesWay("a transaction before it failed");
  }
  if (!began_) {
    lane_->begin(part.deferrable);
    std::lock_guard lock(mutex_);
    began_ = true;
  }
  lane_->write(*part.work.plan, part.work.batch, SetChanges::of(*part.work.plan, part.work.batch));
  lane_->session().settle();
}

/// Twice in a row, for most waits are short.
void AheadLane::look() {
  std::vector<int> backends;
  {
    std::lock_guard lock(mutex_);
    backends = backends_;
  }
  bool waits = lane_->any_waits(backends);
  if (std::exchange(somebody_waits_, waits) && waits) throw GivesWay("another transaction may wait for it");
}

/// False: the connection is lost.
bool AheadLane::roll_back(const std::string& why) {
  log::debug("target", "a transaction is rolled back before its commit at the source: {}", why);
  somebody_waits_ = false;
  bool usable = lane_->rollback();
  std::lock_guard lock(mutex_);
  usable_ = usable;
  return usable;
}

}  // namespace tailrace::target::postgres
