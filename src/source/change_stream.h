#pragma once
// ChangeStream: where the messages of pgoutput come from, transaction after transaction in the order of their
// commits, and whom to tell what the target made durable.

#include <chrono>
#include <string_view>

#include "base/lsn.h"

namespace tailrace::source {

/// One thread: the reader's.
class ChangeStream {
 public:
  ChangeStream() = default;
  ChangeStream(const ChangeStream&) = delete;
  ChangeStream& operator=(const ChangeStream&) = delete;
  virtual ~ChangeStream() = default;

  enum class Event {
    message,      ///< `payload` holds one pgoutput message
    keepalive,    ///< server_position() moved; nothing else
    drained,      ///< all that had arrived was delivered: hand on what you hold, then wait()
    cut,          ///< as keepalive; what was received of unfinished transactions comes again from its beginning
    handed_over,  ///< another stream has to go on after the last whole transaction; else as cut
    ended,        ///< the server ended the stream in good order (it is shutting down)
  };
  /// `payload` stays valid until the next call. Sends feedback when it is due.
  virtual Event next(std::string_view& payload) = 0;

  /// What a wait() is for. On a busy stream one for changes may hear of a keepalive late.
  enum class For { changes, anything };
  /// Waits for more, at most `limit`; feedback goes on. True when next() has something to do.
  virtual bool wait(std::chrono::microseconds limit, For what) = 0;

  /// A descriptor that ends a wait() when it can be read, where the stream knows how; borrowed.
  virtual void wake_by(int descriptor) = 0;

  /// Sends feedback if its time has come; call it while something else keeps you from next().
  virtual void keep_alive() = 0;

  /// What the target made durable; goes into the next feedback. Lower values are ignored.
  virtual void set_durable(Lsn lsn) = 0;
  /// What was received, for the server's statistics.
  virtual void set_received(Lsn lsn) = 0;
  /// Sends feedback if something in it is new.
  virtual void send_status_if_changed() = 0;
  /// Asks the server to say soon where it is.
  virtual void ask_position() = 0;

  /// Everything that commits before it was delivered by the time it was told.
  virtual Lsn server_position() const = 0;
  /// True when the last thing that came says that the server has nothing more now.
  virtual bool at_end() const = 0;
  /// The server waits for an answer that holds its position: it is shutting down, or wonders about us.
  virtual bool reply_requested() const = 0;
  /// What the slot was told.
  virtual Lsn acknowledged() const = 0;
  /// Ends the stream in good order.
  virtual void finish() = 0;
};

}  // namespace tailrace::source
