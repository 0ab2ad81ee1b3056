#include "base/lsn.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <ctime>

namespace tailrace {

std::string Lsn::str() const {
  return fmt::format("{:X}/{:X}", value >> 32, value & 0xffffffffu);
}

std::optional<Lsn> Lsn::parse(std::string_view text) {
  auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  std::uint32_t high = 0;
  std::uint32_t low = 0;
  auto read = [](std::string_view digits, std::uint32_t& out) {
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
    return ec == std::errc() && end == digits.data() + digits.size();
  };
  if (!read(text.substr(0, slash), high) || !read(text.substr(slash + 1), low)) return std::nullopt;
  return Lsn{(static_cast<std::uint64_t>(high) << 32) | low};
}

PgTimestamp PgTimestamp::now() {
  using namespace std::chrono;
  auto unix_micros = duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
  return {unix_micros - pg_epoch_unix_seconds * 1'000'000};
}

std::string PgTimestamp::str() const {
  std::int64_t seconds = micros / 1'000'000;
  std::int64_t fraction = micros % 1'000'000;
  if (fraction < 0) {
    fraction += 1'000'000;
    --seconds;
  }
  std::time_t unix_seconds = seconds + pg_epoch_unix_seconds;
  std::tm parts{};
  gmtime_r(&unix_seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, fraction);
}

}  // namespace tailrace
