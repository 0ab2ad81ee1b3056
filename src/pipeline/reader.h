#pragma once
// Reader: the thread that receives. It decodes, hands batches to the runner's queue, and owns feedback, which
// goes on while the queue is full.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/bounded_queue.h"
#include "base/stop.h"
#include "model/change_batch.h"
#include "pipeline/feedback.h"
#include "pipeline/status.h"
#include "source/change_stream.h"
#include "source/transaction_assembler.h"

namespace tailrace::pipeline {

using BatchQueue = BoundedQueue<std::shared_ptr<const ChangeBatch>>;

class Reader {
 public:
  /// Opens the stream that goes on where another one handed over; called on the reader's thread. `start`: the
  /// end of what was received; `acknowledged`: what the slot was told.
  using GoOn = std::function<std::unique_ptr<source::ChangeStream>(Lsn start, Lsn acknowledged)>;

  Reader(std::unique_ptr<source::ChangeStream> stream, GoOn go_on, source::TransactionAssembler assembler,
         BatchQueue& queue, const Feedback& feedback, StatusBoard& board, const StopSignal& stop);

  /// Returns when a stop is requested or the queue is closed; closes the queue, with the error if one ended it.
  void run();
  /// What the slot was told last, or could not be told any more. After run().
  Lsn left_at() const { return left_at_; }

 private:
  using Clock = std::chrono::steady_clock;

  void read();
  void on_message(std::string_view payload);
  void on_drained();
  void hand_over();
  void deliver_if_full();
  void deliver(bool caught_up = false);
  void deliver_ahead_part();
  bool commit_ahead();
  void replay();
  void push(std::shared_ptr<const ChangeBatch> batch);
  void deliver_progress();
  bool progress_due(Clock::time_point now);
  Lsn acknowledgeable() const;
  void acknowledge();
  bool leaving() const { return stop_.requested() || queue_.closed(); }

  std::unique_ptr<source::ChangeStream> stream_;
  GoOn go_on_;
  source::TransactionAssembler assembler_;
  BatchQueue& queue_;
  const Feedback& feedback_;
  StatusBoard& board_;
  const StopSignal& stop_;
  Lsn delivered_;     ///< progress of the last batch handed on
  Lsn resent_until_;  ///< the checkpoint: a slot with prepared transactions is read again from before it
  Clock::time_point gathering_since_;  ///< when the batch in hand got its first part
  bool gathering_ = false;
  std::uint64_t uncounted_bytes_ = 0;  ///< received, and not told yet
  std::size_t delivered_in_flow_ = 0;  ///< bytes handed on since the stream last paused
  Clock::time_point last_progress_;
  Clock::time_point last_came_;      ///< something from the server
  double progress_allowance_ = 0;    ///< so many positions may be delivered now
  Clock::time_point allowed_until_;  ///< the time that is in it
  Clock::time_point last_acknowledged_;
  Lsn left_at_;
};

}  // namespace tailrace::pipeline
