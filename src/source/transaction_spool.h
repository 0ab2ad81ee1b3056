#pragma once
// TransactionSpool: transactions that may yet be rolled back wait here, on disk and compressed: those streamed
// while in progress (protocol 2 and later), and prepared ones (protocol 3) until their COMMIT PREPARED. Not
// durable, and need not be: nothing of them is acknowledged before they are applied, so the server sends them
// again after a crash.

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/lsn.h"

namespace tailrace::source {

/// Reads back one spooled transaction, message by message, without those of aborted subtransactions.
class SpoolReader {
 public:
  SpoolReader(std::FILE* file, std::string tail, std::set<Xid> aborted, bool with_xid);
  ~SpoolReader();
  SpoolReader(const SpoolReader&) = delete;
  SpoolReader& operator=(const SpoolReader&) = delete;

  struct Record {
    std::uint64_t arrival = 0;
    std::string_view payload;  ///< valid until the next call
  };
  std::optional<Record> next();
  /// Its messages carry their subtransaction's xid, as between stream_start and stream_stop.
  bool with_xid() const { return with_xid_; }

 private:
  bool load_block();

  std::FILE* file_;
  std::string tail_;  ///< the last records, which never went to the file
  std::set<Xid> aborted_;
  bool with_xid_;
  bool tail_loaded_ = false;
  std::vector<char> block_;
  std::size_t at_ = 0;
};

/// One thread.
class TransactionSpool {
 public:
  explicit TransactionSpool(std::string directory) : directory_(std::move(directory)) {}

  /// Keeps a message of transaction `xid`, sent for its subtransaction `subxid` (the same for the top level).
  void add(Xid xid, Xid subxid, std::uint64_t arrival, std::string_view payload, bool with_xid);
  void abort(Xid xid, Xid subxid);
  /// All that is neither aborted nor prepared nor taken.
  void forget_open() { open_.clear(); }
  /// The transaction is prepared under `gid`; its outcome comes later.
  void prepare(Xid xid, const std::string& gid, Lsn prepare_lsn);
  bool has_prepared(const std::string& gid) const { return prepared_.contains(gid); }
  /// Takes the transaction out, to be applied.
  std::unique_ptr<SpoolReader> take(Xid xid);
  std::unique_ptr<SpoolReader> take_prepared(const std::string& gid);
  void drop_prepared(const std::string& gid);

  /// The lowest LSN of a PREPARE that waits for its outcome; invalid if none does.
  Lsn oldest_prepared() const;

 private:
  struct Entry {
    std::FILE* file = nullptr;
    std::string pending;  ///< records not yet compressed into the file
    std::set<Xid> aborted;
    bool with_xid = false;
    Lsn prepare_lsn;

    Entry() = default;
    Entry(Entry&& other) noexcept;
    Entry& operator=(Entry&& other) noexcept;
    ~Entry();
  };

  void write_block(Entry& entry);
  static std::unique_ptr<SpoolReader> reader(Entry entry);

  std::string directory_;
  std::map<Xid, Entry> open_;
  std::map<std::string, Entry> prepared_;
};

}  // namespace tailrace::source
