#include "source/backlog_stream.h"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "base/byte_reader.h"
#include "base/log.h"
#include "base/sql_text.h"

namespace tailrace::source {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t smallest_bite = 8 << 20;
constexpr std::uint64_t usual_bite = 32 << 20;
// The server keeps a bite's messages in temporary files.
constexpr std::uint64_t largest_bite = 512 << 20;
constexpr std::uint64_t most_read_again = 1ULL << 30;
// WAL may be full of pages and then full of changes: a bite of it keeps a target waiting that has next to
// nothing.
constexpr std::uint64_t next_to_nothing = 20'000;
constexpr std::uint64_t enough_at_first = 100'000;
// Of what is read again. A walsender reads that much again too before it begins, and only once the target has
// all that came before; a bite does so while the target is at work.
constexpr std::uint64_t worth_a_bite = 32;
constexpr std::uint64_t little_left = 2 << 20;
// The server holds a snapshot while a bite is open: a target that is stuck must not keep it for long.
constexpr auto bite_at_most = 60s;
// A walsender reads so much again sooner than a target tells that it has flushed what it committed.
constexpr std::uint64_t soon_read_again = 64 << 20;
constexpr auto bite_patience = 10min;
// Nobody watches the line yet.
constexpr auto start_patience = 60s;
constexpr auto wait_for_target_at_most = 5s;
constexpr auto acknowledge_every = 5s;
// Reading up to a position costs the server more, the longer its oldest transaction has been open.
constexpr int acknowledgement_share = 20;
constexpr std::size_t copy_header = 19;
constexpr std::uint64_t wide_message = 600;

/// pg_replication_slot_advance() of servers older than these moves the slot's catalog_xmin too far where a
/// transaction is open meanwhile; the release notes call it xmin advancement during fast_forward decoding. The
/// copy, which is not to be read again from before, does not mind: our own slot holds its catalog rows.
bool advances_safely(int server_version) {
  constexpr std::array<std::pair<int, int>, 5> mended{{{13, 21}, {14, 18}, {15, 13}, {16, 9}, {17, 5}}};
  for (auto [major, minor] : mended) {
    if (server_version / 10000 == major) return server_version % 10000 >= minor;
  }
  return server_version / 10000 > mended.back().first;
}

std::uint64_t between(Lsn from, Lsn to) {
  return to > from ? to.value - from.value : 0;
}

}  // namespace

std::uint64_t Bites::first(std::uint64_t left, std::uint64_t again) {
  left_ = left;
  size_ = smallest_bite;
  messages_ = 0;
  whole_ = true;
  // The target waits for it.
  return again > most_read_again ? 0 : grown(again / 2);
}

std::uint64_t Bites::next(const After& after) {
  auto before = std::exchange(left_, after.left);
  messages_ = after.messages;
  whole_ = after.whole;
  if (after.left < std::max(little_left, after.again / worth_a_bite) || after.again > most_read_again) return 0;
  if (after.wide) return 0;
  // It is written about as fast as we read: that much is for the walsender, which does not let it wait.
  if (after.left < usual_bite && after.left > before / 2) return 0;
  if (after.whole) {
    size_ = usual_bite;
  } else {
    // A transaction that is longer than what was read, or nothing of ours. It is received again from its
    // beginning with each bite: so there is one more.
    if (size_ >= largest_bite) return 0;
    size_ = largest_bite;
  }
  return grown(after.again);
}

std::optional<std::uint64_t> Bites::most_messages() const {
  if (!whole_ || messages_ >= next_to_nothing) return std::nullopt;
  return enough_at_first;
}

std::uint64_t Bites::grown(std::uint64_t again) const {
  return std::clamp(again, size_, largest_bite);
}

BacklogStream::BacklogStream(pg::Connection connection, const StreamOptions& options)
    : connection_(std::move(connection)),
      options_(options),
      slot_(fmt::format("{}_backlog_{}", options.slot.substr(0, 40), connection_->backend_pid())),
      acknowledges_(options.acknowledge && advances_safely(connection_->server_version())),
      durable_(options.durable),
      acknowledged_(options.acknowledge ? options.durable : Lsn{}) {
  connection_->set_patience(start_patience);
  copy_slot();
  connection_->set_patience(bite_patience);
  next_acknowledgement_ = Clock::now() + acknowledge_every;
  log::info("source", "{} MB behind: reading the backlog through {} in {} format", left() >> 20, slot_,
            options.binary ? "binary" : "text");
}

