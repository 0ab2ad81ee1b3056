#include "pg/codec/utf8.h"

#include <cstdint>
#include <cstring>

namespace tailrace::pg::codec {

namespace {

// Length of the valid sequence of more than one byte at `at`, 0 if there is none.
std::size_t sequence_length(const unsigned char* at, std::size_t left) {
  unsigned lead = at[0];
  auto continues = [&](std::size_t index, unsigned low = 0x80, unsigned high = 0xBF) {
    return index < left && at[index] >= low && at[index] <= high;
  };
  if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    unsigned low = lead == 0xE0 ? 0xA0 : 0x80;   // below it the form is overlong
    unsigned high = lead == 0xED ? 0x9F : 0xBF;  // above it are the surrogates
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    unsigned high = lead == 0xF4 ? 0x8F : 0xBF;
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

template <typename Word>
bool high_bit_in(const char* at) {
  Word word = 0;
  std::memcpy(&word, at, sizeof(word));
  return (word & static_cast<Word>(0x8080808080808080U)) != 0;
}

// The last word may overlap the one before it, so no byte is looked at alone but in the shortest texts.
template <typename Word>
bool is_ascii(std::string_view text) {
  std::size_t last = text.size() - sizeof(Word);
  for (std::size_t i = 0; i < last; i += sizeof(Word)) {
    if (high_bit_in<Word>(text.data() + i)) return false;
  }
  return !high_bit_in<Word>(text.data() + last);
}

bool is_ascii(std::string_view text) {
  if (text.size() >= 8) return is_ascii<std::uint64_t>(text);
  if (text.size() >= 4) return is_ascii<std::uint32_t>(text);
  return text.empty() || is_ascii<std::uint8_t>(text);
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
  if (is_ascii(text)) return true;
  auto at = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t left = text.size();
  while (left != 0) {
    if (left >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, sizeof(word));
      if ((word & 0x8080808080808080U) == 0) {
        at += 8;
        left -= 8;
        continue;
      }
    }
    std::size_t length = *at < 0x80 ? 1 : sequence_length(at, left);
    if (length == 0) return false;
    at += length;
    left -= length;
  }
  return true;
}

}  // namespace tailrace::pg::codec
