#include "source/spool_file.h"

#include <fcntl.h>
#include <lz4.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace tailrace::source {
namespace {

struct BlockHeader {
  std::uint32_t raw_size;
  std::uint32_t compressed_size;
  std::uint64_t next;  ///< of the chain; 0, where no block but a first one is: none
};

[[noreturn]] void fail(const char* what, const std::string& directory) {
  throw Error(Retry::transient,
              fmt::format("{} a spool file in {} failed: {}", what, directory, std::strerror(errno)),
              "Free space there, or name another directory in the configuration (spool: DIRECTORY)");
}

void read_all(int descriptor, char* into, std::size_t size, std::uint64_t at) {
  while (size > 0) {
    ssize_t got = ::pread(descriptor, into, size, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(Retry::transient, "a spooled transaction cannot be read back from its file");
    into += got;
    at += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace

SpoolFile::SpoolFile(std::string directory) : directory_(std::move(directory)) {
  // Without a name: whatever happens, nothing stays behind.
  std::string path = directory_ + "/tailrace-spool-XXXXXX";
  descriptor_ = mkostemp(path.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail("making", directory_);
  unlink(path.c_str());
}

SpoolFile::~SpoolFile() {
  close(descriptor_);
}

void SpoolFile::write(const char* bytes, std::size_t size, std::uint64_t at) {
  while (size > 0) {
    ssize_t written = ::pwrite(descriptor_, bytes, size, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("writing", directory_);
    bytes += written;
    at += static_cast<std::uint64_t>(written);
    size -= static_cast<std::size_t>(written);
  }
}

void SpoolFile::append(Chain& chain, std::string_view block) {
  auto raw_size = static_cast<int>(block.size());
  compressed_.resize(sizeof(BlockHeader) + static_cast<std::size_t>(LZ4_compressBound(raw_size)));
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): the size goes along
  int size = LZ4_compress_default(block.data(), compressed_.data() + sizeof(BlockHeader), raw_size,
                                  static_cast<int>(compressed_.size() - sizeof(BlockHeader)));
  TAILRACE_CHECK(size > 0);
  BlockHeader header{static_cast<std::uint32_t>(raw_size), static_cast<std::uint32_t>(size), 0};
  std::memcpy(compressed_.data(), &header, sizeof(header));
  std::size_t whole = sizeof(header) + static_cast<std::size_t>(size);
  write(compressed_.data(), whole, end_);
  if (chain.any)
    write(reinterpret_cast<const char*>(&end_), sizeof(end_), chain.last + offsetof(BlockHeader, next));
  else
    chain.first = end_;
  chain.last = end_;
  chain.any = true;
  end_ += whole;
  // What a rare large block needed is given back.
  if (compressed_.capacity() > (1U << 20)) std::vector<char>().swap(compressed_);
}

std::uint64_t SpoolFile::read(std::uint64_t at, std::vector<char>& block) const {
  BlockHeader header{};
  read_all(descriptor_, reinterpret_cast<char*>(&header), sizeof(header), at);
  std::vector<char> compressed(header.compressed_size);
  read_all(descriptor_, compressed.data(), compressed.size(), at + sizeof(header));
  block.resize(header.raw_size);
  if (LZ4_decompress_safe(compressed.data(), block.data(), static_cast<int>(compressed.size()),
                          static_cast<int>(block.size())) != static_cast<int>(block.size()))
    throw Error(Retry::transient, "a spooled transaction cannot be read back from its file");
  return header.next;
}

}  // namespace tailrace::source
