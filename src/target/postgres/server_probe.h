#pragma once
// ServerProbe: whether a PostgreSQL answers now, by a connection of its own.

#include <chrono>
#include <optional>
#include <string>

#include "pg/connection.h"
#include "target/target_probe.h"

namespace tailrace::target::postgres {

class ServerProbe : public TargetProbe {
 public:
  ServerProbe(std::string conninfo, std::string application_name);
  bool answers() override;

 private:
  using Clock = std::chrono::steady_clock;

  std::string conninfo_;
  std::string application_name_;
  std::optional<pg::Connection> connection_;
  Clock::time_point next_attempt_{};
  bool refused_ = false;  ///< the last attempt, by a server that was there
};

}  // namespace tailrace::target::postgres
