#pragma once
// The stop of the whole process, which every connection knows: once it is requested, none waits for its server
// longer than a moment, neither in open() nor in query(). The Error is transient then, and the connection is
// cut.

#include "base/stop.h"

namespace tailrace::pg {

/// Borrows the signal for the rest of the process.
void end_with(const StopSignal& stop);

/// True once it is requested: for whoever asks a server again and again.
bool ending();

}  // namespace tailrace::pg
