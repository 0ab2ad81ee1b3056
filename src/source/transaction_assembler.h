#pragma once
// TransactionAssembler: pgoutput messages, one after the other, become ChangeBatches. Bounded: a transaction
// larger than a batch is handed on in parts, and one that is still in progress at the source waits on disk. One
// of those at a time can also be handed out ahead, as it comes, for a target that applies what it can roll
// back.

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "model/change_batch.h"
#include "model/seen_transactions.h"
#include "pgoutput/decoder.h"
#include "source/batch_builder.h"
#include "source/described_leaves.h"
#include "source/relation_cache.h"
#include "source/transaction_spool.h"

namespace tailrace::source {

/// One thread: the reader's.
class TransactionAssembler {
 public:
  /// What to do before the next message is added.
  enum class Then {
    go_on,
    replay,        ///< a spooled transaction is to be read back: call replay() until it is done
    commit_ahead,  ///< a transaction that was handed out ahead commits: hand over what was gathered, the last
                   ///< part and seal_ahead_commit(); once its fate is known, end_ahead()
  };

  struct Options {
    /// Takes the files of transactions that are streamed while in progress or prepared.
    std::string spool_directory;
    /// Transactions that commit before this are in the target already and are left out: a slot with prepared
    /// transactions open is read again from before them.
    Lsn applied = {};
    /// So are those that the snapshot showed which the target's rows come from.
    std::optional<SeenTransactions> seen = {};
    /// Transactions that name a replication origin are left out too.
    bool local_only = false;
    /// A transaction that is streamed while in progress is also handed out part by part, as it comes.
    bool ahead = false;
    /// What the descriptions of all tables may need.
    std::size_t relation_bytes = std::numeric_limits<std::size_t>::max();
  };

  explicit TransactionAssembler(Options options);

  /// Adds one message.
  Then add(std::string_view payload);
  /// Moves the next part of a spooled transaction into the batch; false when it is complete.
  bool replay();

  /// In the middle of a transaction, whose rest is still to come.
  bool in_transaction() const { return open_; }
  std::size_t bytes() const { return batch_.bytes(); }
  std::size_t filled_bytes() const { return batch_.filled_bytes(); }
  bool has_changes() const { return !batch_.empty(); }
  /// End of the last complete transaction seen.
  Lsn progress() const { return progress_; }
  /// End of the last one that was not left out.
  Lsn last_kept() const { return last_kept_; }
  /// Outside of a transaction: the server has sent everything that ends at or before `lsn`.
  void advance(Lsn lsn) { progress_ = std::max(progress_, lsn); }
  /// Transactions that are in progress come again from their beginning. Between messages of whole transactions.
  void forget_unfinished();
  /// Nothing at or after this may be acknowledged: a prepared transaction that was received waits for its
  /// outcome. Invalid when there is none.
  Lsn acknowledge_below() const { return spool_.oldest_prepared(); }

  /// Hands over what was gathered; the rest of an open transaction goes into the next batch.
  std::shared_ptr<const ChangeBatch> seal(bool caught_up = false);

  /// A part of the transaction ahead is worth handing over. What was gathered goes first: the part comes after
  /// that.
  bool ahead_part_due() const;
  std::shared_ptr<const ChangeBatch> seal_ahead_part();
  std::shared_ptr<const ChangeBatch> seal_ahead_commit();
  const AheadTransaction& ahead() const { return *ahead_->transaction; }
  /// True if it is to be read back: it was given up.
  bool end_ahead();

 private:
  /// A transaction that is handed out while it is in progress.
  struct Ahead {
    Ahead(Xid xid, std::size_t relation_bytes)
        : transaction(std::make_shared<AheadTransaction>(xid)), relations(relation_bytes) {}

    std::shared_ptr<AheadTransaction> transaction;
    BatchBuilder part;
    RelationCache relations;
    DescribedLeaves leaves;
    bool first_part = true;
  };

  bool spool(const pgoutput::Message& message, std::string_view payload);
  Then control(const pgoutput::Message& message);
  void add_row(const pgoutput::Message& message, std::string_view payload);
  void add_content(const pgoutput::Message& message, std::string_view payload, std::uint64_t arrival);
  void begin(const pgoutput::Message& message);
  void set_origin(const pgoutput::Message& message);
  void end(Lsn commit_lsn, Lsn end_lsn, PgTimestamp time);
  void note_end(Lsn end_lsn);
  const std::shared_ptr<const Relation>& find_relation(Oid oid) const;
  void start_replay(std::unique_ptr<SpoolReader> reader);
  void finish_replay();
  void begin_ahead(Xid xid);
  void add_ahead(const pgoutput::Message& message, std::string_view payload);
  void give_up_ahead(Xid xid);
  Then commit(const pgoutput::Message& message);

  Options options_;
  pgoutput::Decoder decoder_;
  pgoutput::Decoder replay_decoder_;
  TransactionSpool spool_;
  RelationCache relations_;
  /// What a transaction that is being read back brought itself: it may be older than what came meanwhile.
  RelationCache replayed_relations_;
  DescribedLeaves leaves_;
  std::uint64_t arrivals_ = 0;

  BatchBuilder batch_;
  bool open_ = false;
  bool skipping_ = false;  ///< the open transaction is in the target already, or not wanted
  bool foreign_ = false;   ///< the open transaction is not wanted, for its origin
  TransactionSpan current_;
  Xid block_xid_ = 0;  ///< transaction of the stream block or prepare that we are in, else 0
  Lsn replay_end_;     ///< end_lsn of the transaction that is being read back
  std::unique_ptr<SpoolReader> replay_;
  std::optional<Ahead> ahead_;
  Lsn progress_;
  Lsn last_kept_;
};

}  // namespace tailrace::source
