#pragma once
// TransactionAssembler: pgoutput messages, one after the other, become ChangeBatches. Bounded: a transaction
// larger than a batch is handed on in parts, and one that is still in progress at the source waits on disk.

#include <memory>
#include <string_view>
#include <unordered_map>

#include "model/change_batch.h"
#include "pgoutput/decoder.h"
#include "source/transaction_spool.h"

namespace tailrace::source {

/// One thread: the reader's.
class TransactionAssembler {
 public:
  /// `spool_directory` takes the files of transactions that are streamed while in progress or prepared.
  /// Transactions that commit before `applied` are in the target already and are left out: a slot with prepared
  /// transactions open is read again from before them.
  /// `local_only`: transactions that name a replication origin are left out too.
  TransactionAssembler(const std::string& spool_directory, Lsn applied, bool local_only = false);

  /// Adds one message. True when a spooled transaction is now to be read back: call replay() until it is done
  /// before the next add().
  bool add(std::string_view payload);
  /// Moves the next part of a spooled transaction into the batch; false when it is complete.
  bool replay();

  /// In the middle of a transaction, whose rest is still to come.
  bool in_transaction() const { return open_; }
  std::size_t bytes() const { return batch_->bytes(); }
  bool has_changes() const { return !batch_->empty(); }
  /// End of the last complete transaction seen.
  Lsn progress() const { return progress_; }
  /// End of the last one that was not left out.
  Lsn last_kept() const { return last_kept_; }
  /// Outside of a transaction: the server has sent everything that ends at or before `lsn`.
  void advance(Lsn lsn) { progress_ = std::max(progress_, lsn); }
  /// Nothing at or after this may be acknowledged: a prepared transaction that was received waits for its
  /// outcome. Invalid when there is none.
  Lsn acknowledge_below() const { return spool_.oldest_prepared(); }

  /// Hands over what was gathered; the rest of an open transaction goes into the next batch.
  std::shared_ptr<const ChangeBatch> seal(bool caught_up = false);

 private:
  struct CachedRelation {
    std::shared_ptr<const Relation> relation;
    std::uint64_t arrival = 0;  ///< order in which the description came from the server
    std::uint64_t batch = 0;    ///< serial of the batch in which `index` counts
    std::uint32_t index = 0;
  };

  bool spool(const pgoutput::Message& message, std::string_view payload);
  bool control(const pgoutput::Message& message);
  void add_content(const pgoutput::Message& message, std::string_view payload, std::uint64_t arrival);
  void begin(const pgoutput::Message& message);
  void set_origin(const pgoutput::Message& message);
  void end(Lsn commit_lsn, Lsn end_lsn, PgTimestamp time);
  void add_row(const pgoutput::Message& message, std::string_view payload);
  void add_truncate(const pgoutput::Message& message);
  void add_logical_message(const pgoutput::Message& message);
  void put_relation(const Relation& relation, std::uint64_t arrival);
  CachedRelation& find_relation(Oid oid);
  std::uint32_t relation_index(Oid oid);
  void start_replay(const pgoutput::Message& message, std::unique_ptr<SpoolReader> reader);
  void finish_replay();

  pgoutput::Decoder decoder_;
  pgoutput::Decoder replay_decoder_;
  TransactionSpool spool_;
  std::unordered_map<Oid, CachedRelation> relations_;
  /// What a transaction that is being read back brought itself: it may be older than what came meanwhile.
  std::unordered_map<Oid, CachedRelation> replayed_relations_;
  CachedRelation* last_relation_ = nullptr;
  Oid last_oid_ = 0;
  std::uint64_t arrivals_ = 0;

  std::shared_ptr<ChangeBatch> batch_;
  std::uint64_t batch_serial_ = 1;
  bool open_ = false;
  bool skipping_ = false;  ///< the open transaction is in the target already, or not wanted
  Lsn applied_;
  bool local_only_;
  TransactionSpan current_;
  Xid block_xid_ = 0;  ///< transaction of the stream block or prepare that we are in, else 0
  Lsn replay_end_;     ///< end_lsn of the transaction that is being read back
  std::unique_ptr<SpoolReader> replay_;
  Lsn progress_;
  Lsn last_kept_;
};

}  // namespace tailrace::source
