#include "target/postgres/server_probe.h"

#include <utility>

#include "base/log.h"

namespace tailrace::target::postgres {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 1s;
constexpr auto connect_seconds = 2;
constexpr auto connect_again_after = 1s;
// Each attempt is a process of the server's: one without a free place is not asked so often.
constexpr auto refused_again_after = 10s;

/// It has no place for one more connection, but those that are there work.
bool is_full(const Error& error) {
  return error.sqlstate() == "53300";
}

}  // namespace

ServerProbe::ServerProbe(std::string conninfo, std::string application_name)
    : conninfo_(std::move(conninfo)), application_name_(std::move(application_name)) {}

bool ServerProbe::answers() {
  try {
    if (!connection_) {
      if (Clock::now() < next_attempt_) return refused_;
      connection_.emplace(pg::Connection::open(conninfo_, {pg::Mode::sql, application_name_, connect_seconds}));
      connection_->set_patience(patience);
    }
    connection_->query("select", "asking whether the target answers");
    return true;
  } catch (const Error& error) {
    log::debug("target", "{}", error.what());
    connection_.reset();
    refused_ = is_full(error);
    next_attempt_ = Clock::now() + (refused_ ? refused_again_after : connect_again_after);
    return refused_;
  }
}

}  // namespace tailrace::target::postgres
