#pragma once
// ReplicationStream: START_REPLICATION and what flows after it (PostgreSQL documentation: "Streaming
// Replication Protocol", "Logical Streaming Replication Parameters"): payloads in, feedback out.
//
// The rules of feedback, each of which loses data when it is broken:
//  - flush is only ever an LSN that the target made durable, and never goes back;
//  - a keepalive's position may be acknowledged only when nothing received is still on its way, and then the
//    target's checkpoint must hold it first, or the next start could not tell progress from loss;
//  - feedback goes out on its own timer, also while the queue is full, or wal_sender_timeout ends the stream.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"
#include "pg/read_pacer.h"
#include "pg/stream_connection.h"

namespace tailrace::source {

struct StreamOptions {
  std::string slot;
  std::vector<std::string> publications;
  Lsn start;    ///< end_lsn of the last committed transaction; older ones are not sent again
  Lsn durable;  ///< what may be acknowledged at once; not after `start`
  bool binary = false;
  bool streaming = false;  ///< large transactions come before they commit (servers from 14)
  /// Leave out what the source itself received by replication. Servers from 16 do it; of older ones the
  /// TransactionAssembler must.
  bool local_only = false;
  std::chrono::milliseconds status_interval{5'000};
  std::chrono::milliseconds silence_limit{60'000};  ///< a server silent for longer counts as lost
};

/// The command that the options become on such a server; pure.
std::string start_replication_command(const StreamOptions& options, int server_version);

/// One thread: the reader's.
class ReplicationStream {
 public:
  ReplicationStream(pg::Connection connection, const StreamOptions& options);

  enum class Event {
    message,    ///< `payload` holds one pgoutput message
    keepalive,  ///< server_position() moved; nothing else
    drained,    ///< all that had arrived was delivered: hand on what you hold, then wait()
    ended,      ///< the server ended the stream in good order (it is shutting down)
  };
  /// `payload` stays valid until the next call. Sends feedback when it is due. Never blocks for long.
  Event next(std::string_view& payload);

  /// Waits for more, at most `limit`; feedback goes on. While the stream is ahead of us it first lets the
  /// socket fill, so that the server sends much at a time.
  /// True when there is something to read.
  bool wait(std::chrono::microseconds limit);

  /// Sends feedback if its time has come; call it while something else keeps you from next().
  void keep_alive();

  /// What the target made durable; goes into the next feedback. Lower values are ignored.
  void set_durable(Lsn lsn);
  /// What was received, for the server's statistics.
  void set_received(Lsn lsn) { received_ = std::max(received_, lsn); }
  /// Sends feedback if something in it is new.
  void send_status_if_changed();
  /// Sends feedback now.
  void send_status(bool request_reply = false);

  /// The position of the last keepalive: everything that commits before it was sent.
  Lsn server_position() const { return server_position_; }
  /// True when the last thing that came was a keepalive that passes all before it: the server has nothing more
  /// now. It says so each time it has sent everything, and sleeps.
  bool at_end() const { return at_end_; }
  /// The server waits for an answer that holds this position: it is shutting down, or wonders about us.
  bool reply_requested() const { return reply_requested_; }
  Lsn acknowledged() const { return durable_; }
  /// Ends the stream in good order.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  bool take(std::string_view message, std::string_view& payload);
  void check_silence(Clock::time_point now);

  pg::StreamConnection copy_;
  std::chrono::milliseconds status_interval_;
  std::chrono::milliseconds silence_limit_;
  pg::ReadPacer pacer_;
  bool readable_ = false;  ///< wait() saw data, or the socket's end, that was not read yet
  Lsn received_;
  Lsn durable_;
  Lsn server_position_;
  Lsn sent_received_;
  Lsn sent_durable_;
  bool reply_requested_ = false;
  bool at_end_ = false;
  std::optional<Clock::time_point> pinged_;
  Clock::time_point last_status_;
  Clock::time_point last_heard_;
};

}  // namespace tailrace::source
