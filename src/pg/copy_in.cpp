#include "pg/copy_in.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>

#include "base/byte_reader.h"
#include "base/pulse.h"
#include "pg/message_socket.h"

namespace tailrace::pg {
namespace {

/// Reads all results that are left; the first failure among them wins.
Result drain(pg_conn* connection) {
  Result out(nullptr);
  while (pg_result* next = PQgetResult(connection)) {
    Result result(next);
    bool failed = PQresultStatus(next) == PGRES_FATAL_ERROR;
    if (out.raw() == nullptr || (failed && PQresultStatus(out.raw()) != PGRES_FATAL_ERROR))
      out = std::move(result);
    if (PQstatus(connection) == CONNECTION_BAD) break;
  }
  return out;
}

}  // namespace

CopyIn::CopyIn(Connection& connection, const std::string& sql, std::string_view purpose)
    : connection_(connection), purpose_(purpose), past_libpq_(MessageSocket::possible(connection)) {
  auto result = connection.query(sql, purpose);
  if (PQresultStatus(result.raw()) != PGRES_COPY_IN)
    throw Error(Retry::fatal, fmt::format("PostgreSQL takes no rows while {}", purpose));
}

CopyIn::~CopyIn() {
  if (!open_) return;
  if (PQputCopyEnd(connection_.raw(), "given up") == 1) drain(connection_.raw());
}

void CopyIn::write(std::string_view bytes) {
  if (send(bytes)) return;
  // The server may have ended the copy with an error that says more than "the connection is gone".
  open_ = false;
  Result said = drain(connection_.raw());
  throw make_error(connection_.raw(), said.raw(), purpose_);
}

/// One CopyData message. False: the connection is broken.
bool CopyIn::send(std::string_view bytes) {
  if (!past_libpq_) return PQputCopyData(connection_.raw(), bytes.data(), static_cast<int>(bytes.size())) == 1;
  std::array<char, 5> header{'d'};
  store_big_endian(reinterpret_cast<std::byte*>(&header[1]), static_cast<std::uint32_t>(bytes.size() + 4));
  std::array<iovec, 2> parts{{{header.data(), header.size()}, {const_cast<char*>(bytes.data()), bytes.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  while (message.msg_iovlen > 0) {
    ssize_t sent = ::sendmsg(connection_.socket(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait_for_room()) {
        // What the server said before it went is only read after an end of the copy.
        PQputCopyEnd(connection_.raw(), "the connection is broken");
        return false;
      }
      continue;
    }
    auto left = static_cast<std::size_t>(sent);
    while (message.msg_iovlen > 0 && left >= message.msg_iov->iov_len) {
      left -= message.msg_iov->iov_len;
      ++message.msg_iov;
      --message.msg_iovlen;
    }
    if (message.msg_iovlen == 0) break;
    message.msg_iov->iov_base = static_cast<char*>(message.msg_iov->iov_base) + left;
    message.msg_iov->iov_len -= left;
  }
  return true;
}

/// A server that waits for us to read what it has to say (notices) takes nothing meanwhile.
bool CopyIn::wait_for_room() {
  Waiting waiting;
  pollfd entry{connection_.socket(), POLLIN | POLLOUT, 0};
  if (::poll(&entry, 1, -1) < 0) return errno == EINTR;
  if ((entry.revents & POLLIN) != 0) {
    if (PQconsumeInput(connection_.raw()) == 0) return false;
    PQisBusy(connection_.raw());  // takes notices out of libpq's buffer
  }
  return true;
}

std::int64_t CopyIn::finish() {
  open_ = false;
  Waiting waiting;
  if (PQputCopyEnd(connection_.raw(), nullptr) != 1) throw make_error(connection_.raw(), nullptr, purpose_);
  Result result = drain(connection_.raw());
  if (result.raw() == nullptr || PQresultStatus(result.raw()) != PGRES_COMMAND_OK)
    throw make_error(connection_.raw(), result.raw(), purpose_);
  return result.affected();
}

}  // namespace tailrace::pg
