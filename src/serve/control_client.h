#pragma once
// ControlClient: asks a running tailrace through its control socket.

#include <chrono>
#include <optional>
#include <string>

#include "pipeline/bad_changes.h"
#include "pipeline/engine.h"
#include "pipeline/status.h"

namespace tailrace::serve {

/// One per command. Not thread-safe.
class ControlClient {
 public:
  explicit ControlClient(std::string path) : path_(std::move(path)) {}

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

 private:
  std::optional<std::string> ask(const std::string& request, const StopSignal* stop) const;

  std::string path_;
};

}  // namespace tailrace::serve
