#include "pg/stream_connection.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/byte_reader.h"
#include "pg/socket.h"

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t usual_buffer = 1 << 20;
constexpr std::size_t header = 5;  // type, length
constexpr auto start_patience = 60s;
constexpr auto send_patience = 60s;

/// Of the message that begins here, without its type. No message is larger than a gigabyte and a little.
std::size_t length_of(const char* message) {
  auto length = load_big_endian<std::uint32_t>(reinterpret_cast<const std::byte*>(message + 1));
  if (length < 4 || length > 0x7fffffff)
    throw Error(Retry::transient, "the replication connection brought something that is not a message");
  return length;
}

/// ErrorResponse: fields of a letter and a string, ended by a zero.
ServerError read_error(std::string_view body) {
  ServerError out;
  while (!body.empty() && body.front() != '\0') {
    char field = body.front();
    auto end = body.find('\0', 1);
    if (end == std::string_view::npos) break;
    std::string value(body.substr(1, end - 1));
    body.remove_prefix(end + 1);
    switch (field) {
      case 'C': out.sqlstate = std::move(value); break;
      case 'M': out.message = std::move(value); break;
      case 'D': out.detail = std::move(value); break;
      case 'H': out.hint = std::move(value); break;
      default: break;
    }
  }
  return out;
}

}  // namespace

StreamConnection::StreamConnection(Connection connection, const std::string& command, std::string purpose)
    : connection_(std::move(connection)), purpose_("starting replication") {
  if (PQsslInUse(connection_.raw()) != 0 || PQgssEncInUse(connection_.raw()) != 0) {
    connection_.query(command, purpose_);
    purpose_ = std::move(purpose);
    through_libpq_.emplace(connection_, purpose_);
    return;
  }
  // libpq has no answer outstanding and never learns of this query, so nothing gets into its buffer from here
  // on.
  buffer_.resize(usual_buffer);
  send_raw('Q', std::string_view(command.c_str(), command.size() + 1));
  auto deadline = std::chrono::steady_clock::now() + start_patience;
  for (;;) {
    while (end_ - begin_ >= header && end_ - begin_ >= length_of(&buffer_[begin_]) + 1) {
      if (buffer_[begin_] == 'W') {
        begin_ += length_of(&buffer_[begin_]) + 1;
        purpose_ = std::move(purpose);
        return;
      }
      std::string_view unexpected;
      next_in_buffer(unexpected);
    }
    if (connection_.leaves()) throw StopRequested();
    if (!wait_readable(100ms) && std::chrono::steady_clock::now() >= deadline) {
      throw Error(Retry::transient,
                  fmt::format("no answer from the server for {} s while {}", start_patience / 1s, purpose_));
    }
    read_socket();
  }
}

StreamConnection::Next StreamConnection::next_in_buffer(std::string_view& out) {
  while (end_ - begin_ >= header) {
    std::size_t length = length_of(&buffer_[begin_]);
    if (end_ - begin_ < length + 1) return Next::nothing_yet;
    char type = buffer_[begin_];
    std::string_view body(buffer_.data() + begin_ + header, length - 4);
    begin_ += length + 1;
    if (type == 'd') [[likely]] {
      out = body;
      return Next::data;
    }
    if (control(type, body) == Next::end) return Next::end;
  }
  return Next::nothing_yet;
}

StreamConnection::Next StreamConnection::control(char type, std::string_view body) {
  switch (type) {
    case 'E': throw make_error(read_error(body), purpose_);
    case 'c':
    case 'C':
    case 'Z': return Next::end;
    // NoticeResponse, ParameterStatus, NotificationResponse may come at any time.
    case 'N':
    case 'S':
    case 'A': return Next::nothing_yet;
    default:
      throw Error(
          Retry::fatal, fmt::format("the server sent a message of type '{}' while {}", type, purpose_),
          "This is not the protocol of a replication stream: check what stands between tailrace and the "
          "server; a connection pool cannot pass it on");
  }
}

void StreamConnection::make_room() {
  if (begin_ != 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  std::size_t wanted = usual_buffer;
  // A message of a gigabyte is rare: its room is given back after it.
  if (end_ >= header) wanted = std::max(wanted, length_of(buffer_.data()) + 1 + usual_buffer / 2);
  if (wanted == buffer_.size() || end_ > wanted) return;
  buffer_.resize(wanted);
  if (wanted == usual_buffer) buffer_.shrink_to_fit();
}

void StreamConnection::read_socket() {
  if (through_libpq_) return through_libpq_->read_socket();
  make_room();
  ssize_t got = ::recv(socket(), buffer_.data() + end_, buffer_.size() - end_, MSG_DONTWAIT);
  if (got > 0) {
    end_ += static_cast<std::size_t>(got);
    return;
  }
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  throw Error(Retry::transient, fmt::format("lost the connection to PostgreSQL while {}: {}", purpose_,
                                            got == 0 ? "the server closed it" : std::strerror(errno)));
}

std::size_t StreamConnection::readable_bytes() const {
  return pg::readable_bytes(socket());
}

bool StreamConnection::wait_readable(std::chrono::microseconds timeout) const {
  return pg::wait_readable(socket(), timeout);
}

void StreamConnection::send(std::string_view message) {
  if (through_libpq_) return through_libpq_->send(message);
  send_raw('d', message);
}

void StreamConnection::send_done() {
  if (through_libpq_) return through_libpq_->send_done();
  send_raw('c', {});
}

void StreamConnection::send_raw(char type, std::string_view body) {
  std::string message(header, type);
  store_big_endian(reinterpret_cast<std::byte*>(&message[1]), static_cast<std::uint32_t>(body.size() + 4));
  message += body;
  std::string_view rest = message;
  auto deadline = std::chrono::steady_clock::now() + send_patience;
  while (!rest.empty()) {
    ssize_t sent = ::send(socket(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    bool full = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    if (!full || std::chrono::steady_clock::now() >= deadline) {
      throw Error(Retry::transient, fmt::format("lost the connection to PostgreSQL while {}: {}", purpose_,
                                                full ? "it takes nothing any more" : std::strerror(errno)));
    }
    pollfd entry{socket(), POLLOUT, 0};
    poll(&entry, 1, 100);
  }
}

}  // namespace tailrace::pg
