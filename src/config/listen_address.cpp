#include "config/listen_address.h"

#include <charconv>

namespace tailrace::config {

std::string ListenAddress::str() const {
  return (host.contains(':') ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::expected<ListenAddress, std::string> parse_listen_address(std::string_view text) {
  auto not_understood = [] {
    return std::unexpected(
        "must be a port, or an address and a port, such as 9187, 10.0.0.5:9187 or [::1]:9187");
  };
  ListenAddress out;
  std::string_view port = text;
  if (text.starts_with('[')) {
    auto end = text.find("]:");
    if (end == std::string_view::npos) return not_understood();
    out.host = text.substr(1, end - 1);
    port = text.substr(end + 2);
  } else if (auto colon = text.find(':'); colon != std::string_view::npos) {
    // More than one would be an address of IPv6, whose end nobody could tell from the port.
    if (colon != text.rfind(':')) return not_understood();
    out.host = text.substr(0, colon);
    port = text.substr(colon + 1);
  } else {
    out.host = "127.0.0.1";
  }
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  bool whole = error == std::errc() && end == port.data() + port.size();
  if (!whole || out.port == 0 || out.host.empty()) return not_understood();
  return out;
}

}  // namespace tailrace::config
