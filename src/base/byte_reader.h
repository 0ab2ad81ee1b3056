#pragma once
// ByteReader: bounds-checked reading of big-endian wire data. Running past the end throws Error(fatal): a
// message that lies about its length is never guessed at.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace tailrace {

template <typename T>
T load_big_endian(const std::byte* at) {
  static_assert(sizeof(T) <= 8);
  T raw;
  std::memcpy(&raw, at, sizeof(T));
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(raw)));
  } else if constexpr (sizeof(T) == 4) {
    return static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(raw)));
  } else if constexpr (sizeof(T) == 2) {
    return static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(raw)));
  } else {
    return raw;
  }
}

template <typename T>
void store_big_endian(std::byte* at, T value) {
  T swapped = load_big_endian<T>(reinterpret_cast<const std::byte*>(&value));
  std::memcpy(at, &swapped, sizeof(T));
}

/// Borrows the bytes; they must outlive the reader.
class ByteReader {
 public:
  ByteReader(const std::byte* data, std::size_t size) : at_(data), end_(data + size) {}
  explicit ByteReader(std::string_view bytes)
      : ByteReader(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()) {}

  template <typename T>
  T read() {
    need(sizeof(T));
    T value = load_big_endian<T>(at_);
    at_ += sizeof(T);
    return value;
  }

  std::uint8_t u8() { return read<std::uint8_t>(); }
  std::uint16_t u16() { return read<std::uint16_t>(); }
  std::uint32_t u32() { return read<std::uint32_t>(); }
  std::uint64_t u64() { return read<std::uint64_t>(); }
  std::int16_t i16() { return read<std::int16_t>(); }
  std::int32_t i32() { return read<std::int32_t>(); }
  std::int64_t i64() { return read<std::int64_t>(); }

  std::string_view bytes(std::size_t count) {
    need(count);
    std::string_view out(reinterpret_cast<const char*>(at_), count);
    at_ += count;
    return out;
  }

  /// A NUL-terminated string, without its NUL.
  std::string_view c_string() {
    const void* nul = at_ == end_ ? nullptr : std::memchr(at_, 0, remaining());
    if (nul == nullptr) [[unlikely]]
      fail_past_end();
    auto length = static_cast<std::size_t>(static_cast<const std::byte*>(nul) - at_);
    std::string_view out(reinterpret_cast<const char*>(at_), length);
    at_ += length + 1;
    return out;
  }

  std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }
  bool at_end() const { return at_ == end_; }
  const std::byte* position() const { return at_; }

 private:
  void need(std::size_t count) const {
    if (remaining() < count) [[unlikely]]
      fail_past_end();
  }
  [[noreturn]] static void fail_past_end() {
    throw Error(Retry::fatal, "a message from the server ends before its own fields do",
                "This is damage on the wire or a bug; nothing of it was applied");
  }

  const std::byte* at_;
  const std::byte* end_;
};

}  // namespace tailrace
