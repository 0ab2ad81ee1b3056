#pragma once
// TransactionSpool: transactions that may yet be rolled back wait here, on disk and compressed: those streamed
// while in progress (protocol 2 and later), and prepared ones (protocol 3) until their COMMIT PREPARED. Not
// durable, and need not be: nothing of them is acknowledged before they are applied, so the server sends them
// again after a crash.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/lsn.h"
#include "source/spool_file.h"

namespace tailrace::source {

/// Reads back one spooled transaction, message by message, without those of aborted subtransactions.
class SpoolReader {
 public:
  SpoolReader(std::shared_ptr<const SpoolFile> file, SpoolFile::Chain chain, std::string tail,
              std::set<Xid> aborted, bool with_xid);
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

  std::shared_ptr<const SpoolFile> file_;
  std::uint64_t next_;  ///< block
  bool more_;           ///< there is one
  std::string tail_;    ///< the last records, which never went to the file
  std::set<Xid> aborted_;
  bool with_xid_;
  bool tail_loaded_ = false;
  std::vector<char> block_;
  std::size_t at_ = 0;
};

/// One thread. Holds some 16 MB at most in memory and some 40 descriptors, however many transactions there are.
class TransactionSpool {
 public:
  explicit TransactionSpool(std::string directory) : directory_(std::move(directory)) {}

  /// Keeps a message of transaction `xid`, sent for its subtransaction `subxid` (the same for the top level).
  void add(Xid xid, Xid subxid, std::uint64_t arrival, std::string_view payload, bool with_xid);
  void abort(Xid xid, Xid subxid);
  /// All that is neither aborted nor prepared nor taken.
  void forget_open();
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
    std::shared_ptr<SpoolFile> file;
    SpoolFile::Chain chain;
    std::string pending;  ///< records not yet compressed into the file
    std::set<Xid> aborted;
    bool with_xid = false;
    Lsn prepare_lsn;
  };

  void write_block(Entry& entry);
  void write_all();
  std::shared_ptr<SpoolFile> file_for_one_more();
  Entry remove(Xid xid);
  Entry remove_prepared(const std::string& gid);
  static std::unique_ptr<SpoolReader> reader(Entry entry);

  std::string directory_;
  std::map<Xid, Entry> open_;
  std::map<std::string, Entry> prepared_;
  std::size_t pending_bytes_ = 0;  ///< of all that is in the two
  std::vector<std::weak_ptr<SpoolFile>> own_;
  std::weak_ptr<SpoolFile> shared_;
};

}  // namespace tailrace::source