void BacklogStream::copy_slot() {
  constexpr auto purpose = "copying the slot to read the backlog from";
  // What a bite brings should not need a temporary file. And no wal_sender_timeout notices here that we are
  // gone.
  connection_->query(
      "set work_mem = '64MB'; set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; "
      "set tcp_keepalives_count = 3; set tcp_user_timeout = '90s'",
      purpose);
  connection_->query(fmt::format("select pg_catalog.pg_copy_logical_replication_slot({}, {}, true)",
                                 quote_literal(options_.slot), quote_literal(slot_)),
                     purpose);
  look();
  // The copy is where the slot was; only the walsender holds that one, and it tells more of this.
  if (position_ > options_.start)
    throw Error(Retry::transient, fmt::format("the slot {} was moved meanwhile", options_.slot));
  own_restart_ = restart_;
  position_ = std::max(position_, options_.start);
  bite_ = bites_.first(left(), again());
  // Only now: the way there begins at restart_lsn, too.
  if (bite_ != 0) advance(slot_, options_.start, purpose);
}

/// A slot that is there already, or further, is left alone.
void BacklogStream::advance(const std::string& slot, Lsn lsn, std::string_view purpose) {
  connection_->query(fmt::format("select pg_catalog.pg_replication_slot_advance(slot_name, {0}) "
                                 "from pg_catalog.pg_replication_slots "
                                 "where slot_name = {1} and confirmed_flush_lsn < {0}",
                                 quote_literal(lsn.str()), quote_literal(slot)),
                     purpose);
}

void BacklogStream::look() {
  auto row = connection_->query(
      fmt::format("select confirmed_flush_lsn, restart_lsn, pg_catalog.pg_current_wal_flush_lsn() "
                  "from pg_catalog.pg_replication_slots where slot_name = {}",
                  quote_literal(slot_)),
      "reading where the backlog ends");
  if (row.rows() == 0) throw Error(Retry::transient, fmt::format("the slot {} is gone", slot_));
  position_ = row.lsn(0, 0);
  restart_ = row.lsn(0, 1);
  source_end_ = row.lsn(0, 2);
}

std::uint64_t BacklogStream::left() const {
  return between(position_, source_end_);
}

std::uint64_t BacklogStream::again() const {
  return between(restart_, position_);
}

ChangeStream::Event BacklogStream::next(std::string_view& payload) {
  try {
    return read(payload);
  } catch (const StopRequested&) {
    return Event::drained;
  }
}

ChangeStream::Event BacklogStream::read(std::string_view& payload) {
  for (;;) {
    give_up_if_overdue();
    if (!connection_) return Event::handed_over;
    if (!copy_ && waits_for_target()) return Event::drained;
    if (!copy_) begin_bite();
    if (!copy_) return Event::handed_over;
    std::string_view row;
    switch (next_row(row)) {
      case pg::CopyOut::Next::data:
        if (take(row, payload)) return Event::message;
        continue;
      case pg::CopyOut::Next::end: end_bite(); return Event::cut;
      case pg::CopyOut::Next::nothing_yet: break;
    }
    if (copy_) return Event::drained;
  }
}

/// A walsender begins by reading again from our own slot's restart_lsn: that is near only once the slot moved,
/// and would take time from a target that is still at work. What was written meanwhile may be worth more bites.
bool BacklogStream::waits_for_target() {
  if (bite_ != 0) return false;
  if (left() > soon_read_again && between(own_restart_, position_) < soon_read_again) return false;
  if (!waiting_since_) waiting_since_ = Clock::now();
  if (durable_ < position_ && Clock::now() - *waiting_since_ < wait_for_target_at_most) return true;
  look();
  bite_ = bites_.next(after());
  if (bite_ != 0) waiting_since_.reset();
  return false;
}

void BacklogStream::begin_bite() {
  try {
    acknowledge();
    if (bite_ == 0) return;
    auto upto = Lsn{position_.value + std::min(bite_, std::max<std::uint64_t>(left(), 1))};
    copy_ = std::make_unique<pg::CopyOut>(
        *connection_,
        read_backlog_command(options_, slot_, upto, bites_.most_messages(), connection_->server_version()),
        "reading the backlog");
  } catch (const Error& error) {
    if (error.sqlstate().empty()) throw;
    return refused(error);
  }
  header_read_ = brought_any_ = false;
  messages_ = received_ = 0;
  unfinished_.clear();
  began_ = last_heard_ = Clock::now();
}

