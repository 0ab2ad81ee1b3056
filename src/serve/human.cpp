#include "serve/human.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace tailrace::serve {
namespace {

struct Range {
  char32_t first, last;
};

// Characters that terminals give two columns to: East Asian Width W and F, in rough ranges.
constexpr Range wide[] = {{0x1100, 0x115F},   {0x231A, 0x231B},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
                          {0x3400, 0x4DBF},   {0x4E00, 0xA4CF},   {0xA960, 0xA97F},   {0xAC00, 0xD7A3},
                          {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},
                          {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
// Those that stand on the one before.
constexpr Range combining[] = {{0x0300, 0x036F}, {0x0591, 0x05BD}, {0x064B, 0x065F}, {0x0E34, 0x0E3A},
                               {0x0E47, 0x0E4E}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200D},
                               {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};

bool is_among(std::span<const Range> ranges, char32_t c) {
  return std::ranges::any_of(ranges, [&](const Range& range) { return range.first <= c && c <= range.last; });
}

/// The character at `at`, which is moved behind it. What is no UTF-8 is taken byte by byte.
char32_t next_character(std::string_view text, std::size_t& at) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(at++);
  int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  char32_t out = more == 0 ? first : first & (0x3FU >> more);
  for (; more > 0 && at < text.size() && (byte(at) & 0xC0U) == 0x80; --more)
    out = out << 6U | (byte(at++) & 0x3FU);
  return out;
}

std::size_t columns_of(char32_t c) {
  if (c < 0x300) return 1;
  return is_among(combining, c) ? 0 : is_among(wide, c) ? 2 : 1;
}

}  // namespace

std::string human_count(std::int64_t count) {
  std::string digits = std::to_string(count);
  std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string human_number(std::int64_t count, std::string_view thing) {
  return fmt::format("{} {}{}", human_count(count), thing, count == 1 ? "" : "s");
}

std::string human_bytes(std::int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* next : {"kB", "MB", "GB", "TB", "PB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.{}f} {}", value, value < 10 ? 1 : 0, unit);
}

std::string human_duration(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  auto whole = static_cast<std::int64_t>(seconds);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}m {}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h {}m", whole / 3600, whole % 3600 / 60);
  return fmt::format("{}d {}h", whole / 86400, whole % 86400 / 3600);
}

std::size_t display_width(const std::string& text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) width += columns_of(next_character(text, at));
  return width;
}

std::string clip(const std::string& text, std::size_t width) {
  if (display_width(text) <= width) return text;
  if (width == 0) return "";
  std::size_t used = 0;
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size(); end = at) {
    used += columns_of(next_character(text, at));
    if (used >= width) break;
  }
  return text.substr(0, end) + "…";
}

std::vector<std::string> wrap(const std::string& text, std::size_t width, std::size_t most) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (begin < text.size() && out.size() + 1 < most) {
    std::size_t end = begin;
    std::size_t space = std::string::npos;
    std::size_t used = 0;
    for (std::size_t at = begin; at < text.size(); end = at) {
      if (text[at] == ' ') space = at;
      used += columns_of(next_character(text, at));
      if (used > width) break;
    }
    if (end == begin || used <= width) break;
    bool at_word = space != std::string::npos && space > begin;
    out.push_back(text.substr(begin, (at_word ? space : end) - begin));
    begin = at_word ? space + 1 : end;
  }
  if (begin < text.size()) out.push_back(clip(text.substr(begin), width));
  return out;
}

std::string pad_right(const std::string& text, std::size_t width) {
  std::size_t used = display_width(text);
  return used >= width ? text : text + std::string(width - used, ' ');
}

std::string pad_left(const std::string& text, std::size_t width) {
  std::size_t used = display_width(text);
  return used >= width ? text : std::string(width - used, ' ') + text;
}

}  // namespace tailrace::serve
