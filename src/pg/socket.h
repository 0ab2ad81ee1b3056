#pragma once
// Questions to a socket that libpq owns.

#include <chrono>
#include <cstddef>

namespace tailrace::pg {

/// Bytes that wait in its receive queue.
std::size_t readable_bytes(int socket);
/// True when the other end is less than 2 ms away: a round trip costs little, and what 512 KiB carry in one is
/// no bound yet (250 MB/s). By the shortest round trip lately, as the kernel knows it: an answer that took the
/// server long is no measure.
bool is_near(int socket);
/// From now on fewer bytes than that do not wake who waits for the socket, over TCP. 1 is as it was.
void set_least_readable(int socket, int bytes);
/// True when it has something to read, or is closed; false when the time is over, or `other` (if it is not -1)
/// has something to read. A signal counts as nothing.
bool wait_readable(int socket, std::chrono::microseconds timeout, int other = -1);

}  // namespace tailrace::pg
