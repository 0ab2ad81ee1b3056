#include "pg/copy_stream.h"

#include <libpq-fe.h>

#include "pg/socket.h"

namespace tailrace::pg {

CopyStream::CopyStream(Connection& connection, std::string_view purpose)
    : connection_(connection), purpose_(purpose) {}

CopyStream::~CopyStream() {
  free_message();
}

void CopyStream::free_message() {
  if (message_ != nullptr) PQfreemem(message_);
  message_ = nullptr;
}

CopyStream::Next CopyStream::next(std::string_view& out) {
  free_message();
  return take(PQgetCopyData(connection_.raw(), &message_, /*async=*/1), out);
}

bool CopyStream::next_blocking(std::string_view& out) {
  Next got = next(out);
  if (got == Next::nothing_yet)
    connection_.wait_while(
        [&] {
          if (got == Next::nothing_yet) got = next(out);
          return got == Next::nothing_yet;
        },
        [&] { read_socket(); }, purpose_);
  return got == Next::data;
}

CopyStream::Next CopyStream::take(int length, std::string_view& out) {
  if (length > 0) [[likely]] {
    out = {message_, static_cast<std::size_t>(length)};
    return Next::data;
  }
  if (length == 0) return Next::nothing_yet;
  if (length == -2) throw make_error(connection_.raw(), nullptr, purpose_);
  // -1: the copy is over; its result says how. All of them are read, for the next query needs a connection that
  // has nothing to say.
  Result first_failure(nullptr);
  while (pg_result* next = PQgetResult(connection_.raw())) {
    Result result(next);
    auto status = PQresultStatus(next);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) return Next::end;
    if (status != PGRES_COMMAND_OK && first_failure.raw() == nullptr) first_failure = std::move(result);
    if (PQstatus(connection_.raw()) == CONNECTION_BAD) break;
  }
  if (first_failure.raw() != nullptr) throw make_error(connection_.raw(), first_failure.raw(), purpose_);
  return Next::end;
}

void CopyStream::read_socket() {
  if (PQconsumeInput(connection_.raw()) == 0) throw make_error(connection_.raw(), nullptr, purpose_);
}

bool CopyStream::wait_readable(std::chrono::microseconds timeout) const {
  return pg::wait_readable(connection_.socket(), timeout);
}

void CopyStream::send(std::string_view message) {
  if (PQputCopyData(connection_.raw(), message.data(), static_cast<int>(message.size())) != 1 ||
      PQflush(connection_.raw()) < 0) {
    throw make_error(connection_.raw(), nullptr, purpose_);
  }
}

void CopyStream::send_done() {
  if (PQputCopyEnd(connection_.raw(), nullptr) != 1 || PQflush(connection_.raw()) < 0) {
    throw make_error(connection_.raw(), nullptr, purpose_);
  }
}

}  // namespace tailrace::pg
