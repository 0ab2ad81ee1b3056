#include "serve/control_server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "serve/socket_listener.h"
#include "serve/status_json.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {
namespace {

constexpr std::size_t longest_request = 64 * 1024;
constexpr int request_timeout_ms = 2000;
constexpr std::size_t most_connections = 32;  // a broken script must not cost us a thread a second

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
    auto socket = listen_unix(path_);
    struct stat info{};
    if (::lstat(path_.c_str(), &info) == 0) inode_ = info.st_ino;
    listener_.emplace(
        std::move(socket), ListenerLimits{.connections = most_connections},
        [](int client) { return peer_is_ours(client); },
        [this](int client, const StopSignal& closing) { serve({client, closing}); });
  }

  ~Listener() {
    listener_->close();
    // Where somebody put another socket in our place, it is theirs.
    struct stat info{};
    if (::lstat(path_.c_str(), &info) == 0 && info.st_ino == inode_) ::unlink(path_.c_str());
    listener_->end_answers(SHUT_RD);  // wakes one that still waits for its request
  }

  const std::string& path() const { return path_; }

 private:
  struct Asker {
    int fd;
    const StopSignal& closing;
  };

  void serve(const Asker& asker) {
    int fd = asker.fd;
    std::string request;
    while (!request.contains('\n')) {
      if (request.size() > longest_request || !wait_readable(fd, request_timeout_ms)) return;
      if (!receive_some(fd, request)) break;
    }
    std::string response;
    try {
      response = respond(nlohmann::json::parse(request), request, asker);
    } catch (const nlohmann::json::exception&) {
      response = refusal(R"(a request is one line such as {"command":"status"})");
    } catch (const std::exception& error) {
      response = refusal(error.what());
    }
    send_all(fd, response + "\n", [&] { return asker.closing.requested(); });
  }

  std::string respond(const nlohmann::json& request, const std::string& line, const Asker& asker) {
    auto command = request.at("command").get<std::string>();
    if (auto meant = request.value("name", ""); !meant.empty()) {
      auto name = board_.read().name;
      if (meant != name)
        return refusal(
            fmt::format("this is the mirror '{}', and '{}' was meant; say --name {}", name, meant, name));
    }
    if (command == "status") return answer("status", to_json(board_.read()));
    if (command == "verify") return verify(verify_request_from_json(line), asker);
    if (command == "refresh") return refresh(asker);
    if (command == "stop") {
      log::info("control", "asked to stop through the control socket");
      stop_.request();
      return R"({"ok":true})";
    }
    if (command == "skip")
      return skip(request.at("lsn").get<std::string>(), request.value("forget", false), asker);
    if (command == "replay")
      return replay({request.value("table", ""), request.value("discard", false)}, asker);
    return refusal("unknown command; known: status, verify, refresh, stop, skip, replay");
  }

  /// Hanging up cancels it.
  template <typename Work>
  auto cancellable(const Asker& asker, const Work& work) {
    StopSignal cancel;
    auto result = std::async(std::launch::async, [&] { return work(cancel); });
    while (result.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready)
      if (asker.closing.requested() || peer_gone(asker.fd)) cancel.request();
    return result.get();
  }

  std::string skip(const std::string& text, bool forget, const Asker& asker) {
    auto lsn = Lsn::parse(text);
    if (!lsn) return refusal(fmt::format("'{}' is no position such as 0/15D6A28", text));
    if (!work_.skip) return refusal("this tailrace follows nothing");
    cancellable(asker, [&](const StopSignal& cancel) {
      work_.skip(*lsn, forget, cancel);
      return true;
    });
    return R"({"ok":true})";
  }

  std::string replay(const pipeline::ReplayRequest& request, const Asker& asker) {
    if (!work_.replay) return refusal("this tailrace follows nothing");
    return answer(
        "report",
        to_json(cancellable(asker, [&](const StopSignal& cancel) { return work_.replay(request, cancel); })));
  }

  std::string verify(const pipeline::VerifyRequest& request, const Asker& asker) {
    if (!work_.verify) return refusal("this tailrace cannot verify while it runs");
    std::unique_lock one_at_a_time(verifying_, std::try_to_lock);
    if (!one_at_a_time) return refusal("a verify is running already");
    return answer(
        "report",
        to_json(cancellable(asker, [&](const StopSignal& cancel) { return work_.verify(request, cancel); })));
  }

  std::string refresh(const Asker& asker) {
    if (!work_.refresh) return refusal("this tailrace follows nothing");
    return answer("refresh", to_json(cancellable(asker, work_.refresh)));
  }

  std::string path_;
  pipeline::StatusBoard& board_;
  StopSignal& stop_;
  ControlWork work_;
  ino_t inode_ = 0;
  std::mutex verifying_;
  std::optional<SocketListener> listener_;
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
