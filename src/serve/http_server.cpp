#include "serve/http_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/system_failure.h"
#include "serve/http_guard.h"
#include "serve/socket_listener.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t most_connections = 16;
constexpr std::size_t longest_request = 16 * 1024;
constexpr auto time_to_ask = 5s;
constexpr auto time_for_all = 15s;
constexpr int politeness = 10;
constexpr std::string_view refused_as_too_long =
    "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What httplib reads from and writes to: one connection, with limits that hold however slowly its bytes come.
class LimitedStream : public httplib::Stream {
 public:
  explicit LimitedStream(int socket) : socket_(socket), begun_(Clock::now()) {}

  enum class Head { whole, too_long, none };

  /// Reads the request up to its empty line. What is asked for needs no body.
  Head receive() {
    std::array<char, 4096> buffer{};
    std::size_t end = std::string::npos;
    while ((end = end_of_head(head_)) == std::string::npos) {
      if (head_.size() > longest_request) return Head::too_long;
      if (!wait(POLLIN, begun_ + time_to_ask)) return Head::none;
      ssize_t got = ::recv(socket_, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got <= 0) return Head::none;
      head_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    head_.resize(end);
    head_ = without_useless_headers(head_);
    return Head::whole;
  }

  bool is_readable() const override { return at_ < head_.size(); }
  bool is_writable() const override { return true; }

  ssize_t read(char* into, size_t size) override {
    std::size_t taken = head_.copy(into, size, at_);
    at_ += taken;
    return static_cast<ssize_t>(taken);
  }

  ssize_t write(const char* from, size_t size) override {
    for (;;) {
      ssize_t sent = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) return sent;
      bool full = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
      if (!full || !wait(POLLOUT, begun_ + time_for_all)) return -1;
    }
  }

  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  /// None that httplib could select() on.
  socket_t socket() const override { return -1; }

  /// Closed with unread bytes, a connection is reset, and what was sent may be lost with it.
  void finish() {
    ::shutdown(socket_, SHUT_WR);
    auto until = Clock::now() + 200ms;
    std::array<char, 4096> unread{};
    while (wait(POLLIN, until) && ::recv(socket_, unread.data(), unread.size(), MSG_DONTWAIT) > 0) {
    }
  }

 private:
  bool wait(short what, Clock::time_point until) const {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left <= 0ms) return false;
    pollfd entry{socket_, what, 0};
    return ::poll(&entry, 1, static_cast<int>(left.count())) > 0;
  }

  int socket_;
  Clock::time_point begun_;
  std::string head_;
  std::size_t at_ = 0;
};

/// httplib's part: the request's text, and the answer's. Its own way of listening is not used: there, one who
/// sends a byte every few seconds keeps a thread for ever, and the process from ending.
class Protocol : private httplib::Server {
 public:
  Protocol(HttpPages pages, bool local) : pages_(std::move(pages)), local_(local) {
    set_pre_routing_handler([this](const auto& request, auto& response) { return answer(request, response); });
  }

  void serve(int socket) {
    LimitedStream stream(socket);
    switch (stream.receive()) {
      case LimitedStream::Head::whole: {
        bool closed = false;
        process_request(stream, /*close_connection=*/true, closed, {});
        break;
      }
      case LimitedStream::Head::too_long:
        stream.write(refused_as_too_long.data(), refused_as_too_long.size());
        break;
      case LimitedStream::Head::none: break;
    }
    stream.finish();
  }

 private:
  HandlerResponse answer(const httplib::Request& request, httplib::Response& response) const {
    const auto out = page(request);
    response.status = out.status;
    response.set_header("Cache-Control", "no-store");
    response.set_header("X-Content-Type-Options", "nosniff");
    if (out.status == 405) response.set_header("Allow", "GET, HEAD");
    response.set_content(out.body, out.type);
    return HandlerResponse::Handled;
  }

  HttpAnswer page(const httplib::Request& request) const {
    auto refuse = [](int status, const char* why) { return HttpAnswer{status, "text/plain", why}; };
    if (request.method != "GET" && request.method != "HEAD")
      return refuse(405, "only GET and HEAD are answered here\n");
    for (std::size_t i = 0; local_ && i < request.get_header_value_count("Host"); ++i) {
      if (!is_local_host(request.get_header_value("Host", i)))
        return refuse(421, "only this machine is served here: ask for localhost or 127.0.0.1\n");
    }
    auto found = pages_(request.path);
    return found ? std::move(*found) : refuse(404, "there is no such page\n");
  }

  HttpPages pages_;
  bool local_;
};

/// The first address that this name means and that can be listened on.
Descriptor listen_on(const config::ListenAddress& address, sockaddr_storage& bound) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string why;
  if (int code = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found))
    why = ::gai_strerror(code);
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, [](addrinfo* list) {
    if (list != nullptr) ::freeaddrinfo(list);
  });
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Descriptor socket(::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int on = 1;
    if (socket.valid()) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (socket.valid() && ::bind(socket.get(), each->ai_addr, each->ai_addrlen) == 0 &&
        ::listen(socket.get(), most_connections) == 0) {
      std::memcpy(&bound, each->ai_addr, each->ai_addrlen);
      return socket;
    }
    why = std::strerror(errno);
  }
  throw Error(Retry::needs_operator, fmt::format("cannot listen for HTTP at {}: {}", address.str(), why),
              "Give another address to --http, or leave it out");
}

}  // namespace

class HttpServer::Listener {
 public:
  Listener(const config::ListenAddress& address, HttpPages pages)
      : socket_(listen_on(address, bound_)),
        protocol_(std::move(pages), is_loopback(bound_)),
        listener_(
            std::move(socket_), {.connections = most_connections, .cuts_first = true, .niceness = politeness},
            [](int) { return true; }, [this](int client, const StopSignal&) { protocol_.serve(client); }) {}

 private:
  sockaddr_storage bound_{};
  Descriptor socket_;
  Protocol protocol_;
  SocketListener listener_;
};

HttpServer::HttpServer(const config::ListenAddress& address, HttpPages pages)
    : listener_(std::make_unique<Listener>(address, std::move(pages))) {
  log::info("http", "listening at http://{}", address.str());
}

HttpServer::~HttpServer() = default;

}  // namespace tailrace::serve
