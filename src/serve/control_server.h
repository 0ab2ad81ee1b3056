#pragma once
// ControlServer: answers the other commands of this machine's user on a Unix socket: one JSON request line,
// one JSON response line, then the connection closes. Requests: {"command":"status"|"verify"|"refresh"|"stop"}.

#include <functional>
#include <memory>
#include <string>

#include "base/stop.h"
#include "pipeline/engine.h"
#include "pipeline/status.h"

namespace tailrace::serve {

/// Where the socket of a target stands: FILE.tailrace.sock beside it, or, when that is too long for a Unix
/// socket, under $XDG_RUNTIME_DIR (else /tmp) with a name derived from the file's absolute path.
std::string control_socket_path(const std::string& target_file);
/// For a target that is no file here: by what identifies the mirror.
std::string control_socket_path_of(const std::string& identity);

class ControlServer {
 public:
  using Verify = std::function<pipeline::VerifyReport(const pipeline::VerifyRequest&, const StopSignal&)>;
  using Refresh = std::function<pipeline::RefreshReport(const StopSignal&)>;

  /// Listens at once, mode 0600. A socket left by a dead process is replaced; a live one is an
  /// Error(needs_operator): another tailrace runs on this target. `board` and `stop` must outlive the server;
  /// `stop` is requested when somebody asks for it. `verify` runs on the server's threads, one at a time, and
  /// so does `refresh`; empty: the request is refused.
  ControlServer(std::string path, pipeline::StatusBoard& board, StopSignal& stop, Verify verify,
                Refresh refresh = {});
  /// Removes the socket; waits for a running verify, which is asked to stop.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  const std::string& path() const;

 private:
  class Listener;
  std::unique_ptr<Listener> listener_;
};

}  // namespace tailrace::serve
