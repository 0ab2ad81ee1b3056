#pragma once
// ControlServer: answers the other commands of this machine's user on a Unix socket: one JSON request line,
// one JSON response line, then the connection closes. The requests are in docs/status.md.

#include <functional>
#include <memory>
#include <string>

#include "base/stop.h"
#include "pipeline/bad_changes.h"
#include "pipeline/engine.h"
#include "pipeline/status.h"
#include "serve/socket_places.h"

namespace tailrace::serve {

/// What the running program does when asked; each on the server's threads. Empty: the request is refused.
struct ControlWork {
  std::function<pipeline::VerifyReport(const pipeline::VerifyRequest&, const StopSignal&)>
      verify;  ///< one at a time
  std::function<pipeline::RefreshReport(const StopSignal&)> refresh;
  /// `forget`: the note is taken back.
  std::function<void(Lsn, bool forget, const StopSignal&)> skip;
  std::function<pipeline::ReplayReport(const pipeline::ReplayRequest&, const StopSignal&)> replay;
};

class ControlServer {
 public:
  /// Listens at once, mode 0600, and answers this user and root alone. A socket left by a dead process is
  /// replaced; a live one is an Error(needs_operator): another tailrace runs on this target. `board` and `stop`
  /// must outlive the server; `stop` is requested when somebody asks for it.
  ControlServer(const SocketPlaces& places, pipeline::StatusBoard& board, StopSignal& stop, ControlWork work);
  /// Removes the socket; waits for what is being done, which is asked to stop.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  const std::string& path() const;

 private:
  class Listener;
  std::unique_ptr<Listener> listener_;
};

}  // namespace tailrace::serve
