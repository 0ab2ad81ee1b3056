#include "pg/stream_connection.h"

#include "pg/socket.h"

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t buffer_bytes = 1 << 20;
constexpr auto start_patience = 60s;

}  // namespace

StreamConnection::StreamConnection(Connection connection, const std::string& command, std::string purpose)
    : connection_(std::move(connection)), purpose_("starting replication") {
  if (MessageSocket::possible(connection_)) {
    messages_.emplace(connection_, buffer_bytes);
    start(command);
  } else {
    connection_.query(command, purpose_);
  }
  purpose_ = std::move(purpose);
  if (!messages_) through_libpq_.emplace(connection_, purpose_);
}

void StreamConnection::start(const std::string& command) {
  messages_->send('Q', std::string_view(command.c_str(), command.size() + 1), purpose_);
  auto deadline = std::chrono::steady_clock::now() + start_patience;
  for (;;) {
    MessageSocket::Message message;
    while (messages_->next(message)) {
      if (message.type == 'W') return;
      control(message);
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
  return messages_->next_row(out, [this](const auto& message) { return control(message); });
}

StreamConnection::Next StreamConnection::control(const MessageSocket::Message& message) {
  switch (message.type) {
    case 'E': throw make_error(read_error(message.body), purpose_);
    case 'c':
    case 'C':
    case 'Z': return Next::end;
    // NoticeResponse, ParameterStatus, NotificationResponse may come at any time.
    case 'N':
    case 'S':
    case 'A': return Next::nothing_yet;
    default: throw unexpected_message(message.type, purpose_);
  }
}

void StreamConnection::read_socket() {
  if (through_libpq_) return through_libpq_->read_socket();
  messages_->read_socket(purpose_);
}

std::size_t StreamConnection::readable_bytes() const {
  return pg::readable_bytes(socket());
}

bool StreamConnection::wait_readable(std::chrono::microseconds timeout) const {
  return pg::wait_readable(socket(), timeout);
}

void StreamConnection::let_wait(int bytes) {
  constexpr int type_and_length = 5;
  if (through_libpq_ || is_unix_socket() || bytes == may_wait_) return;
  may_wait_ = bytes;
  set_least_readable(socket(), bytes > 0 ? bytes + type_and_length + 1 : 1);
}

void StreamConnection::send(std::string_view message) {
  if (through_libpq_) return through_libpq_->send(message);
  messages_->send('d', message, purpose_);
}

void StreamConnection::send_done() {
  if (through_libpq_) return through_libpq_->send_done();
  messages_->send('c', {}, purpose_);
}

}  // namespace tailrace::pg
