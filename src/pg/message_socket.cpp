#include "pg/message_socket.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/byte_reader.h"
#include "base/pulse.h"

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t header = 5;  // type, length
constexpr auto send_patience = 60s;
// Rows are small, and many: copied in blocks, they need no call each. What is copied too much at the end of one
// is overwritten by the next; the buffers have so much more room.
constexpr std::size_t block = 32;
constexpr std::size_t small_row = 1024;
// Nothing that is smaller is looked at twice.
constexpr std::size_t never_too_large = 1 << 20;

[[noreturn]] void too_large(std::size_t length) {
  throw Error(Retry::needs_operator,
              fmt::format("the server sends a message of {} MB, and {} MB are a quarter of the memory limit",
                          length >> 20, largest_answer() >> 20),
              "Raise limits.memory (--memory) if a row of a table is as large as that");
}

/// Of the message that begins here, without its type. PostgreSQL has none that is larger than a gigabyte.
std::size_t length_of(const char* message) {
  auto length = load_big_endian<std::uint32_t>(reinterpret_cast<const std::byte*>(message + 1));
  if (length < 4 || length > 0x40000400)
    throw Error(Retry::transient, "the connection to PostgreSQL brought something that is not a message");
  if (length > never_too_large && length > largest_answer()) [[unlikely]]
    too_large(length);
  return length;
}

void copy_blocks(char* to, const char* from, std::size_t size) {
  for (std::size_t at = 0; at < size; at += block) std::memcpy(to + at, from + at, block);
}

}  // namespace

MessageSocket::MessageSocket(Connection& connection, std::size_t buffer)
    : connection_(&connection), usual_(buffer), buffer_(buffer + block) {}

std::size_t MessageSocket::room() const {
  return buffer_.size() - block;
}

bool MessageSocket::possible(const Connection& connection) {
  return PQsslInUse(connection.raw()) == 0 && PQgssEncInUse(connection.raw()) == 0;
}

bool MessageSocket::next(Message& out) {
  if (end_ - begin_ < header) return false;
  std::size_t length = length_of(&buffer_[begin_]);
  if (end_ - begin_ < length + 1) return false;
  out = {buffer_[begin_], {buffer_.data() + begin_ + header, length - 4}};
  begin_ += length + 1;
  return true;
}

std::size_t MessageSocket::append_rows(std::string& out, std::size_t until, std::string_view last) {
  std::size_t rows = 0;
  Message large;
  auto append = [&](char* to, std::size_t) {
    std::size_t size = out.size();
    while (size < until && end_ - begin_ >= header && buffer_[begin_] == 'd') {
      const char* message = buffer_.data() + begin_;
      std::size_t length = length_of(message);
      if (end_ - begin_ < length + 1) break;
      std::string_view body(message + header, length - 4);
      if (body == last) break;
      if (body.size() > small_row) {
        large.body = body;
        break;
      }
      copy_blocks(to + size, body.data(), body.size());
      size += body.size();
      begin_ += length + 1;
      ++rows;
    }
    return size;
  };
  do {
    large = {};
    out.resize_and_overwrite(std::max(out.size(), until) + small_row + block, append);
    if (large.body.empty()) break;
    out.append(large.body);
    begin_ += header + large.body.size();
    ++rows;
  } while (out.size() < until);
  return rows;
}

void MessageSocket::make_room() {
  if (begin_ != 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  // A message of a gigabyte is rare: its room comes with its bytes, for a length is easily said, and is given
  // back after it.
  std::size_t needed = usual_;
  if (end_ >= header) needed = std::max(needed, length_of(buffer_.data()) + 1 + usual_ / 2);
  if (needed > usual_ && end_ < room() && room() <= needed) return;
  std::size_t wanted = std::min(needed, std::max(usual_, 2 * end_));
  if (wanted == room() || end_ > wanted) return;
  // Not resize(): it would copy all of a large buffer for the little that is in use of it.
  std::vector<char> fresh(wanted + block);
  std::memcpy(fresh.data(), buffer_.data(), end_);
  buffer_ = std::move(fresh);
}

std::size_t MessageSocket::read_socket(std::string_view purpose) {
  make_room();
  ssize_t got = ::recv(socket(), buffer_.data() + end_, room() - end_, MSG_DONTWAIT);
  if (got > 0) {
    end_ += static_cast<std::size_t>(got);
    return static_cast<std::size_t>(got);
  }
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
  throw Error(Retry::transient, fmt::format("lost the connection to PostgreSQL while {}: {}", purpose,
                                            got == 0 ? "the server closed it" : std::strerror(errno)));
}

void MessageSocket::send(char type, std::string_view body, std::string_view purpose) {
  std::string message(header, type);
  store_big_endian(reinterpret_cast<std::byte*>(&message[1]), static_cast<std::uint32_t>(body.size() + 4));
  message += body;
  std::string_view rest = message;
  auto deadline = std::chrono::steady_clock::now() + send_patience;
  Waiting waiting;
  while (!rest.empty()) {
    ssize_t sent = ::send(socket(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    bool full = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    if (!full || std::chrono::steady_clock::now() >= deadline) {
      throw Error(Retry::transient, fmt::format("lost the connection to PostgreSQL while {}: {}", purpose,
                                                full ? "it takes nothing any more" : std::strerror(errno)));
    }
    pollfd entry{socket(), POLLOUT, 0};
    poll(&entry, 1, 100);
  }
}

/// Fields of a letter and a string, ended by a zero.
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

Error unexpected_message(char type, std::string_view purpose) {
  return Error(Retry::fatal, fmt::format("the server sent a message of type '{}' while {}", type, purpose),
               "This is not PostgreSQL's protocol: check what stands between tailrace and the server, and "
               "connect to the server itself");
}

}  // namespace tailrace::pg
