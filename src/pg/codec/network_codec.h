#pragma once
// inet, cidr, macaddr and macaddr8: the text of their binary forms (PostgreSQL documentation: "Network Address
// Types"). Pure functions; false when the bytes are malformed.

#include <string>
#include <string_view>

namespace tailrace::pg::codec {

/// inet leaves out the prefix length of a single host, cidr never does.
[[nodiscard]] bool append_inet(std::string& out, std::string_view bytes);
[[nodiscard]] bool append_cidr(std::string& out, std::string_view bytes);
/// Six or eight bytes.
[[nodiscard]] bool append_mac_address(std::string& out, std::string_view bytes, std::size_t length);

}  // namespace tailrace::pg::codec
