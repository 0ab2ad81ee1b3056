#pragma once
// HttpServer: a few pages for those who watch a mirror: GET and HEAD, one request a connection. Whoever asks,
// asks slowly, asks for too much or never ends costs only other askers: connections, their time and what they
// send are limited, and its threads give way to the mirror's.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/listen_address.h"

namespace tailrace::serve {

struct HttpAnswer {
  int status = 200;
  std::string type;
  std::string body;
};

/// By path, without the query; nothing: there is no such page. Called on several threads at once.
using HttpPages = std::function<std::optional<HttpAnswer>(std::string_view path)>;

class HttpServer {
 public:
  /// Listens at once. Error(needs_operator): it cannot.
  HttpServer(const config::ListenAddress& address, HttpPages pages);
  /// Cuts who is being answered.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

 private:
  class Listener;
  std::unique_ptr<Listener> listener_;
};

}  // namespace tailrace::serve
