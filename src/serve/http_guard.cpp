#include "serve/http_guard.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string>

namespace tailrace::serve {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

}  // namespace

bool is_loopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) != 0;
  }
  return false;
}

std::size_t end_of_head(std::string_view received) {
  for (auto at = received.find('\n'); at != std::string_view::npos; at = received.find('\n', at + 1)) {
    auto rest = received.substr(at + 1);
    if (rest.starts_with('\n')) return at + 2;
    if (rest.starts_with("\r\n")) return at + 3;
  }
  return std::string_view::npos;
}

std::string without_useless_headers(std::string_view head) {
  std::string out;
  while (!head.empty()) {
    auto line = head.substr(0, std::min(head.find('\n'), head.size() - 1) + 1);
    head.remove_prefix(line.size());
    auto name = lower(line.substr(0, std::min(line.find(':'), line.size())));
    // Nobody writes blanks there who means well.
    while (name.ends_with(' ') || name.ends_with('\t')) name.pop_back();
    if (name != "range" && name != "accept-encoding") out += line;
  }
  return out;
}

bool is_local_host(std::string_view host_header) {
  std::string host(host_header);
  if (host.starts_with('[')) {
    auto end = host.find(']');
    return end != std::string::npos && host.substr(1, end - 1) == "::1";
  }
  if (auto colon = host.find(':'); colon != std::string::npos) host.resize(colon);
  host = lower(host);
  if (host == "localhost") return true;
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

}  // namespace tailrace::serve
