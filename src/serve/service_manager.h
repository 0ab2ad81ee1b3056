#pragma once
// ServiceManager: tells systemd, or whatever speaks its protocol, how a run is: datagrams to $NOTIFY_SOCKET
// (sd_notify(3)). The protocol is stable and small, so libsystemd is not needed.

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/stop.h"
#include "pipeline/status.h"
#include "serve/liveness.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {

/// Talks on its own thread until destroyed; borrows all that it is given.
class ServiceManager {
 public:
  /// Null: nobody asked to be told.
  static std::unique_ptr<ServiceManager> of_environment(const pipeline::StatusBoard& board,
                                                        const Liveness& liveness, const StopSignal& stop);
  /// Says that it stops, if it did not yet.
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

 private:
  ServiceManager(std::string path, std::chrono::microseconds watchdog, const pipeline::StatusBoard& board,
                 const Liveness& liveness, const StopSignal& stop);

  void loop();
  void tell(std::chrono::steady_clock::time_point now);
  void send(const std::string& text) const;

  std::string path_;
  std::chrono::microseconds watchdog_;  ///< after how long without a word it is restarted; 0: never
  const pipeline::StatusBoard& board_;
  const Liveness& liveness_;
  const StopSignal& stop_;
  Descriptor socket_;
  bool ready_ = false;
  bool stopping_ = false;
  bool stands_still_ = false;
  std::string said_;
  std::chrono::steady_clock::time_point last_watchdog_;
  std::chrono::steady_clock::time_point last_extension_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace tailrace::serve
