#pragma once
// Questions to a socket that libpq owns.

#include <chrono>
#include <cstddef>

namespace tailrace::pg {

/// Bytes that wait in its receive queue.
std::size_t readable_bytes(int socket);
/// True when it has something to read, or is closed; false when the time is over. A signal counts as nothing.
bool wait_readable(int socket, std::chrono::microseconds timeout);

}  // namespace tailrace::pg
