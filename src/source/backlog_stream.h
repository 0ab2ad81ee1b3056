#pragma once
// BacklogStream: what a slot has held back for us, read in bites through the functions for logical decoding
// (PostgreSQL documentation: "Replication Management Functions", "Logical Decoding SQL Interface").
//
// A walsender makes a system call or two for every change, which is most of what a change costs it; a
// function's result travels in blocks. docs/dev/reading-the-stream.md has the figures. What is read that way is
// gone from the slot it is read from, so that one is a copy, temporary, of the slot that is ours. Ours moves
// only to what the target made durable, as ever.
//
// A bite begins where the copy's restart_lsn is, which stands still while any transaction is open and else
// moves about every 15 s: what lies between is read again for each. So bites grow with that distance, and where
// it is too long, or a transaction is longer than the largest bite, the walsender has to go on. Nothing of a
// bite comes before all of it is decoded: so the first ones end after some messages, too, for the target waits.

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "pg/connection.h"
#include "pg/copy_out.h"
#include "source/change_stream.h"
#include "source/stream_options.h"

namespace tailrace::source {

/// How much to read next; pure. In bytes of WAL.
class Bites {
 public:
  /// What is known once a bite was read.
  struct After {
    std::uint64_t left = 0;   ///< of the backlog
    std::uint64_t again = 0;  ///< what every further bite reads again
    bool whole = false;       ///< it held the end of a transaction, and no large one only in part
    bool wide = false;        ///< large messages: reading them again costs more than a walsender's system calls
    std::uint64_t messages = 0;  ///< that all of them brought
  };
  /// Of the first bite, and after each. 0: go on with the walsender.
  std::uint64_t first(std::uint64_t left, std::uint64_t again);
  std::uint64_t next(const After& after);
  /// The next ends at the first commit behind so many messages; none: however many it has. A large transaction
  /// has to fit.
  std::optional<std::uint64_t> most_messages() const;

 private:
  std::uint64_t grown(std::uint64_t again) const;

  std::uint64_t size_ = 0;
  std::uint64_t left_ = 0;      ///< when we last looked
  std::uint64_t messages_ = 0;  ///< that all of them brought
  bool whole_ = true;
};

class BacklogStream final : public ChangeStream {
 public:
  /// Takes a connection for SQL. Throws Error where the server does not let us: no free slot, no privilege.
  BacklogStream(pg::Connection connection, const StreamOptions& options);

  /// `handed_over` when little is left. Blocks while the server decodes a bite.
  Event next(std::string_view& payload) override;
  bool wait(std::chrono::microseconds limit, For what) override;
  void wake_by(int /*descriptor*/) override {}
  void keep_alive() override;
  void set_durable(Lsn lsn) override;
  void set_received(Lsn) override {}
  void send_status_if_changed() override {}
  void ask_position() override {}
  Lsn server_position() const override { return position_; }
  bool at_end() const override { return waiting_since_.has_value(); }
  /// So that the target takes the position over that we wait for.
  bool reply_requested() const override { return waiting_since_.has_value(); }
  Lsn acknowledged() const override { return acknowledged_; }
  void finish() override;

 private:
  using Clock = std::chrono::steady_clock;

  Event read(std::string_view& payload);
  void copy_slot();
  void advance(const std::string& slot, Lsn lsn, std::string_view purpose);
  void look();
  std::uint64_t left() const;
  std::uint64_t again() const;
  bool waits_for_target();
  void begin_bite();
  void end_bite();
  void give_up_if_overdue();
  void give_up();
  pg::CopyOut::Next next_row(std::string_view& row);
  void refused(const Error& error);
  bool take(std::string_view row, std::string_view& payload);
  void note(std::string_view message);
  Bites::After after() const;
  void acknowledge();

  std::optional<pg::Connection> connection_;  ///< none once it was given up
  StreamOptions options_;
  std::string slot_;  ///< the copy
  Bites bites_;
  std::uint64_t bite_ = 0;  ///< size of the next one; 0: there is none
  std::unique_ptr<pg::CopyOut> copy_;
  bool header_read_ = false;
  bool brought_any_ = false;                        ///< the end of a transaction
  std::uint64_t messages_ = 0;                      ///< of the bite
  std::uint64_t all_messages_ = 0;                  ///< of all of them
  std::uint64_t received_ = 0;                      ///< their bytes
  std::set<Xid> unfinished_;                        ///< streamed while in progress
  bool in_transaction_ = false;                     ///< or in a part of one
  bool acknowledges_;                               ///< while there is a backlog
  std::optional<Clock::time_point> waiting_since_;  ///< for the target, after the last bite
  Lsn position_;                                    ///< everything that commits before it was delivered
  Lsn restart_;                                     ///< of the copy
  Lsn own_restart_;                                 ///< of our own slot, at first: it may be further by now
  Lsn source_end_;                                  ///< of the WAL, when we last looked
  Lsn durable_;
  Lsn acknowledged_;
  Clock::time_point began_;  ///< the bite
  Clock::time_point last_heard_;
  Clock::time_point next_acknowledgement_;
};

}  // namespace tailrace::source
