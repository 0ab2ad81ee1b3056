#include "source/transaction_assembler.h"

#include <utility>

namespace tailrace::source {
namespace {

using pgoutput::Message;
using pgoutput::MessageType;

constexpr int replay_slice = 1000;

[[noreturn]] void out_of_order(const char* what) {
  throw Error(Retry::transient, fmt::format("the replication stream is out of order: {}", what),
              "The connection is made anew from the last checkpoint");
}

}  // namespace

TransactionAssembler::TransactionAssembler(const std::string& spool_directory, Lsn applied, bool local_only)
    : spool_(spool_directory),
      batch_(std::make_shared<ChangeBatch>()),
      applied_(applied),
      local_only_(local_only),
      progress_(applied) {}

bool TransactionAssembler::add(std::string_view payload) {
  TAILRACE_CHECK(replay_ == nullptr);
  const Message& message = decoder_.decode(payload);
  // The message that opens or closes a block is not itself part of what it encloses.
  if (block_xid_ != 0 && spool(message, payload)) return false;
  switch (message.type) {
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove:
    case MessageType::relation:
    case MessageType::type:
    case MessageType::truncate:
    case MessageType::message:
    case MessageType::origin: add_content(message, payload, ++arrivals_); return false;
    case MessageType::begin: begin(message); return false;
    case MessageType::commit: end(message.commit_lsn, message.end_lsn, message.time); return false;
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
      if (!decoder_.in_stream()) put_relation(message.relation, arrivals_ + 1);
      break;
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove:
    case MessageType::type:
    case MessageType::truncate:
    case MessageType::message:
    case MessageType::origin: break;
    default: out_of_order("a block holds what belongs outside of it");
  }
  Xid subxid = message.xid != 0 ? message.xid : block_xid_;
  spool_.add(block_xid_, subxid, ++arrivals_, payload, decoder_.in_stream());
  return true;
}

bool TransactionAssembler::control(const Message& message) {
  if (open_) out_of_order("another transaction's fate comes inside of a transaction");
  switch (message.type) {
    case MessageType::stream_start:
    case MessageType::begin_prepare: block_xid_ = message.xid; return false;
    case MessageType::stream_stop: block_xid_ = 0; return false;
    case MessageType::stream_abort: spool_.abort(message.xid, message.subxid); return false;
    case MessageType::stream_commit: start_replay(message, spool_.take(message.xid)); return true;
    case MessageType::prepare:
      if (block_xid_ == 0) out_of_order("a prepare ends that never began");
      [[fallthrough]];
    case MessageType::stream_prepare:
      block_xid_ = 0;
      spool_.prepare(message.xid, std::string(message.gid), message.commit_lsn);
      return false;
    case MessageType::commit_prepared: {
      std::string gid(message.gid);
      if (!spool_.has_prepared(gid)) {
        throw Error(Retry::needs_operator,
                    fmt::format("the prepared transaction '{}' was committed, but its changes "
                                "were handed to an earlier reader of this slot",
                                gid),
                    "Run 'tailrace teardown' and start again with a new target");
      }
      start_replay(message, spool_.take_prepared(gid));
      return true;
    }
    case MessageType::rollback_prepared:
      spool_.drop_prepared(std::string(message.gid));
      progress_ = std::max(progress_, message.end_lsn);
      return false;
    default: TAILRACE_CHECK(false);
  }
  return false;
}

void TransactionAssembler::add_content(const Message& message, std::string_view payload,
                                       std::uint64_t arrival) {
  switch (message.type) {
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove: add_row(message, payload); return;
    case MessageType::relation: put_relation(message.relation, arrival); return;
    case MessageType::truncate: add_truncate(message); return;
    case MessageType::message: add_logical_message(message); return;
    case MessageType::origin: set_origin(message); return;
    default: return;  // type names: the catalog tells more
  }
}

void TransactionAssembler::begin(const Message& message) {
  if (open_) out_of_order("a transaction begins inside of another");
  open_ = true;
  skipping_ = message.commit_lsn < applied_;
  current_ = {};
  current_.xid = message.xid;
  current_.commit_lsn = message.commit_lsn;
  current_.commit_time = message.time;
  current_.first_change = batch_->changes.size();
}

/// It comes before anything else of its transaction.
void TransactionAssembler::set_origin(const Message& message) {
  if (!open_) return;
  current_.origin = message.name;
  if (!local_only_ || message.name.empty()) return;
  if (!current_.begins || batch_->changes.size() != current_.first_change)
    out_of_order("an origin comes in the middle of its transaction");
  skipping_ = true;
}

void TransactionAssembler::end(Lsn commit_lsn, Lsn end_lsn, PgTimestamp time) {
  if (!open_) out_of_order("a transaction ends that never began");
  open_ = false;
  if (std::exchange(skipping_, false)) {
    // What is in the target already is no progress; what is left out is.
    if (commit_lsn >= applied_) progress_ = std::max(progress_, end_lsn);
    return;
  }
  current_.commit_lsn = commit_lsn;
  current_.end_lsn = end_lsn;
  current_.commit_time = time;
  current_.change_count = batch_->changes.size() - current_.first_change;
  current_.ends = true;
  progress_ = std::max(progress_, end_lsn);
  last_kept_ = end_lsn;
  batch_->transactions.push_back(std::move(current_));
}

void TransactionAssembler::add_row(const Message& message, std::string_view payload) {
  if (!open_) out_of_order("a row change comes outside of a transaction");
  if (skipping_) return;
  Change change;
  change.kind = message.type == MessageType::insert   ? ChangeKind::insert
                : message.type == MessageType::update ? ChangeKind::update
                                                      : ChangeKind::remove;
  change.old_kind = message.old_kind;
  change.index = relation_index(message.oid);
  std::size_t columns = batch_->relations[change.index]->columns.size();
  const auto* from = reinterpret_cast<const std::byte*>(payload.data());
  const std::byte* copy = batch_->arena.copy(from, payload.size());
  auto adopt = [&](const TupleData& tuple) {
    if (!tuple.present()) return tuple;
    if (tuple.column_count != columns) out_of_order("a row has another number of columns than its table");
    TupleData moved = tuple;
    moved.data = copy + (tuple.data - from);
    return moved;
  };
  change.old_tuple = adopt(message.old_tuple);
  change.new_tuple = adopt(message.new_tuple);
  batch_->changes.push_back(change);
}

void TransactionAssembler::add_truncate(const Message& message) {
  if (!open_) out_of_order("a truncate comes outside of a transaction");
  if (skipping_) return;
  Truncate truncate;
  truncate.cascade = message.cascade;
  truncate.restart_identity = message.restart_identity;
  for (Oid oid : message.truncated) truncate.relations.push_back(relation_index(oid));
  Change change;
  change.kind = ChangeKind::truncate;
  change.index = static_cast<std::uint32_t>(batch_->truncates.size());
  batch_->truncates.push_back(std::move(truncate));
  batch_->changes.push_back(change);
}

void TransactionAssembler::add_logical_message(const Message& message) {
  if (skipping_) return;
  auto index = static_cast<std::uint32_t>(batch_->messages.size());
  auto keep = [&](std::string_view text) {
    const std::byte* copy = batch_->arena.copy(text.data(), text.size());
    return std::string_view(reinterpret_cast<const char*>(copy), text.size());
  };
  batch_->messages.push_back(
      {message.message_lsn, message.transactional, keep(message.name), keep(message.content)});
  if (!open_) return;
  Change change;
  change.kind = ChangeKind::message;
  change.index = index;
  batch_->changes.push_back(change);
}

void TransactionAssembler::put_relation(const Relation& relation, std::uint64_t arrival) {
  last_relation_ = nullptr;
  CachedRelation& cached = (replay_ ? replayed_relations_ : relations_)[relation.oid];
  cached.arrival = arrival;
  // Descriptions come again and again; only a changed one is a new version.
  if (cached.relation && *cached.relation == relation) return;
  if (auto known = relations_.find(relation.oid);
      replay_ && known != relations_.end() && known->second.relation && *known->second.relation == relation) {
    cached.relation = known->second.relation;
  } else {
    cached.relation = std::make_shared<const Relation>(relation);
  }
  cached.batch = 0;
}

TransactionAssembler::CachedRelation& TransactionAssembler::find_relation(Oid oid) {
  if (replay_) {
    if (auto found = replayed_relations_.find(oid); found != replayed_relations_.end()) return found->second;
  }
  auto found = relations_.find(oid);
  if (found == relations_.end()) out_of_order("a row change names a table that was not described");
  return found->second;
}

std::uint32_t TransactionAssembler::relation_index(Oid oid) {
  if (last_relation_ == nullptr || last_oid_ != oid) {
    last_relation_ = &find_relation(oid);
    last_oid_ = oid;
  }
  CachedRelation& cached = *last_relation_;
  if (cached.batch != batch_serial_) {
    cached.batch = batch_serial_;
    cached.index = static_cast<std::uint32_t>(batch_->relations.size());
    batch_->relations.push_back(cached.relation);
  }
  return cached.index;
}

void TransactionAssembler::start_replay(const Message& message, std::unique_ptr<SpoolReader> reader) {
  begin(message);
  replay_end_ = message.end_lsn;
  replay_ = std::move(reader);
  replay_decoder_.set_in_stream(replay_->with_xid());
  replayed_relations_.clear();
  last_relation_ = nullptr;
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
  last_relation_ = nullptr;
  // With its commit the server counts as sent what it described inside of the transaction, unless it
  // described the table again since.
  for (auto& [oid, cached] : replayed_relations_) {
    CachedRelation& known = relations_[oid];
    if (known.arrival < cached.arrival) known = cached;
  }
  replayed_relations_.clear();
}

std::shared_ptr<const ChangeBatch> TransactionAssembler::seal(bool caught_up) {
  if (open_ && !skipping_) {
    TransactionSpan part = current_;
    part.change_count = batch_->changes.size() - part.first_change;
    part.ends = false;
    batch_->transactions.push_back(std::move(part));
    current_.begins = false;
    current_.first_change = 0;
  }
  batch_->progress = progress_;
  batch_->caught_up = caught_up;
  auto sealed = std::exchange(batch_, std::make_shared<ChangeBatch>());
  ++batch_serial_;
  return sealed;
}

}  // namespace tailrace::source
