#pragma once
// Units: sizes ("64MB") and durations ("500ms", "10s") as people write them. Sizes count in powers of 1024,
// as PostgreSQL's do.

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace tailrace::config {

std::expected<std::uint64_t, std::string> parse_size(std::string_view text);
std::expected<std::chrono::milliseconds, std::string> parse_duration(std::string_view text);

/// The largest unit that divides it: "64MB", "1500ms".
std::string format_size(std::uint64_t bytes);
std::string format_duration(std::chrono::milliseconds time);

}  // namespace tailrace::config
