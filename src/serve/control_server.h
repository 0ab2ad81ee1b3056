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

namespace tailrace::serve {

/// Where the socket of a target stands: FILE.tailrace.sock beside it, or, when that is too long for a Unix
/// socket, under $XDG_RUNTIME_DIR (else /tmp) with a name derived from the file's absolute path.
std::string control_socket_path(const std::string& target_file);
/// For a target that is no file here: by what identifies the mirror.
std::string control_socket_path_of(const std::string& identity);

/// What the running program does when asked; each on the server's threads. Empty: the request is refused.
struct ControlWork {
  std::function<pipeline::VerifyReport(const pipeline::VerifyRequest&, const StopSignal&)>
      verify;  ///< one at a time
  std::function<pipeline::RefreshReport(const StopSignal&)> refresh;
  std::function<void(Lsn, const StopSignal&)> skip;
  std::function<pipeline::ReplayReport(const pipeline::ReplayRequest&, const StopSignal&)> replay;
};

class ControlServer {
 public:
  /// Listens at once, mode 0600. A socket left by a dead process is replaced; a live one is an
  /// Error(needs_operator): another tailrace runs on this target. `board` and `stop` must outlive the server;
  /// `stop` is requested when somebody asks for it.
  ControlServer(std::string path, pipeline::StatusBoard& board, StopSignal& stop, ControlWork work);
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
