#include "bare_reader.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/byte_reader.h"

namespace tailrace::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t buffer_bytes = 4 << 20;
constexpr std::size_t wal_data_header = 25;
constexpr std::size_t commit_end_lsn = 10;         // type, flags, commit LSN
constexpr std::size_t stream_commit_end_lsn = 14;  // type, xid, flags, commit LSN
constexpr auto status_every = std::chrono::seconds(5);

[[noreturn]] void fail(const std::string& what) {
  throw Error(Retry::fatal, "the bare reader failed: " + what);
}

template <typename T>
void append(std::string& out, T value) {
  std::array<std::byte, sizeof(T)> bytes;
  store_big_endian(bytes.data(), value);
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

template <typename T>
T load(const char* at) {
  return load_big_endian<T>(reinterpret_cast<const std::byte*>(at));
}

}  // namespace

BareReader::BareReader(const std::string& host, int port, const std::string& database)
    : host_(host), port_(port), database_(database), buffer_(buffer_bytes) {
  connect();
  std::string startup;
  append<std::uint32_t>(startup, 0);
  append<std::uint32_t>(startup, 3 << 16);
  for (std::string_view word : {"user", "postgres", "database", database_.c_str(), "replication", "database"}) {
    startup.append(word).push_back('\0');
  }
  startup.push_back('\0');
  store_big_endian(reinterpret_cast<std::byte*>(startup.data()), static_cast<std::uint32_t>(startup.size()));
  if (::send(socket_, startup.data(), startup.size(), MSG_NOSIGNAL) < 0) fail("no startup");
  await('Z');
}

BareReader::~BareReader() {
  if (socket_ >= 0) ::close(socket_);
}

void BareReader::connect() {
  int outcome = -1;
  socket_ = ::socket(is_unix() ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (is_unix()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string path = fmt::format("{}/.s.PGSQL.{}", host_, port_);
    if (path.size() >= sizeof(address.sun_path)) fail("the socket's path is too long");
    std::memcpy(address.sun_path, path.data(), path.size());
    outcome = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    inet_pton(AF_INET, host_.c_str(), &address.sin_addr);
    outcome = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    int one = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  }
  if (outcome != 0) fail(fmt::format("no connection to {}:{}", host_, port_));
}

void BareReader::send(char type, std::string_view body) {
  std::string message(1, type);
  append(message, static_cast<std::uint32_t>(body.size() + 4));
  message.append(body);
  if (::send(socket_, message.data(), message.size(), MSG_NOSIGNAL) < 0) fail("the server is gone");
}

/// Nothing is acknowledged; the server only hears that somebody is there.
void BareReader::send_status() {
  std::string status(1, 'r');
  for (int i = 0; i < 3; ++i) append<std::uint64_t>(status, 0);
  append(status, PgTimestamp::now().micros);
  status.push_back('\0');
  send('d', status);
  last_status_ = Clock::now();
}

bool BareReader::wait_readable(int milliseconds) const {
  pollfd entry{socket_, POLLIN, 0};
  return ::poll(&entry, 1, milliseconds) > 0;
}

std::size_t BareReader::receive() {
  // The rest of a message moves to the front; it is small, for most of the buffer was used up.
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
  auto got = ::recv(socket_, buffer_.data() + end_, buffer_.size() - end_, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (got <= 0) fail("the server closed the connection");
  end_ += static_cast<std::size_t>(got);
  return static_cast<std::size_t>(got);
}

bool BareReader::take(char& type, std::string_view& body) {
  if (end_ - begin_ < 5) return false;
  std::size_t length = load<std::uint32_t>(&buffer_[begin_ + 1]);
  if (end_ - begin_ < length + 1) return false;
  type = buffer_[begin_];
  body = {&buffer_[begin_ + 5], length - 4};
  begin_ += length + 1;
  return true;
}

void BareReader::await(char type) {
  char got = 0;
  std::string_view body;
  for (;;) {
    while (take(got, body)) {
      if (got == 'E') fail(std::string(body));
      if (got == type) return;
    }
    wait_readable(-1);
    receive();
  }
}

Counts BareReader::read(const std::string& start_replication, Lsn end) {
  pg::ReadPacer pacer(socket_, is_unix());
  send('Q', start_replication + '\0');
  await('W');
  send_status();
  Counts counts;
  char type = 0;
  std::string_view body;
  for (;;) {
    while (take(type, body)) {
      if (type != 'd') fail(std::string(body));
      ++counts.messages;
      counts.bytes += body.size();
      if (body.size() <= wal_data_header + stream_commit_end_lsn || body[0] != 'w') continue;
      char kind = body[wal_data_header];
      if (kind != 'C' && kind != 'c') continue;
      std::size_t at = wal_data_header + (kind == 'C' ? commit_end_lsn : stream_commit_end_lsn);
      if (load<std::uint64_t>(&body[at]) >= end.value) return counts;
    }
    if (Clock::now() - last_status_ >= status_every) send_status();
    if (!pacer.wait(status_every)) continue;
    ++counts.reads;
    pacer.got(receive());
  }
}

}  // namespace tailrace::bench
