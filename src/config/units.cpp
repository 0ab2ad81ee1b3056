#include "config/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace tailrace::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 5> sizes{
    {{"B", 1}, {"kB", 1ULL << 10}, {"MB", 1ULL << 20}, {"GB", 1ULL << 30}, {"TB", 1ULL << 40}}};
constexpr std::array<Unit, 5> durations{
    {{"ms", 1}, {"s", 1000}, {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};

bool same_word(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

/// "64", "64MB", "1.5 GB". An empty `plain_unit` refuses numbers without a unit, 0 apart.
template <std::size_t N>
std::expected<std::uint64_t, std::string> parse(std::string_view text, const std::array<Unit, N>& units,
                                                std::string_view plain_unit, std::string_view examples) {
  auto refuse = [&] {
    return std::unexpected(fmt::format("'{}' is not understood; write {}", text, examples));
  };
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || number < 0) return refuse();
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  if (unit.empty()) {
    if (number != 0 && plain_unit.empty()) return refuse();
    unit = plain_unit.empty() ? units[0].name : plain_unit;
  }
  for (const Unit& known : units) {
    // "MiB" is what some write for the same thing.
    std::string binary =
        known.name.size() == 2 && known.name[1] == 'B' ? fmt::format("{}iB", known.name[0]) : "";
    if (!same_word(unit, known.name) && (binary.empty() || !same_word(unit, binary))) continue;
    double value = number * static_cast<double>(known.factor);
    if (value > 9.0e15) return refuse();
    return static_cast<std::uint64_t>(std::llround(value));
  }
  return refuse();
}

template <std::size_t N>
std::string format(std::uint64_t value, const std::array<Unit, N>& units) {
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit)
    if (value >= unit->factor && value % unit->factor == 0)
      return fmt::format("{}{}", value / unit->factor, unit->name);
  return fmt::format("{}{}", value, units[0].name);
}

}  // namespace

std::expected<std::uint64_t, std::string> parse_size(std::string_view text) {
  return parse(text, sizes, "B", "a size such as 64MB or 1GB");
}

std::expected<std::chrono::milliseconds, std::string> parse_duration(std::string_view text) {
  // A bare number has no unit that everybody would guess, so it must say one.
  auto count = parse(text, durations, "", "a duration with its unit, such as 500ms, 10s or 5min");
  if (!count) return std::unexpected(count.error());
  return std::chrono::milliseconds(static_cast<std::int64_t>(*count));
}

std::string format_size(std::uint64_t bytes) {
  return format(bytes, sizes);
}

std::string format_duration(std::chrono::milliseconds time) {
  return format(static_cast<std::uint64_t>(time.count()), durations);
}

}  // namespace tailrace::config
