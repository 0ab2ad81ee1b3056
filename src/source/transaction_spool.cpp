#include "source/transaction_spool.h"

#include <fcntl.h>
#include <lz4.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace tailrace::source {
namespace {

constexpr std::size_t block_bytes = 256 * 1024;

struct RecordHeader {
  std::uint32_t size;
  Xid subxid;
  std::uint64_t arrival;
};

struct BlockHeader {
  std::uint32_t raw_size;
  std::uint32_t compressed_size;
};

[[noreturn]] void fail(const char* what, const std::string& directory) {
  throw Error(Retry::transient,
              fmt::format("{} a spool file in {} failed: {}", what, directory, std::strerror(errno)),
              "Free space there, or name another directory in the configuration (spool: DIRECTORY)");
}

/// A file without a name: whatever happens, nothing stays behind.
std::FILE* open_nameless(const std::string& directory) {
  std::string path = directory + "/tailrace-spool-XXXXXX";
  int descriptor = mkostemp(path.data(), O_CLOEXEC);
  if (descriptor < 0) fail("making", directory);
  unlink(path.c_str());
  std::FILE* file = fdopen(descriptor, "w+b");
  if (file == nullptr) {
    close(descriptor);
    fail("opening", directory);
  }
  return file;
}

}  // namespace

SpoolReader::SpoolReader(std::FILE* file, std::string tail, std::set<Xid> aborted, bool with_xid)
    : file_(file), tail_(std::move(tail)), aborted_(std::move(aborted)), with_xid_(with_xid) {
  if (file_ != nullptr && std::fseek(file_, 0, SEEK_SET) != 0)
    throw Error(Retry::transient, "a spooled transaction cannot be read back from its file");
}

SpoolReader::~SpoolReader() {
  if (file_ != nullptr) std::fclose(file_);
}

bool SpoolReader::load_block() {
  BlockHeader header{};
  if (file_ != nullptr && std::fread(&header, sizeof(header), 1, file_) == 1) {
    std::vector<char> compressed(header.compressed_size);
    block_.resize(header.raw_size);
    if (std::fread(compressed.data(), 1, compressed.size(), file_) != compressed.size() ||
        LZ4_decompress_safe(compressed.data(), block_.data(), static_cast<int>(compressed.size()),
                            static_cast<int>(block_.size())) != static_cast<int>(block_.size())) {
      throw Error(Retry::transient, "a spooled transaction cannot be read back from its file");
    }
    at_ = 0;
    return true;
  }
  if (file_ != nullptr && std::ferror(file_) != 0) {
    throw Error(Retry::transient, "a spooled transaction cannot be read back from its file");
  }
  if (std::exchange(tail_loaded_, true)) return false;
  block_.assign(tail_.begin(), tail_.end());
  at_ = 0;
  return true;
}

std::optional<SpoolReader::Record> SpoolReader::next() {
  for (;;) {
    if (at_ == block_.size()) {
      if (!load_block()) return std::nullopt;
      continue;
    }
    RecordHeader header{};
    std::memcpy(&header, block_.data() + at_, sizeof(header));
    std::string_view payload(block_.data() + at_ + sizeof(header), header.size);
    at_ += sizeof(header) + header.size;
    if (aborted_.contains(header.subxid)) continue;
    return Record{header.arrival, payload};
  }
}

TransactionSpool::Entry::Entry(Entry&& other) noexcept {
  *this = std::move(other);
}

TransactionSpool::Entry& TransactionSpool::Entry::operator=(Entry&& other) noexcept {
  std::swap(file, other.file);
  pending = std::move(other.pending);
  aborted = std::move(other.aborted);
  with_xid = other.with_xid;
  prepare_lsn = other.prepare_lsn;
  return *this;
}

TransactionSpool::Entry::~Entry() {
  if (file != nullptr) std::fclose(file);
}

void TransactionSpool::add(Xid xid, Xid subxid, std::uint64_t arrival, std::string_view payload,
                           bool with_xid) {
  Entry& entry = open_[xid];
  entry.with_xid = with_xid;
  RecordHeader header{static_cast<std::uint32_t>(payload.size()), subxid, arrival};
  entry.pending.append(reinterpret_cast<const char*>(&header), sizeof(header));
  entry.pending.append(payload);
  if (entry.pending.size() >= block_bytes) write_block(entry);
}

void TransactionSpool::write_block(Entry& entry) {
  if (entry.file == nullptr) entry.file = open_nameless(directory_);
  auto raw_size = static_cast<int>(entry.pending.size());
  std::vector<char> compressed(static_cast<std::size_t>(LZ4_compressBound(raw_size)));
  int size = LZ4_compress_default(entry.pending.data(), compressed.data(), raw_size,
                                  static_cast<int>(compressed.size()));
  TAILRACE_CHECK(size > 0);
  BlockHeader header{static_cast<std::uint32_t>(raw_size), static_cast<std::uint32_t>(size)};
  if (std::fwrite(&header, sizeof(header), 1, entry.file) != 1 ||
      std::fwrite(compressed.data(), 1, static_cast<std::size_t>(size), entry.file) !=
          static_cast<std::size_t>(size)) {
    fail("writing", directory_);
  }
  entry.pending.clear();
}

void TransactionSpool::abort(Xid xid, Xid subxid) {
  if (xid == subxid) {
    open_.erase(xid);
  } else if (auto found = open_.find(xid); found != open_.end()) {
    found->second.aborted.insert(subxid);
  }
}

void TransactionSpool::prepare(Xid xid, const std::string& gid, Lsn prepare_lsn) {
  Entry entry;
  if (auto found = open_.find(xid); found != open_.end()) {
    entry = std::move(found->second);
    open_.erase(found);
  }
  entry.prepare_lsn = prepare_lsn;
  prepared_.insert_or_assign(gid, std::move(entry));
}

std::unique_ptr<SpoolReader> TransactionSpool::reader(Entry entry) {
  if (entry.file != nullptr && std::fflush(entry.file) != 0) {
    throw Error(Retry::transient, "a spool file cannot be written",
                "Free space there, or name another directory in the configuration (spool: DIRECTORY)");
  }
  return std::make_unique<SpoolReader>(std::exchange(entry.file, nullptr), std::move(entry.pending),
                                       std::move(entry.aborted), entry.with_xid);
}

std::unique_ptr<SpoolReader> TransactionSpool::take(Xid xid) {
  Entry entry;
  if (auto found = open_.find(xid); found != open_.end()) {
    entry = std::move(found->second);
    open_.erase(found);
  }
  return reader(std::move(entry));
}

std::unique_ptr<SpoolReader> TransactionSpool::take_prepared(const std::string& gid) {
  auto found = prepared_.find(gid);
  TAILRACE_CHECK(found != prepared_.end());
  Entry entry = std::move(found->second);
  prepared_.erase(found);
  return reader(std::move(entry));
}

void TransactionSpool::drop_prepared(const std::string& gid) {
  prepared_.erase(gid);
}

Lsn TransactionSpool::oldest_prepared() const {
  Lsn oldest;
  for (const auto& [gid, entry] : prepared_) {
    if (!oldest.valid() || entry.prepare_lsn < oldest) oldest = entry.prepare_lsn;
  }
  return oldest;
}

}  // namespace tailrace::source
