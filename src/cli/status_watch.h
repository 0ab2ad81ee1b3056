#pragma once
// StatusWatch: status --watch: the status again every second, for as long as somebody looks.

#include <functional>
#include <string>

#include "serve/control_client.h"

namespace tailrace::cli {

/// Until a stop is requested; returns the exit code. Where nothing answers any more, it says since when, and
/// goes on when something does. `json`: a line a second. `away`: where there is no terminal, what to say while
/// nothing answers.
int watch_status(const serve::ControlClient& client, bool json, const std::function<std::string()>& away);

}  // namespace tailrace::cli
