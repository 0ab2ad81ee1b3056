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
  /// `name`: of the mirror that is meant; another one refuses. Empty: whichever answers.
  explicit ControlClient(SocketPlaces places, std::string name = {},
                         std::chrono::milliseconds patience = std::chrono::seconds(10))
      : places_(std::move(places)), name_(std::move(name)), patience_(patience) {}

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
  bool skip(Lsn commit_lsn, bool forget, const StopSignal& stop) const;
  std::optional<pipeline::ReplayReport> replay(const pipeline::ReplayRequest& request,
                                               const StopSignal& stop) const;
  /// False: nothing runs there.
  bool stop() const;

 private:
  /// `request`: a JSON object; the name is added to it.
  std::optional<std::string> ask(const std::string& request, const StopSignal* stop) const;

  /// The first who listens and whose answer counts; invalid: nobody. `path`: where that is.
  Descriptor connect(std::string& path) const;

  SocketPlaces places_;
  std::string name_;
  std::chrono::milliseconds patience_;
};

}  // namespace tailrace::serve
