#pragma once
// UnixSocket: the few socket calls that the control server and its client share. Internal to this room.

#include <sys/types.h>

#include <functional>
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

/// Whether the process at the other end is this user's or root's; or `another`'s.
bool peer_is_ours(int fd, std::optional<uid_t> another = std::nullopt);

/// Invalid when nobody listens there. Error: the path cannot be reached, or another user's process listens;
/// `any_for_root`: that one is believed if we are root. `another`: a user who is believed too, but not waited
/// for.
Descriptor connect_unix(const std::string& path, bool any_for_root = false,
                        std::optional<uid_t> another = std::nullopt);

/// The same without waiting, of this user's, root's or `another`'s process alone, and without words: invalid
/// with the reason as errno says it; EPERM: somebody else listens.
Descriptor connect_at_once(const std::string& path, std::optional<uid_t> another, int& why);

/// Listens with mode 0600. Error: it cannot.
Descriptor listen_unix(const std::string& path);

/// Waits until there is something to read, the peer is gone, or the time is over (false).
bool wait_readable(int fd, int milliseconds);

bool peer_gone(int fd);

/// False when the peer is gone or takes nothing for 30 s; half a second while `hurry` says so.
bool send_all(int fd, std::string_view bytes, const std::function<bool()>& hurry = {});

/// What is there now, appended. False at the end of the stream or on error.
bool receive_some(int fd, std::string& into);

}  // namespace tailrace::serve
