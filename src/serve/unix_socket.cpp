#include "serve/unix_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/user_name.h"

namespace tailrace::serve {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    throw Error(Retry::needs_operator,
                fmt::format("the control socket's path is {} bytes long, and a Unix socket takes {}",
                            path.size(), sizeof(address.sun_path) - 1),
                "Set control_socket to a shorter path");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Error failed(std::string_view doing, const std::string& path) {
  return Error(Retry::needs_operator,
               fmt::format("cannot {} the control socket {}: {}", doing, path, std::strerror(errno)),
               "Check the folder's permissions, or set control_socket to a path that this user may use");
}

/// Whose it is, as far as this user may see: the socket, or the folder that keeps it from looking.
std::optional<uid_t> owner_of(const std::string& path) {
  for (std::filesystem::path at = path; at.has_relative_path(); at = at.parent_path()) {
    struct stat info{};
    if (::lstat(at.c_str(), &info) == 0) return info.st_uid;
    if (errno != EACCES) return std::nullopt;
  }
  return std::nullopt;
}

Error not_reached(const std::string& path) {
  bool forbidden = errno == EACCES;
  auto error = failed("reach", path);
  auto owner = forbidden ? owner_of(path) : std::nullopt;
  if (!owner || *owner == ::geteuid()) return error;
  auto name = user_name(*owner);
  return Error(Retry::needs_operator, fmt::format("the mirror that listens at {} is user {}'s", path, name),
               *owner == 0 ? "Ask as root: sudo tailrace ..."
                           : fmt::format("Ask as that user or as root: sudo -u {} tailrace ...", name));
}

Descriptor open_socket(const std::string& path, int more = 0) {
  Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | more, 0));
  if (!fd.valid()) throw failed("open", path);
  return fd;
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}
Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

bool peer_is_ours(int fd, std::optional<uid_t> another) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == ::geteuid() || peer.uid == 0 || peer.uid == another);
}

Descriptor connect_unix(const std::string& path, bool any_for_root, std::optional<uid_t> another) {
  auto address = address_of(path);
  Descriptor fd = open_socket(path, another ? SOCK_NONBLOCK : 0);
  // One that accepts nobody must not keep us.
  timeval patience{2, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) return Descriptor();
    throw not_reached(path);
  }
  // In a folder that all may write to, somebody else could wait under this name.
  if (!peer_is_ours(fd.get(), another) && !(any_for_root && ::geteuid() == 0))
    throw Error(Retry::needs_operator, fmt::format("another user's process answers at {}", path),
                "Ask as that user, or set control_socket to a path in a folder of your own");
  return fd;
}

Descriptor connect_at_once(const std::string& path, std::optional<uid_t> another, int& why) {
  why = ENAMETOOLONG;
  if (path.size() >= sizeof(sockaddr_un::sun_path)) return Descriptor();
  auto address = address_of(path);
  Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    why = errno;
    return Descriptor();
  }
  why = EPERM;
  if (!peer_is_ours(fd.get(), another)) return Descriptor();
  why = 0;
  return fd;
}

Descriptor listen_unix(const std::string& path) {
  auto address = address_of(path);
  Descriptor fd = open_socket(path);
  // Before bind, so that there is no moment in which others may connect.
  ::fchmod(fd.get(), 0600);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    throw failed("create", path);
  ::chmod(path.c_str(), 0600);
  if (::listen(fd.get(), 16) != 0) throw failed("listen on", path);
  return fd;
}

bool wait_readable(int fd, int milliseconds) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, milliseconds) > 0;
}

bool peer_gone(int fd) {
  pollfd entry{fd, POLLOUT, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR)) != 0;
}

bool send_all(int fd, std::string_view bytes, const std::function<bool()>& hurry) {
  constexpr auto patience = std::chrono::seconds(30);
  constexpr auto hurried = std::chrono::milliseconds(500);
  auto since = std::chrono::steady_clock::now();
  while (!bytes.empty()) {
    auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      since = std::chrono::steady_clock::now();
      continue;
    }
    if (sent == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) return false;
    // Somebody who does not read what they asked for is not waited for.
    auto stuck = std::chrono::steady_clock::now() - since;
    if (stuck > patience || (stuck > hurried && hurry && hurry())) return false;
    pollfd entry{fd, POLLOUT, 0};
    ::poll(&entry, 1, 100);
  }
  return true;
}

bool receive_some(int fd, std::string& into) {
  char buffer[16384];
  ssize_t got = 0;
  do got = ::recv(fd, buffer, sizeof(buffer), 0);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return false;
  into.append(buffer, static_cast<std::size_t>(got));
  return true;
}

}  // namespace tailrace::serve