/// The function has all of its result before the first row of it is sent: what makes it fail comes before that.
pg::CopyOut::Next BacklogStream::next_row(std::string_view& row) {
  try {
    for (;;) {
      auto found = copy_->next(row);
      if (found != pg::CopyOut::Next::nothing_yet || !copy_->read()) return found;
      last_heard_ = Clock::now();
    }
  } catch (const Error& error) {
    if (header_read_ || error.sqlstate().empty()) throw;
    refused(error);
    return pg::CopyOut::Next::nothing_yet;
  }
}

/// What the server refuses here (no room for temporary files, a limit), it may not refuse to a walsender.
void BacklogStream::refused(const Error& error) {
  log::warn("source", "{}; going on with the replication stream", error.what());
  give_up();
}

void BacklogStream::end_bite() {
  copy_.reset();
  Lsn before = position_;
  look();
  bite_ = bites_.next(after());
  log::debug("source", "a bite of {} MB was received within {} ms; {} MB are left, {} MB would be read again",
             between(before, position_) >> 20, (Clock::now() - began_) / 1ms, left() >> 20, again() >> 20);
}

/// A row of one column, as COPY writes it in binary: the number of its columns, the length of the value, the
/// value. False for what follows the last.
bool BacklogStream::take(std::string_view row, std::string_view& payload) {
  if (!std::exchange(header_read_, true)) row.remove_prefix(std::min(copy_header, row.size()));
  ByteReader in(row);
  if (row.empty() || in.i16() != 1) return false;
  payload = in.bytes(static_cast<std::size_t>(in.i32()));
  note(payload);
  ++messages_;
  ++all_messages_;
  received_ += payload.size();
  return true;
}

/// Where transactions begin and end (PostgreSQL documentation: "Logical Replication Message Formats").
void BacklogStream::note(std::string_view message) {
  ByteReader in(message);
  switch (in.u8()) {
    case 'B': in_transaction_ = true; return;
    case 'S':
      in_transaction_ = true;
      unfinished_.insert(in.u32());
      return;
    case 'E': in_transaction_ = false; return;
    case 'A': {
      auto xid = in.u32();
      if (in.u32() == xid) unfinished_.erase(xid);
      return;
    }
    case 'c': unfinished_.erase(in.u32()); [[fallthrough]];
    case 'C':
      in_transaction_ = false;
      brought_any_ = true;
      return;
    default: return;
  }
}

Bites::After BacklogStream::after() const {
  return {left(), again(), brought_any_ && unfinished_.empty(), messages_ * wide_message < received_,
          all_messages_};
}

bool BacklogStream::wait(std::chrono::microseconds limit, For /*what*/) {
  if (waiting_since_) {
    std::this_thread::sleep_for(std::min<std::chrono::microseconds>(limit, 5ms));
    return true;
  }
  if (!copy_ || copy_->wait(limit)) return true;
  if (Clock::now() - last_heard_ >= options_.silence_limit)
    throw Error(Retry::transient, "the server fell silent in the middle of the backlog");
  return false;
}

/// A server that we do not read is silent for no fault of its own.
void BacklogStream::keep_alive() {
  last_heard_ = Clock::now();
  give_up_if_overdue();
}

/// Inside of a transaction it goes on: what was handed on of it needs its end.
void BacklogStream::give_up_if_overdue() {
  if (!copy_ || in_transaction_ || Clock::now() - began_ < bite_at_most) return;
  log::info("source", "the target takes its time: going on with the replication stream");
  give_up();
}

/// The copy goes with its session, which ends at once where it cannot send.
void BacklogStream::give_up() {
  if (connection_ && copy_) connection_->cancel_soon();
  copy_.reset();
  connection_.reset();
}

void BacklogStream::set_durable(Lsn lsn) {
  durable_ = std::max(durable_, lsn);
}

/// Moves our own slot, so that the server can let go of its WAL, and starts from there the next time.
void BacklogStream::acknowledge() {
  bool last = bite_ == 0;
  if (!acknowledges_ || durable_ <= acknowledged_ || (!last && Clock::now() < next_acknowledgement_)) return;
  auto began = Clock::now();
  advance(options_.slot, durable_, "acknowledging what is durable");
  acknowledged_ = durable_;
  auto now = Clock::now();
  next_acknowledgement_ =
      now + std::max<Clock::duration>(acknowledge_every, (now - began) * acknowledgement_share);
}

void BacklogStream::finish() {
  give_up();
}

}  // namespace tailrace::source
