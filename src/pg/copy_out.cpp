#include "pg/copy_out.h"

#include <utility>

#include "pg/socket.h"

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t read_at_once = 256 << 10;

}  // namespace

CopyOut::CopyOut(Connection& connection, const std::string& sql, std::string purpose)
    : connection_(connection), purpose_(std::move(purpose)) {
  if (MessageSocket::possible(connection)) {
    messages_.emplace(connection, read_at_once);
    begin(sql);
    pacer_.emplace(connection.socket(), connection.is_unix_socket());
  } else {
    connection.query(sql, purpose_);
    through_libpq_.emplace(connection, purpose_);
  }
}

void CopyOut::begin(const std::string& sql) {
  messages_->send('Q', std::string_view(sql.c_str(), sql.size() + 1), purpose_);
  connection_.wait_while([&] { return !began_; },
                         [&] {
                           read_socket();
                           MessageSocket::Message message;
                           while (!began_ && messages_->next(message)) {
                             if (control(message) == Next::end)
                               throw Error(Retry::fatal,
                                           fmt::format("PostgreSQL gives no rows while {}", purpose_));
                           }
                         },
                         purpose_);
}

CopyOut::Next CopyOut::control(const MessageSocket::Message& message) {
  switch (message.type) {
    case 'H': began_ = true; break;
    case 'E': failed_ = read_error(message.body); break;
    case 'Z':
      if (failed_) throw make_error(*std::exchange(failed_, std::nullopt), purpose_);
      return Next::end;
    case 'c':
    case 'C':
    // NoticeResponse, ParameterStatus, NotificationResponse may come at any time.
    case 'N':
    case 'S':
    case 'A': break;
    default: throw unexpected_message(message.type, purpose_);
  }
  return Next::nothing_yet;
}

bool CopyOut::wait(std::chrono::microseconds limit) {
  readable_ = through_libpq_ ? through_libpq_->wait_readable(limit) : pacer_->wait(limit);
  return readable_;
}

bool CopyOut::read() {
  if (through_libpq_) {
    if (!std::exchange(readable_, false) && !through_libpq_->wait_readable(0us)) return false;
    through_libpq_->read_socket();
    return true;
  }
  bool read_on =
      std::exchange(readable_, false) || (pacer_->reads_on() && readable_bytes(connection_.socket()) > 0);
  if (read_on) pacer_->got(read_socket());
  return read_on;
}

std::size_t CopyOut::read_socket() {
  try {
    return messages_->read_socket(purpose_);
  } catch (const Error&) {
    // A server that goes says why before it closes.
    if (failed_) throw make_error(*std::exchange(failed_, std::nullopt), purpose_);
    throw;
  }
}

}  // namespace tailrace::pg
