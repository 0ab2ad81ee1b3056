#include "serve/control_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "serve/status_json.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {
namespace {

constexpr std::size_t longest_request = 64 * 1024;
constexpr int request_timeout_ms = 2000;

std::string refusal(const std::string& why) {
  return nlohmann::json{{"ok", false}, {"error", why}}.dump(-1, ' ', false,
                                                            nlohmann::json::error_handler_t::replace);
}

std::string answer(const char* key, const std::string& json) {
  return fmt::format(R"({{"ok":true,"{}":{}}})", key, json);
}

/// Only a socket that nobody listens on is removed; anything else under this name is not ours to touch.
void clear_stale(const std::string& path, bool named) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return;
  if (!S_ISSOCK(info.st_mode))
    throw Error(Retry::needs_operator, fmt::format("{} is in the way of the control socket", path),
                "Move that file, or set control_socket to another path");
  if (connect_unix(path, named).valid())
    throw Error(Retry::needs_operator,
                fmt::format("another tailrace is running on this target (it answers at {})", path),
                "Look at it with `tailrace status`, or stop it first");
  ::unlink(path.c_str());
}

}  // namespace

class ControlServer::Listener {
 public:
  Listener(std::string path, bool named, pipeline::StatusBoard& board, StopSignal& stop, ControlWork work)
      : path_(std::move(path)), board_(board), stop_(stop), work_(std::move(work)) {
    clear_stale(path_, named);
    socket_ = listen_unix(path_);
    struct stat info{};
    if (::lstat(path_.c_str(), &info) == 0) inode_ = info.st_ino;
    wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC));
    TAILRACE_CHECK(wake_.valid());
    thread_ = std::thread([this] { accept_loop(); });
  }

  ~Listener() {
    closing_.request();
    std::uint64_t one = 1;
    [[maybe_unused]] auto written = ::write(wake_.get(), &one, sizeof(one));
    thread_.join();
    // Where somebody put another socket in our place, it is theirs.
    struct stat info{};
    if (::lstat(path_.c_str(), &info) == 0 && info.st_ino == inode_) ::unlink(path_.c_str());
    for (Session& session : sessions_) {
      ::shutdown(session.socket.get(), SHUT_RD);  // wakes one that still waits for its request
      session.thread.join();
    }
  }

  const std::string& path() const { return path_; }

 private:
  struct Session {
    Descriptor socket;
    std::atomic<bool> done{false};
    std::thread thread;
  };

  void accept_loop() {
    while (!closing_.requested()) {
      std::array<pollfd, 2> entries{{{socket_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
      ::poll(entries.data(), entries.size(), -1);
      std::erase_if(sessions_, [](Session& session) {
        if (!session.done) return false;
        session.thread.join();
        return true;
      });
      if ((entries[0].revents & POLLIN) == 0) continue;
      accept_one();
    }
  }

  /// Whatever cannot be had for one who asks (a descriptor, a thread, memory) costs them the answer, and us
  /// nothing.
  void accept_one() {
    constexpr std::size_t most = 32;  // a broken script must not cost us a thread a second
    Descriptor client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) {
      // Who waits to be accepted stays readable: without a pause this would be asked again at once, for ever.
      if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN)
        closing_.sleep(std::chrono::milliseconds(200));
      return;
    }
    if (sessions_.size() >= most || !peer_is_ours(client.get())) return;
    try {
      Session& session = sessions_.emplace_back();
      session.socket = std::move(client);
      try {
        session.thread = std::thread([this, &session] {
          serve(session.socket.get());
          ::shutdown(session.socket.get(), SHUT_RDWR);
          session.done = true;
        });
      } catch (...) {
        sessions_.pop_back();
        throw;
      }
    } catch (const std::exception& error) {
      log::warn("control", "a question was not answered: {}", error.what());
    }
  }

  void serve(int fd) {
    std::string request;
    while (!request.contains('\n')) {
      if (request.size() > longest_request || !wait_readable(fd, request_timeout_ms)) return;
      if (!receive_some(fd, request)) break;
    }
    std::string response;
    try {
      response = respond(nlohmann::json::parse(request), request, fd);
    } catch (const nlohmann::json::exception&) {
      response = refusal(R"(a request is one line such as {"command":"status"})");
    } catch (const std::exception& error) {
      response = refusal(error.what());
    }
    send_all(fd, response + "\n", [this] { return closing_.requested(); });
  }

  std::string respond(const nlohmann::json& request, const std::string& line, int fd) {
    auto command = request.at("command").get<std::string>();
    if (auto meant = request.value("name", ""); !meant.empty()) {
      auto name = board_.read().name;
      if (meant != name)
        return refusal(
            fmt::format("this is the mirror '{}', and '{}' was meant; say --name {}", name, meant, name));
    }
    if (command == "status") return answer("status", to_json(board_.read()));
    if (command == "verify") return verify(verify_request_from_json(line), fd);
    if (command == "refresh") return refresh(fd);
    if (command == "stop") {
      log::info("control", "asked to stop through the control socket");
      stop_.request();
      return R"({"ok":true})";
    }
    if (command == "skip")
      return skip(request.at("lsn").get<std::string>(), request.value("forget", false), fd);
    if (command == "replay") return replay({request.value("table", ""), request.value("discard", false)}, fd);
    return refusal("unknown command; known: status, verify, refresh, stop, skip, replay");
  }

  /// Hanging up cancels it.
  template <typename Work>
  auto cancellable(int fd, const Work& work) {
    StopSignal cancel;
    auto result = std::async(std::launch::async, [&] { return work(cancel); });
    while (result.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready)
      if (closing_.requested() || peer_gone(fd)) cancel.request();
    return result.get();
  }

  std::string skip(const std::string& text, bool forget, int fd) {
    auto lsn = Lsn::parse(text);
    if (!lsn) return refusal(fmt::format("'{}' is no position such as 0/15D6A28", text));
    if (!work_.skip) return refusal("this tailrace follows nothing");
    cancellable(fd, [&](const StopSignal& cancel) {
      work_.skip(*lsn, forget, cancel);
      return true;
    });
    return R"({"ok":true})";
  }

  std::string replay(const pipeline::ReplayRequest& request, int fd) {
    if (!work_.replay) return refusal("this tailrace follows nothing");
    return answer("report", to_json(cancellable(
                                fd, [&](const StopSignal& cancel) { return work_.replay(request, cancel); })));
  }

  std::string verify(const pipeline::VerifyRequest& request, int fd) {
    if (!work_.verify) return refusal("this tailrace cannot verify while it runs");
    std::unique_lock one_at_a_time(verifying_, std::try_to_lock);
    if (!one_at_a_time) return refusal("a verify is running already");
    return answer("report", to_json(cancellable(
                                fd, [&](const StopSignal& cancel) { return work_.verify(request, cancel); })));
  }

  std::string refresh(int fd) {
    if (!work_.refresh) return refusal("this tailrace follows nothing");
    return answer("refresh", to_json(cancellable(fd, work_.refresh)));
  }

  std::string path_;
  pipeline::StatusBoard& board_;
  StopSignal& stop_;
  ControlWork work_;
  Descriptor socket_;
  Descriptor wake_;
  ino_t inode_ = 0;
  StopSignal closing_;
  std::mutex verifying_;
  std::list<Session> sessions_;  ///< touched by the accepting thread, and after its end
  std::thread thread_;
};

ControlServer::ControlServer(const SocketPlaces& places, pipeline::StatusBoard& board, StopSignal& stop,
                             ControlWork work)
    : listener_(
          std::make_unique<Listener>(place_to_listen(places), places.named, board, stop, std::move(work))) {}

ControlServer::~ControlServer() = default;

const std::string& ControlServer::path() const {
  return listener_->path();
}

}  // namespace tailrace::serve
