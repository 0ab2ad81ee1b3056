#pragma once
// FNV-1a, 64 bits: names and fingerprints that must come out the same in every build. Not for hash tables.

#include <cstdint>
#include <string_view>

namespace tailrace {

constexpr std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

}  // namespace tailrace
