#include "base/printable.h"

#include <fmt/format.h>

#include <algorithm>

namespace tailrace {
namespace {

struct Character {
  char32_t point = 0;
  std::size_t bytes = 0;  ///< 0: not UTF-8
};

/// The first character. Overlong forms and surrogates are not UTF-8.
Character first_of(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(0);
  std::size_t size = lead < 0x80                   ? 1
                     : lead >= 0xc2 && lead < 0xe0 ? 2
                     : lead >= 0xe0 && lead < 0xf0 ? 3
                     : lead >= 0xf0 && lead < 0xf5 ? 4
                                                   : 0;
  if (size == 0 || text.size() < size) return {};
  if (size == 1) return {lead, 1};
  auto point = static_cast<char32_t>(lead & (0x7f >> size));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    point = point << 6 | (byte(i) & 0x3f);
  }
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < least[size] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return {};
  return {point, size};
}

bool is_obeyed(char32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c ||
         (point >= 0x200e && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2066 && point <= 0x2069);
}

}  // namespace

std::string printable(std::string_view text, bool lines) {
  bool plain = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (plain) return std::string(text);
  std::string out;
  out.reserve(text.size() + 16);
  while (!text.empty()) {
    Character next = first_of(text);
    if (next.bytes == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
      continue;
    }
    if (next.point == '\t')
      out += ' ';
    else if (lines && next.point == '\n')
      out += '\n';
    else if (!is_obeyed(next.point))
      out += text.substr(0, next.bytes);
    else if (next.point < 0x80)
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(next.point));
    else
      out += fmt::format("\\u{{{:x}}}", static_cast<unsigned>(next.point));
    text.remove_prefix(next.bytes);
  }
  return out;
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t most = 5;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > most) out += fmt::format(", ... and {} more", names.size() - most);
  return out;
}

}  // namespace tailrace
