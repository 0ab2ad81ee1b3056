#include "source/replication_stream.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/byte_reader.h"

namespace tailrace::source {
namespace {

using namespace std::chrono_literals;

constexpr int keepalive_bytes = 18;
// After so long without a row, whoever stops or asks the server where it is gets its answer at once.
constexpr auto quiet = 200ms;

pg::StreamConnection start(pg::Connection connection, const StreamOptions& options) {
  std::string command = start_replication_command(options, connection.server_version());
  return {std::move(connection), command, "reading the replication stream"};
}

}  // namespace

ReplicationStream::ReplicationStream(pg::Connection connection, const StreamOptions& options)
    : copy_(start(std::move(connection), options)),
      status_interval_(options.status_interval),
      silence_limit_(options.silence_limit),
      acknowledges_(options.acknowledge),
      pacer_(copy_.socket(), copy_.is_unix_socket()),
      received_(options.start),
      durable_(options.acknowledge ? options.durable : Lsn{}) {
  last_heard_ = last_status_ = Clock::now();
  send_status();
}

ReplicationStream::Event ReplicationStream::next(std::string_view& payload) {
  for (;;) {
    std::string_view message;
    switch (copy_.next(message)) {
      case pg::StreamConnection::Next::data:
        pacer_.got(message.size());
        if (take(message, payload)) return Event::message;
        return Event::keepalive;
      case pg::StreamConnection::Next::end: return Event::ended;
      case pg::StreamConnection::Next::nothing_yet: break;
    }
    keep_alive();
    bool read_on = std::exchange(readable_, false) || (pacer_.reads_on() && copy_.readable_bytes() > 0);
    if (!read_on) return Event::drained;
    last_heard_ = Clock::now();
    pinged_.reset();
    copy_.read_socket();
  }
}

/// True when it was a payload, false when it was a keepalive.
bool ReplicationStream::take(std::string_view message, std::string_view& payload) {
  ByteReader in(message);
  switch (in.u8()) {
    case 'w':
      // start, end and send time: in logical mode the header's position is not one that may be acknowledged.
      in.bytes(24);
      payload = in.bytes(in.remaining());
      at_end_ = false;
      row_came_ = true;
      return true;
    case 'k': {
      server_position_ = std::max(server_position_, Lsn{in.u64()});
      at_end_ = true;
      in.u64();
      reply_requested_ = in.u8() != 0;
      if (reply_requested_) send_status();
      return false;
    }
    default:
      throw Error(Retry::fatal, "the server sent an unknown kind of replication message",
                  "This server speaks a protocol that this tailrace does not know; nothing of it was applied");
  }
}

bool ReplicationStream::wait(std::chrono::microseconds limit, For what) {
  auto deadline = Clock::now() + limit;
  for (;;) {
    keep_alive();
    auto now = Clock::now();
    check_silence(now);
    auto left = std::min<Clock::duration>(deadline - now, status_interval_);
    if (left <= 0us) return false;
    if (std::exchange(row_came_, false)) last_row_ = now;
    // The server sends a keepalive before each transaction and after it, while it has no others. Each would
    // wake us.
    copy_.let_wait(what == For::changes && now - last_row_ < quiet ? keepalive_bytes : 0);
    readable_ = pacer_.wait(std::chrono::duration_cast<std::chrono::microseconds>(left) + 1us, wake_);
    if (readable_) return true;
    if (wake_ >= 0) return false;
  }
}

void ReplicationStream::keep_alive() {
  if (Clock::now() - last_status_ >= status_interval_) send_status();
}

/// A server that we did not read for a while, because the queue was full, was silent for no fault of its own:
/// it counts as lost only when a ping, too, stays without an answer.
void ReplicationStream::check_silence(Clock::time_point now) {
  if (pinged_ && now - *pinged_ >= silence_limit_ / 2) {
    auto silence = std::chrono::duration_cast<std::chrono::seconds>(now - last_heard_);
    throw Error(Retry::transient, fmt::format("the server has been silent for {} s", silence.count()));
  }
  if (!pinged_ && now - last_heard_ >= silence_limit_ / 2) {
    pinged_ = now;
    send_status(/*request_reply=*/true);
  }
}

void ReplicationStream::set_durable(Lsn lsn) {
  // Of a stream that is told no position to flush, the server takes what was received for that when it shuts
  // down: it need not wait for us.
  if (acknowledges_) durable_ = std::max(durable_, lsn);
}

void ReplicationStream::send_status_if_changed() {
  if (durable_ != sent_durable_ || received_ != sent_received_) send_status();
}

void ReplicationStream::send_status(bool request_reply) {
  std::array<std::byte, 34> message{};
  message[0] = std::byte{'r'};
  store_big_endian(&message[1], std::max(received_, durable_).value);
  store_big_endian(&message[9], durable_.value);
  store_big_endian(&message[17], durable_.value);
  store_big_endian(&message[25], PgTimestamp::now().micros);
  message[33] = std::byte{request_reply ? std::uint8_t{1} : std::uint8_t{0}};
  copy_.send({reinterpret_cast<const char*>(message.data()), message.size()});
  if (durable_ >= server_position_ || !acknowledges_) reply_requested_ = false;
  sent_durable_ = durable_;
  sent_received_ = received_;
  last_status_ = Clock::now();
}

void ReplicationStream::finish() {
  copy_.let_wait(0);
  send_status();
  copy_.send_done();
  auto deadline = Clock::now() + 2s;
  std::string_view rest;
  while (Clock::now() < deadline) {
    auto got = copy_.next(rest);
    if (got == pg::StreamConnection::Next::end) return;
    if (got == pg::StreamConnection::Next::nothing_yet && copy_.wait_readable(100ms)) copy_.read_socket();
  }
}

}  // namespace tailrace::source
