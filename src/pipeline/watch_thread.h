#pragma once
// WatchThread: the thread that looks at the source's catalogs, by a connection of its own, while rows are
// applied. What a look has to do where they are applied, it does there between transactions, and waits for its
// turn. Where it has no connection, the look is made there as a whole.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/stop.h"
#include "config/config.h"
#include "pg/connection.h"
#include "pipeline/definition_watch.h"

namespace tailrace::pipeline {

class WatchThread {
 public:
  /// Borrows all of it. `lent`: the connection of the thread that applies.
  WatchThread(const config::Config& config, DefinitionWatch& watch, pg::Connection& lent,
              const StopSignal& stop);
  /// Ends it; waits no longer than a server may take to answer after a stop.
  ~WatchThread();
  WatchThread(const WatchThread&) = delete;
  WatchThread& operator=(const WatchThread&) = delete;

  // The rest is for the thread that applies.

  /// A look is under way.
  bool looks() const { return looks_; }
  /// See DefinitionWatch::look(). `ticket` is given back by serve().
  void begin(DefinitionWatch::Start start, std::uint64_t ticket);
  struct Ended {
    std::uint64_t ticket = 0;
    bool whole = false;      ///< false: the catalogs could not be read
    bool postponed = false;  ///< the catalogs lagged behind what was applied
    bool undecided = false;  ///< see DefinitionWatch
  };
  /// Does what the look under way wants done, if anything. Tells when it has ended; throws what it ended with.
  std::optional<Ended> serve(Applier& applier);

 private:
  void loop();
  bool look();
  bool has_reader();
  void meet(const std::function<void(Applier&)>& what);

  const config::Config& config_;
  DefinitionWatch& watch_;
  pg::Connection& lent_;
  std::string server_;  ///< which one the lent connection leads to
  StopSignal over_;
  bool looks_ = false;
  std::uint64_t ticket_ = 0;

  // The thread's own.
  std::unique_ptr<pg::Connection> connection_;
  std::optional<CatalogReader> reader_;
  bool failing_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false;
  DefinitionWatch::Start start_;
  const std::function<void(Applier&)>* what_ = nullptr;  ///< is to be done
  std::optional<Ended> ended_;
  std::exception_ptr failed_;
  std::thread thread_;
};

}  // namespace tailrace::pipeline
