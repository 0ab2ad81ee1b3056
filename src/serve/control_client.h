#pragma once
// ControlClient: asks a running tailrace through its control socket.

#include <chrono>
#include <optional>
#include <string>

#include "pipeline/bad_changes.h"
#include "pipeline/engine.h"
#include "pipeline/status.h"
#include "serve/socket_places.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {

/// One per command. Not thread-safe.
class ControlClient {
 public:
  explicit ControlClient(SocketPlaces places) : places_(std::move(places)) {}

  /// Whether somebody listens, without a question: one that is stopping may leave it unanswered.
  bool running() const;
  /// nullopt: nothing runs there. Errors: it runs but does not answer in time, or not in our language.
  std::optional<pipeline::Status> status() const;
  /// The same, as the JSON that came.
  std::optional<std::string> status_json() const;
  /// May take as long as comparing takes; `stop` gives up waiting.
  std::optional<pipeline::VerifyReport> verify(const pipeline::VerifyRequest& request,
                                               const StopSignal& stop) const;
  /// May take as long as copying new tables takes; `stop` gives up waiting.
  std::optional<pipeline::RefreshReport> refresh(const StopSignal& stop) const;
  /// False: nothing runs there. Error: it refused.
  bool skip(Lsn commit_lsn, const StopSignal& stop) const;
  std::optional<pipeline::ReplayReport> replay(const pipeline::ReplayRequest& request,
                                               const StopSignal& stop) const;
  /// False: nothing runs there.
  bool stop() const;
  /// For people: where it looks first.
  const std::string& path() const { return places_.paths.front(); }

 private:
  std::optional<std::string> ask(const std::string& request, const StopSignal* stop) const;

  /// The first who listens and whose answer counts; invalid: nobody. `path`: where that is.
  Descriptor connect(std::string& path) const;

  SocketPlaces places_;
};

}  // namespace tailrace::serve
