#include "pipeline/reader.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/pulse.h"
#include "base/short_turns.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

// Batches are cut at the end of a transaction once they are worth a hand-over, and inside of one only when it
// is larger still.
constexpr std::size_t full_bytes = 2 << 20;
constexpr std::size_t part_bytes = 4 << 20;
// The server says when it has sent everything. Where it does not (it thinks that we know), a pause of this
// length in the stream means that we caught up; while it flows on, batches gather. In the middle of much, the
// server may only have been sent to sleep for a moment: a longer one is needed.
constexpr auto gap = 500us;
constexpr auto gap_in_flow = 8ms;
constexpr std::size_t flow_bytes = 256 << 10;
constexpr auto gather_at_most = 20ms;
// A position without changes costs a commit. The last one before a pause is worth it, for then the slot is at
// the end; not so those on the way, nor one after the other without end: where source and target are one
// server, each makes the next.
constexpr auto progress_pause = 20ms;
constexpr auto progress_at_least_every = 10s;
constexpr double most_progress = 10;
constexpr double progress_a_second = 1;
// Where commits wait for us, one position serves all that gathered.
constexpr double awaited_progress_a_second = 200;
constexpr auto acknowledge_every = 30ms;

}  // namespace

Reader::Reader(std::unique_ptr<source::ChangeStream> stream, GoOn go_on, source::TransactionAssembler assembler,
               BatchQueue& queue, const Feedback& feedback, StatusBoard& board, const StopSignal& stop)
    : stream_(std::move(stream)),
      go_on_(std::move(go_on)),
      assembler_(std::move(assembler)),
      queue_(queue),
      feedback_(feedback),
      board_(board),
      stop_(stop),
      delivered_(feedback.durable()),
      resent_until_(feedback.durable()),
      last_progress_(Clock::now()),
      last_came_(last_progress_),
      progress_allowance_(most_progress),
      allowed_until_(last_progress_) {}

void Reader::run() {
  WorkingThread working("reader");
  ShortTurns turns;
  try {
    read();
    acknowledge();
    left_at_ = acknowledgeable();
    stream_->finish();
    queue_.close();
  } catch (const StopRequested&) {
    queue_.close();
  } catch (...) {
    queue_.close(std::current_exception());
  }
}

void Reader::read() {
  std::string_view payload;
  using Event = source::ChangeStream::Event;
  while (!leaving()) {
    beat();
    switch (stream_->next(payload)) {
      case Event::message:
        last_came_ = Clock::now();
        on_message(payload);
        break;
      case Event::keepalive:
        last_came_ = Clock::now();
        if (!assembler_.in_transaction() && !assembler_.has_changes()) delivered_in_flow_ = 0;
        deliver_progress();
        break;
      case Event::drained: on_drained(); break;
      case Event::cut:
        assembler_.forget_unfinished();
        deliver_progress();
        break;
      case Event::handed_over: hand_over(); break;
      case Event::ended:
        throw Error(Retry::transient, "the server ended the replication stream: it is shutting down");
    }
  }
}

void Reader::on_message(std::string_view payload) {
  using Then = source::TransactionAssembler::Then;
  uncounted_bytes_ += payload.size();
  switch (assembler_.add(payload)) {
    case Then::go_on:
      if (assembler_.ahead_part_due()) deliver_ahead_part();
      return deliver_if_full();
    case Then::replay: return replay();
    case Then::commit_ahead:
      if (!commit_ahead()) replay();
  }
}

void Reader::replay() {
  bool more = true;
  while (more && !leaving()) {
    beat();
    more = assembler_.replay();
    deliver_if_full();
    // However long the spool is, and however fast the runner takes it.
    acknowledge();
    stream_->keep_alive();
  }
}

/// After everything that committed before it.
void Reader::deliver_ahead_part() {
  if (assembler_.has_changes()) deliver();
  push(assembler_.seal_ahead_part());
}

/// False if the target did not take the transaction ahead: it is to be read back. What comes after it waits
/// until that is known.
bool Reader::commit_ahead() {
  const AheadTransaction& transaction = assembler_.ahead();
  deliver_ahead_part();
  push(assembler_.seal_ahead_commit());
  while (transaction.wait_for(20ms) == AheadTransaction::Fate::open) {
    beat();
    if (leaving()) return true;
    acknowledge();
    stream_->keep_alive();
  }
  return !assembler_.end_ahead();
}

void Reader::deliver_if_full() {
  std::size_t bytes = assembler_.bytes();
  if (bytes < full_bytes) [[likely]]
    return;
  if (!assembler_.in_transaction() || bytes >= part_bytes) deliver();
}

