#include "source/transaction_assembler.h"

#include <utility>

#include "base/copy_anew.h"

namespace tailrace::source {
namespace {

using pgoutput::Message;
using pgoutput::MessageType;

constexpr int replay_slice = 1000;
// Worth a COPY of its own.
constexpr std::size_t ahead_part_bytes = 4 << 20;

}  // namespace

TransactionAssembler::TransactionAssembler(Options options)
    : options_(std::move(options)),
      spool_(options_.spool_directory),
      relations_(options_.relation_bytes),
      replayed_relations_(options_.relation_bytes),
      progress_(options_.applied) {
  // Whose a transaction is, is certain at its commit only.
  if (options_.local_only) options_.ahead = false;
}

TransactionAssembler::Then TransactionAssembler::add(std::string_view payload) {
  TAILRACE_CHECK(replay_ == nullptr);
  const Message& message = decoder_.decode(payload);
  // The message that opens or closes a block is not itself part of what it encloses.
  if (block_xid_ != 0 && spool(message, payload)) return Then::go_on;
  switch (message.type) {
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove:
    case MessageType::relation:
    case MessageType::type:
    case MessageType::truncate:
    case MessageType::message:
    case MessageType::origin: add_content(message, payload, ++arrivals_); return Then::go_on;
    case MessageType::begin: begin(message); return Then::go_on;
    case MessageType::commit: end(message.commit_lsn, message.end_lsn, message.time); return Then::go_on;
    default: return control(message);
  }
}

/// Inside a stream block or a prepare everything but its end waits in the spool.
bool TransactionAssembler::spool(const Message& message, std::string_view payload) {
  switch (message.type) {
    case MessageType::stream_stop: return false;
    case MessageType::prepare:
      if (decoder_.in_stream()) out_of_order("a stream block ends as a prepare does");
      return false;
    case MessageType::relation:
      // In a prepare the server counts the description as sent for good, so it also counts here at once.
      if (!decoder_.in_stream()) {
        relations_.put(message.relation, arrivals_ + 1);
        leaves_.describe(message.relation.oid);
      }
      break;
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove:
      if (!decoder_.in_stream()) leaves_.keep_for_later(message.oid);
      break;
    case MessageType::type:
    case MessageType::truncate:
    case MessageType::message:
    case MessageType::origin: break;
    default: out_of_order("a block holds what belongs outside of it");
  }
  Xid subxid = message.xid != 0 ? message.xid : block_xid_;
  spool_.add(block_xid_, subxid, ++arrivals_, payload, decoder_.in_stream());
  if (ahead_ && ahead_->transaction->xid() == block_xid_ && ahead_->transaction->open())
    add_ahead(message, payload);
  return true;
}

TransactionAssembler::Then TransactionAssembler::control(const Message& message) {
  if (open_) out_of_order("another transaction's fate comes inside of a transaction");
  switch (message.type) {
    case MessageType::stream_start:
      if (message.first_segment) begin_ahead(message.xid);
      [[fallthrough]];
    case MessageType::begin_prepare: block_xid_ = message.xid; return Then::go_on;
    case MessageType::stream_stop: block_xid_ = 0; return Then::go_on;
    case MessageType::stream_abort:
      // Also for a part of it: what a savepoint takes back is in the parts before.
      give_up_ahead(message.xid);
      spool_.abort(message.xid, message.subxid);
      return Then::go_on;
    case MessageType::stream_commit: return commit(message);
    case MessageType::prepare:
      if (block_xid_ == 0) out_of_order("a prepare ends that never began");
      [[fallthrough]];
    case MessageType::stream_prepare:
      give_up_ahead(message.xid);
      block_xid_ = 0;
      spool_.prepare(message.xid, std::string(message.gid), message.commit_lsn);
      return Then::go_on;
    case MessageType::commit_prepared: {
      std::string gid(message.gid);
      if (!spool_.has_prepared(gid)) {
        throw Error(Retry::needs_operator,
                    fmt::format("the prepared transaction '{}' was committed, but its changes "
                                "were handed to an earlier reader of this slot",
                                gid),
                    copy_all_anew);
      }
      begin(message);
      replay_end_ = message.end_lsn;
      start_replay(spool_.take_prepared(gid));
      return Then::replay;
    }
    case MessageType::rollback_prepared:
      spool_.drop_prepared(std::string(message.gid));
      progress_ = std::max(progress_, message.end_lsn);
      return Then::go_on;
    default: TAILRACE_CHECK(false);
  }
  return Then::go_on;
}

/// Of a transaction that was streamed while in progress.
TransactionAssembler::Then TransactionAssembler::commit(const Message& message) {
  begin(message);
  replay_end_ = message.end_lsn;
  // One of tables that are not published comes as well, empty.
  bool nothing = ahead_ && ahead_->first_part && ahead_->part.changes() == 0;
  if (skipping_ || nothing) give_up_ahead(message.xid);
  if (ahead_ && ahead_->transaction->xid() == message.xid) {
    // It is in no batch before its fate is known.
    open_ = false;
    return Then::commit_ahead;
  }
  start_replay(spool_.take(message.xid));
  return Then::replay;
}

void TransactionAssembler::add_content(const Message& message, std::string_view payload,
                                       std::uint64_t arrival) {
  switch (message.type) {
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove: return add_row(message, payload);
    case MessageType::relation:
      leaves_.describe(message.relation.oid);
      if (replay_) {
        replayed_relations_.put(message.relation, arrival, &relations_);
      } else {
        relations_.put(message.relation, arrival, ahead_ ? &ahead_->relations : nullptr);
      }
      return;
    case MessageType::truncate: {
      if (!open_) out_of_order("a truncate comes outside of a transaction");
      leaves_.interrupt();
      if (skipping_) return;
      std::vector<std::shared_ptr<const Relation>> truncated;
      for (Oid oid : message.truncated) truncated.push_back(find_relation(oid));
      batch_.add_truncate(message, truncated);
      return;
    }
    case MessageType::message:
      if (!skipping_) batch_.add_message(message, open_);
      return;
    case MessageType::origin: set_origin(message); return;
    default: return;  // type names: the catalog tells more
  }
}

void TransactionAssembler::add_row(const Message& message, std::string_view payload) {
  if (!open_) out_of_order("a row change comes outside of a transaction");
  if (skipping_) {
    if (foreign_) leaves_.keep_for_later(message.oid);
    return leaves_.interrupt();
  }
  const auto& relation = find_relation(message.oid);
  while (auto leaf = leaves_.leaf_of(message.oid)) batch_.add_leaf(*leaf, relation);
  batch_.add_row(message, payload, relation);
}

void TransactionAssembler::begin(const Message& message) {
  if (open_) out_of_order("a transaction begins inside of another");
  open_ = true;
  foreign_ = false;
  leaves_.interrupt();
  skipping_ = message.commit_lsn < options_.applied ||
              (options_.seen && options_.seen->contains(message.xid, message.commit_lsn));
  current_ = {};
  current_.xid = message.xid;
  current_.commit_lsn = message.commit_lsn;
  current_.commit_time = message.time;
  current_.first_change = batch_.changes();
}

/// It comes before anything else of its transaction.
void TransactionAssembler::set_origin(const Message& message) {
  if (!open_) return;
  current_.origin = message.name;
  if (!options_.local_only || message.name.empty()) return;
  if (!current_.begins || batch_.changes() != current_.first_change)
    out_of_order("an origin comes in the middle of its transaction");
  skipping_ = foreign_ = true;
}

void TransactionAssembler::end(Lsn commit_lsn, Lsn end_lsn, PgTimestamp time) {
  if (!open_) out_of_order("a transaction ends that never began");
  open_ = false;
  if (std::exchange(skipping_, false)) {
    // What is in the target already is no progress; what is left out is.
    if (commit_lsn >= options_.applied) progress_ = std::max(progress_, end_lsn);
    return;
  }
  current_.commit_lsn = commit_lsn;
  current_.end_lsn = end_lsn;
  current_.commit_time = time;
  current_.change_count = batch_.changes() - current_.first_change;
  current_.ends = true;
  note_end(end_lsn);
  batch_.add_transaction(std::move(current_));
}

void TransactionAssembler::note_end(Lsn end_lsn) {
  progress_ = std::max(progress_, end_lsn);
  last_kept_ = end_lsn;
}

const std::shared_ptr<const Relation>& TransactionAssembler::find_relation(Oid oid) const {
  if (replay_) {
    if (const auto* found = replayed_relations_.find(oid)) return *found;
  }
  const auto* found = relations_.find(oid);
  if (found == nullptr) out_of_order("a row change names a table that was not described");
  return *found;
}

void TransactionAssembler::start_replay(std::unique_ptr<SpoolReader> reader) {
  replay_ = std::move(reader);
  replay_decoder_.set_in_stream(replay_->with_xid());
  replayed_relations_.clear();
}

bool TransactionAssembler::replay() {
  TAILRACE_CHECK(replay_ != nullptr);
  for (int i = 0; i < replay_slice; ++i) {
    auto record = replay_->next();
    if (!record) {
      finish_replay();
      return false;
    }
    add_content(replay_decoder_.decode(record->payload), record->payload, record->arrival);
  }
  return true;
}

void TransactionAssembler::finish_replay() {
  end(current_.commit_lsn, replay_end_, current_.commit_time);
  replay_.reset();
  // With its commit the server counts as sent what it described inside of the transaction, unless it
  // described the table again since.
  relations_.take_newer(replayed_relations_);
  replayed_relations_.clear();
}

std::shared_ptr<const ChangeBatch> TransactionAssembler::seal(bool caught_up) {
  if (open_ && !skipping_) {
    TransactionSpan part = current_;
    part.change_count = batch_.changes() - part.first_change;
    part.ends = false;
    batch_.add_transaction(std::move(part));
    current_.begins = false;
    current_.first_change = 0;
  }
  auto sealed = batch_.take();
  sealed->progress = progress_;
  sealed->caught_up = caught_up;
  return sealed;
}

/// One at a time: more of them would need as many transactions open at the target.
void TransactionAssembler::begin_ahead(Xid xid) {
  if (!options_.ahead || ahead_) return;
  ahead_.emplace(xid, options_.relation_bytes);
}

void TransactionAssembler::add_ahead(const Message& message, std::string_view payload) {
  auto relation = [&](Oid oid) -> const std::shared_ptr<const Relation>& {
    const auto* found = ahead_->relations.find(oid);
    if (found == nullptr) out_of_order("a row change names a table that was not described");
    return *found;
  };
  switch (message.type) {
    case MessageType::relation:
      ahead_->leaves.describe(message.relation.oid);
      ahead_->relations.put(message.relation, arrivals_, &relations_);
      return;
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove:
      while (auto leaf = ahead_->leaves.leaf_of(message.oid))
        ahead_->part.add_leaf(*leaf, relation(message.oid));
      ahead_->part.add_row(message, payload, relation(message.oid));
      return;
    // Its effect depends on more than the rows named.
    case MessageType::truncate: give_up_ahead(block_xid_); return;
    default: return;
  }
}

/// Whoever has its parts sees it before the next batch, which comes after this.
void TransactionAssembler::give_up_ahead(Xid xid) {
  if (!ahead_ || ahead_->transaction->xid() != xid) return;
  ahead_->transaction->give_up();
  ahead_.reset();
}

void TransactionAssembler::forget_unfinished() {
  if (open_ || block_xid_ != 0) out_of_order("the stream is cut inside of a transaction");
  if (ahead_) give_up_ahead(ahead_->transaction->xid());
  spool_.forget_open();
}

bool TransactionAssembler::ahead_part_due() const {
  return ahead_ && ahead_->part.bytes() >= ahead_part_bytes;
}

std::shared_ptr<const ChangeBatch> TransactionAssembler::seal_ahead_part() {
  TransactionSpan part;
  part.xid = ahead_->transaction->xid();
  part.begins = std::exchange(ahead_->first_part, false);
  part.ends = false;
  part.change_count = ahead_->part.changes();
  ahead_->part.add_transaction(std::move(part));
  auto sealed = ahead_->part.take();
  sealed->ahead = ahead_->transaction;
  sealed->progress = progress_;
  return sealed;
}

std::shared_ptr<const ChangeBatch> TransactionAssembler::seal_ahead_commit() {
  TransactionSpan commit = current_;
  commit.end_lsn = replay_end_;
  commit.begins = false;
  BatchBuilder builder;
  builder.add_transaction(std::move(commit));
  auto sealed = builder.take();
  sealed->ahead = ahead_->transaction;
  sealed->progress = progress_;
  sealed->caught_up = true;
  return sealed;
}

bool TransactionAssembler::end_ahead() {
  Xid xid = ahead_->transaction->xid();
  bool committed = ahead_->transaction->fate() == AheadTransaction::Fate::committed;
  auto kept = spool_.take(xid);
  if (committed) {
    relations_.take_newer(ahead_->relations);
    note_end(replay_end_);
  } else {
    open_ = true;
    current_.first_change = batch_.changes();
    start_replay(std::move(kept));
  }
  ahead_.reset();
  return !committed;
}

}  // namespace tailrace::source
