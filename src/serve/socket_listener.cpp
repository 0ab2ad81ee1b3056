#include "serve/socket_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace tailrace::serve {

using namespace std::chrono_literals;

struct SocketListener::Session {
  explicit Session(Descriptor client) : socket(std::move(client)) {}
  Descriptor socket;
  std::atomic<bool> done{false};
  std::thread thread;
};

SocketListener::SocketListener(Descriptor socket, ListenerLimits limits, std::function<bool(int)> admit,
                               Answer answer)
    : socket_(std::move(socket)),
      limits_(limits),
      admit_(std::move(admit)),
      answer_(std::move(answer)),
      wake_(::eventfd(0, EFD_CLOEXEC)) {
  TAILRACE_CHECK(wake_.valid());
  thread_ = std::thread([this] { accept_loop(); });
}

SocketListener::~SocketListener() {
  close();
  end_answers(SHUT_RDWR);
}

void SocketListener::close() {
  if (!thread_.joinable()) return;
  closing_.request();
  std::uint64_t one = 1;
  [[maybe_unused]] auto written = ::write(wake_.get(), &one, sizeof(one));
  thread_.join();
}

void SocketListener::end_answers(int how) {
  for (const auto& session : sessions_) {
    ::shutdown(session->socket.get(), how);
    session->thread.join();
  }
  sessions_.clear();
}

void SocketListener::accept_loop() {
  // This thread alone, and those that it starts: on Linux, each has its own.
  if (limits_.niceness > 0) ::setpriority(PRIO_PROCESS, 0, limits_.niceness);
  while (!closing_.requested()) {
    std::array<pollfd, 2> entries{{{socket_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    ::poll(entries.data(), entries.size(), -1);
    std::erase_if(sessions_, [](const auto& session) {
      if (!session->done) return false;
      session->thread.join();
      return true;
    });
    if ((entries[0].revents & POLLIN) != 0) accept_one();
  }
}

void SocketListener::accept_one() {
  Descriptor client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) {
    // Who waits to be accepted stays readable: without a pause this would be asked again at once, for ever.
    if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN) closing_.sleep(200ms);
    return;
  }
  try {
    if (!admit_(client.get())) return;
    if (sessions_.size() >= limits_.connections) {
      // Those that were cut take a moment to end.
      if (!limits_.cuts_first || sessions_.size() >= 2 * limits_.connections) return;
      auto first =
          std::next(sessions_.begin(), static_cast<std::ptrdiff_t>(sessions_.size() - limits_.connections));
      ::shutdown((*first)->socket.get(), SHUT_RDWR);
    }
    sessions_.push_back(std::make_unique<Session>(std::move(client)));
    try {
      Session& session = *sessions_.back();
      session.thread = std::thread([this, &session] {
        try {
          answer_(session.socket.get(), closing_);
        } catch (const std::exception& error) {
          log::debug("serve", "a request was not answered: {}", error.what());
        }
        ::shutdown(session.socket.get(), SHUT_RDWR);
        session.done = true;
        // The accepting thread takes it away, if only with the next connection.
      });
    } catch (...) {
      sessions_.pop_back();
      throw;
    }
  } catch (const std::exception& error) {
    log::warn("serve", "a connection was not answered: {}", error.what());
    closing_.sleep(200ms);
  }
}

}  // namespace tailrace::serve
