#include "source/transaction_spool.h"

#include <cstring>
#include <utility>

#include "base/error.h"

namespace tailrace::source {
namespace {

constexpr std::size_t block_bytes = 256 * 1024;
// Of all transactions together that wait in memory to become blocks.
constexpr std::size_t pending_at_most = 16 << 20;
// So many transactions have a file of their own, whose room is free as soon as they end. What is open beyond
// that, a descriptor each would be too many of, shares one; another one once that is large, so that its room is
// free some day.
constexpr std::size_t own_files = 32;
constexpr std::uint64_t shared_file_bytes = 1ULL << 30;
// More than max_connections and max_prepared_transactions of a PostgreSQL server allow.
constexpr std::size_t most_transactions = 600'000;

struct RecordHeader {
  std::uint32_t size;
  Xid subxid;
  std::uint64_t arrival;
};

}  // namespace

SpoolReader::SpoolReader(std::shared_ptr<const SpoolFile> file, SpoolFile::Chain chain, std::string tail,
                         std::set<Xid> aborted, bool with_xid)
    : file_(std::move(file)),
      next_(chain.first),
      more_(chain.any),
      tail_(std::move(tail)),
      aborted_(std::move(aborted)),
      with_xid_(with_xid) {}

bool SpoolReader::load_block() {
  at_ = 0;
  block_.clear();
  if (more_) {
    next_ = file_->read(next_, block_);
    more_ = next_ != 0;
    return true;
  }
  file_.reset();
  if (std::exchange(tail_loaded_, true)) return false;
  block_.assign(tail_.begin(), tail_.end());
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

void TransactionSpool::add(Xid xid, Xid subxid, std::uint64_t arrival, std::string_view payload,
                           bool with_xid) {
  Entry& entry = open_[xid];
  entry.with_xid = with_xid;
  RecordHeader header{static_cast<std::uint32_t>(payload.size()), subxid, arrival};
  entry.pending.append(reinterpret_cast<const char*>(&header), sizeof(header));
  entry.pending.append(payload);
  pending_bytes_ += sizeof(header) + payload.size();
  if (entry.pending.size() >= block_bytes) write_block(entry);
  if (pending_bytes_ > pending_at_most) write_all();
  if (open_.size() + prepared_.size() > most_transactions)
    throw Error(Retry::fatal, "the server streams more transactions at a time than PostgreSQL can have open",
                "Check what stands between tailrace and the server, and connect to the server itself");
}

void TransactionSpool::write_block(Entry& entry) {
  if (!entry.file) entry.file = file_for_one_more();
  entry.file->append(entry.chain, entry.pending);
  pending_bytes_ -= entry.pending.size();
  entry.pending.clear();
}

/// Many small ones: each alone would wait for more.
void TransactionSpool::write_all() {
  auto write = [&](auto& entries) {
    for (auto& [key, entry] : entries) {
      if (entry.pending.empty()) continue;
      write_block(entry);
      entry.pending.shrink_to_fit();
    }
  };
  write(open_);
  write(prepared_);
}

std::shared_ptr<SpoolFile> TransactionSpool::file_for_one_more() {
  std::erase_if(own_, [](const auto& file) { return file.expired(); });
  if (own_.size() < own_files) {
    auto file = std::make_shared<SpoolFile>(directory_);
    own_.push_back(file);
    return file;
  }
  auto shared = shared_.lock();
  if (!shared || shared->bytes() > shared_file_bytes) {
    shared = std::make_shared<SpoolFile>(directory_);
    shared_ = shared;
  }
  return shared;
}

TransactionSpool::Entry TransactionSpool::remove(Xid xid) {
  auto node = open_.extract(xid);
  if (node.empty()) return {};
  pending_bytes_ -= node.mapped().pending.size();
  return std::move(node.mapped());
}

TransactionSpool::Entry TransactionSpool::remove_prepared(const std::string& gid) {
  auto node = prepared_.extract(gid);
  if (node.empty()) return {};
  pending_bytes_ -= node.mapped().pending.size();
  return std::move(node.mapped());
}

void TransactionSpool::forget_open() {
  while (!open_.empty()) remove(open_.begin()->first);
}

void TransactionSpool::abort(Xid xid, Xid subxid) {
  if (xid == subxid) {
    remove(xid);
  } else if (auto found = open_.find(xid); found != open_.end()) {
    found->second.aborted.insert(subxid);
  }
}

void TransactionSpool::prepare(Xid xid, const std::string& gid, Lsn prepare_lsn) {
  remove_prepared(gid);
  Entry entry = remove(xid);
  entry.prepare_lsn = prepare_lsn;
  pending_bytes_ += entry.pending.size();
  prepared_.insert_or_assign(gid, std::move(entry));
}

std::unique_ptr<SpoolReader> TransactionSpool::reader(Entry entry) {
  return std::make_unique<SpoolReader>(std::move(entry.file), entry.chain, std::move(entry.pending),
                                       std::move(entry.aborted), entry.with_xid);
}

std::unique_ptr<SpoolReader> TransactionSpool::take(Xid xid) {
  return reader(remove(xid));
}

std::unique_ptr<SpoolReader> TransactionSpool::take_prepared(const std::string& gid) {
  TAILRACE_CHECK(prepared_.contains(gid));
  return reader(remove_prepared(gid));
}

void TransactionSpool::drop_prepared(const std::string& gid) {
  remove_prepared(gid);
}

Lsn TransactionSpool::oldest_prepared() const {
  Lsn oldest;
  for (const auto& [gid, entry] : prepared_) {
    if (!oldest.valid() || entry.prepare_lsn < oldest) oldest = entry.prepare_lsn;
  }
  return oldest;
}

}  // namespace tailrace::source
