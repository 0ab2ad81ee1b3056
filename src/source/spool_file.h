#pragma once
// SpoolFile: blocks of bytes, compressed, in a file without a name; chains of them, of one transaction or of
// many.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tailrace::source {

/// One thread. Its room on the disk is free again when it is destroyed.
class SpoolFile {
 public:
  /// Error(transient): it cannot be made there.
  explicit SpoolFile(std::string directory);
  ~SpoolFile();
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  /// Blocks in the order in which they were appended.
  struct Chain {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    bool any = false;
  };
  /// Error(transient): there is no room.
  void append(Chain& chain, std::string_view block);
  /// Reads the block at `at`; where the next one of its chain is, or 0.
  std::uint64_t read(std::uint64_t at, std::vector<char>& block) const;

  std::uint64_t bytes() const { return end_; }

 private:
  void write(const char* bytes, std::size_t size, std::uint64_t at);

  std::string directory_;
  int descriptor_ = -1;
  std::uint64_t end_ = 0;
  std::vector<char> compressed_;
};

}  // namespace tailrace::source