void Reader::on_drained() {
  using For = source::ChangeStream::For;
  if (!assembler_.in_transaction()) {
    if (assembler_.has_changes()) {
      if (stream_->at_end() && stream_->server_position() >= assembler_.progress()) {
        deliver(/*caught_up=*/true);
        delivered_in_flow_ = 0;
        return;
      }
      bool flowing = delivered_in_flow_ + assembler_.filled_bytes() >= flow_bytes;
      // Whoever would apply it has nothing else to do.
      if (!flowing && queue_.awaited()) {
        deliver(/*caught_up=*/true);
        return;
      }
      if (!std::exchange(gathering_, true)) gathering_since_ = Clock::now();
      if (stream_->wait(flowing ? std::chrono::microseconds(gap_in_flow) : gap, For::anything)) {
        if (Clock::now() - gathering_since_ >= gather_at_most) deliver();
        acknowledge();
        return;
      }
      deliver(/*caught_up=*/true);
      delivered_in_flow_ = 0;
    }
    deliver_progress();
  }
  acknowledge();
  // While somebody waits for a position, the server is asked where it is, so that an idle stream shows its
  // position.
  bool hurry = feedback_.position_wanted();
  if (hurry) stream_->ask_position();
  bool awaited = feedback_.commits_wait();
  stream_->wake_by(awaited ? feedback_.more_durable().descriptor() : -1);
  // For what was handed on to become durable, or for a pause.
  bool soon = hurry || feedback_.durable() < std::max(delivered_, assembler_.progress());
  if (!stream_->wait(soon ? 20ms : 100ms, hurry || awaited ? For::anything : For::changes))
    delivered_in_flow_ = 0;
  stream_->wake_by(-1);
}

void Reader::hand_over() {
  assembler_.forget_unfinished();
  // First, for the target may keep us waiting: what it holds at the server is free then.
  stream_->finish();
  // Next to nothing is left behind it.
  if (assembler_.has_changes()) deliver(/*caught_up=*/true);
  acknowledge();
  if (leaving()) return;
  stream_ = go_on_(assembler_.progress(), stream_->acknowledged());
}

/// What the slot may be told of what is durable in the target.
Lsn Reader::acknowledgeable() const {
  Lsn durable = feedback_.durable();
  // A prepared transaction lives in our spool alone until its outcome: the slot must not pass it.
  Lsn below = assembler_.acknowledge_below();
  if (below.valid() && durable >= below) durable = Lsn{below.value - 1};
  // What began before the checkpoint and is prepared comes again; until it has, the slot stays where it is.
  bool all_again = assembler_.progress() > resent_until_ || stream_->server_position() >= resent_until_;
  return all_again ? durable : std::min(durable, stream_->acknowledged());
}

void Reader::acknowledge() {
  bool awaited = feedback_.commits_wait();
  if (awaited) feedback_.more_durable().heard();
  stream_->set_durable(acknowledgeable());
  stream_->set_received(assembler_.progress());
  auto now = Clock::now();
  if (now - last_acknowledged_ < acknowledge_every && !awaited) return;
  last_acknowledged_ = now;
  stream_->send_status_if_changed();
  // What came last is applied, and the server had no more up to here.
  if (assembler_.last_kept() <= feedback_.durable())
    board_.judge_by([&](Step& step) { step.reached(assembler_.progress()); });
  board_.measures().received(std::exchange(uncounted_bytes_, 0));
  board_.update([&](Status& status) {
    status.received = assembler_.progress();
    status.acknowledged = stream_->acknowledged();
    status.source_lsn = std::max(status.source_lsn, stream_->server_position());
  });
}

void Reader::deliver(bool caught_up) {
  std::shared_ptr<const ChangeBatch> batch = assembler_.seal(caught_up);
  gathering_ = false;
  delivered_in_flow_ += batch->filled_bytes();
  push(batch);
}

void Reader::push(std::shared_ptr<const ChangeBatch> batch) {
  delivered_ = batch->progress;
  std::size_t bytes = std::max<std::size_t>(batch->bytes(), 1);
  while (!queue_.push_for(batch, bytes, 50ms)) {
    beat();
    if (leaving()) return;
    acknowledge();
    stream_->keep_alive();
  }
  // A stream that never pauses is acknowledged too.
  acknowledge();
}

/// An idle or filtered stream moves on too: the position of a keepalive goes through the target like a change,
/// so that it is in the checkpoint before the slot passes it.
void Reader::deliver_progress() {
  if (assembler_.in_transaction()) return;
  assembler_.advance(stream_->server_position());
  if (assembler_.progress() <= delivered_) return;
  auto now = Clock::now();
  if (!progress_due(now) && !stream_->reply_requested() && !feedback_.position_wanted()) return;
  last_progress_ = now;
  deliver(/*caught_up=*/true);
}

bool Reader::progress_due(Clock::time_point now) {
  bool awaited = feedback_.commits_wait();
  double elapsed = std::chrono::duration<double>(now - std::exchange(allowed_until_, now)).count();
  progress_allowance_ = std::min(
      progress_allowance_ + elapsed * (awaited ? awaited_progress_a_second : progress_a_second), most_progress);
  if (now - last_progress_ >= progress_at_least_every) return true;
  if (progress_allowance_ < 1 || (!awaited && now - last_came_ < progress_pause)) return false;
  --progress_allowance_;
  return true;
}

}  // namespace tailrace::pipeline
