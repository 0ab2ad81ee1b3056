#pragma once
// ListenAddress: where a server of ours is to be reached, as people write it.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace tailrace::config {

struct ListenAddress {
  std::string host;  ///< a name or an address, without brackets
  std::uint16_t port = 0;

  std::string str() const;
};

/// "9187" (this machine alone), "HOST:9187", "[::1]:9187".
std::expected<ListenAddress, std::string> parse_listen_address(std::string_view text);

}  // namespace tailrace::config
