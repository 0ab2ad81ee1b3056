#pragma once
// ReplicationStream: START_REPLICATION and what flows after it (PostgreSQL documentation: "Streaming
// Replication Protocol", "Logical Streaming Replication Parameters"): payloads in, feedback out.
//
// The rules of feedback, each of which loses data when it is broken:
//  - flush is only ever an LSN that the target made durable, and never goes back;
//  - a keepalive's position may be acknowledged only when nothing received is still on its way, and then the
//    target's checkpoint must hold it first, or the next start could not tell progress from loss;
//  - feedback goes out on its own timer, also while the queue is full, or wal_sender_timeout ends the stream.

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>

#include "base/lsn.h"
#include "pg/connection.h"
#include "pg/read_pacer.h"
#include "pg/stream_connection.h"
#include "source/change_stream.h"
#include "source/stream_options.h"

namespace tailrace::source {

class ReplicationStream final : public ChangeStream {
 public:
  ReplicationStream(pg::Connection connection, const StreamOptions& options);

  Event next(std::string_view& payload) override;
  /// While the stream is ahead of us it first lets the socket fill, so that the server sends much at a time.
  bool wait(std::chrono::microseconds limit, For what) override;
  void wake_by(int descriptor) override { wake_ = descriptor; }
  void keep_alive() override;
  void set_durable(Lsn lsn) override;
  void set_received(Lsn lsn) override { received_ = std::max(received_, lsn); }
  void send_status_if_changed() override;
  void ask_position() override { send_status(/*request_reply=*/true); }
  /// The position of the last keepalive.
  Lsn server_position() const override { return server_position_; }
  /// A keepalive that passes all before it: the server says so each time it has sent everything, and sleeps.
  bool at_end() const override { return at_end_; }
  bool reply_requested() const override { return reply_requested_; }
  Lsn acknowledged() const override { return durable_; }
  void finish() override;

 private:
  using Clock = std::chrono::steady_clock;

  bool take(std::string_view message, std::string_view& payload);
  void send_status(bool request_reply = false);
  void check_silence(Clock::time_point now);

  pg::StreamConnection copy_;
  std::chrono::milliseconds status_interval_;
  std::chrono::milliseconds silence_limit_;
  bool acknowledges_;
  pg::ReadPacer pacer_;
  bool readable_ = false;  ///< wait() saw data, or the socket's end, that was not read yet
  Lsn received_;
  Lsn durable_;
  Lsn server_position_;
  Lsn sent_received_;
  Lsn sent_durable_;
  int wake_ = -1;
  bool reply_requested_ = false;
  bool at_end_ = false;
  bool row_came_ = false;  ///< since the last wait()
  Clock::time_point last_row_;
  std::optional<Clock::time_point> pinged_;
  Clock::time_point last_status_;
  Clock::time_point last_heard_;
};

}  // namespace tailrace::source
