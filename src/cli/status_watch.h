#pragma once
// StatusWatch: status --watch: the status again every second, for as long as somebody looks.

#include "serve/control_client.h"

namespace tailrace::cli {

/// Until a stop is requested; returns the exit code. Where nothing answers any more, it says since when, and
/// goes on when something does; where nothing answers at the first look, it leaves. `json`: a line a second.
int watch_status(const serve::ControlClient& client, bool json);

}  // namespace tailrace::cli
