#pragma once
// UnixSocket: the few socket calls that the control server and its client share. Internal to this room.

#include <optional>
#include <string>

namespace tailrace::serve {

/// Owns a descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// Invalid when nobody listens there. Error: the path cannot be reached, or belongs to another user.
Descriptor connect_unix(const std::string& path);

/// Listens with mode 0600. Error: it cannot.
Descriptor listen_unix(const std::string& path);

/// Waits until there is something to read, the peer is gone, or the time is over (false).
bool wait_readable(int fd, int milliseconds);

bool peer_gone(int fd);

/// False when the peer is gone.
bool send_all(int fd, std::string_view bytes);

/// What is there now, appended. False at the end of the stream or on error.
bool receive_some(int fd, std::string& into);

}  // namespace tailrace::serve
