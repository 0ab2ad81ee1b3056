#include "source/batch_builder.h"

#include <utility>

#include "base/error.h"

namespace tailrace::source {

using pgoutput::Message;
using pgoutput::MessageType;

void out_of_order(const char* what) {
  throw Error(Retry::transient, fmt::format("the replication stream is out of order: {}", what),
              "The connection is made anew from the last checkpoint");
}

void BatchBuilder::add_row(const Message& message, std::string_view payload,
                           const std::shared_ptr<const Relation>& relation) {
  Change change;
  change.kind = message.type == MessageType::insert   ? ChangeKind::insert
                : message.type == MessageType::update ? ChangeKind::update
                                                      : ChangeKind::remove;
  change.old_kind = message.old_kind;
  change.index = index_of(relation);
  std::size_t columns = relation->columns.size();
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

void BatchBuilder::add_leaf(Oid leaf, const std::shared_ptr<const Relation>& relation) {
  batch_->leaves.push_back({index_of(relation), leaf, batch_->changes.size()});
}

void BatchBuilder::add_truncate(const Message& message,
                                const std::vector<std::shared_ptr<const Relation>>& relations) {
  Truncate truncate;
  truncate.cascade = message.cascade;
  truncate.restart_identity = message.restart_identity;
  for (const auto& relation : relations) truncate.relations.push_back(index_of(relation));
  Change change;
  change.kind = ChangeKind::truncate;
  change.index = static_cast<std::uint32_t>(batch_->truncates.size());
  batch_->truncates.push_back(std::move(truncate));
  batch_->changes.push_back(change);
}

void BatchBuilder::add_message(const Message& message, bool inside) {
  auto index = static_cast<std::uint32_t>(batch_->messages.size());
  auto keep = [&](std::string_view text) {
    const std::byte* copy = batch_->arena.copy(text.data(), text.size());
    return std::string_view(reinterpret_cast<const char*>(copy), text.size());
  };
  batch_->messages.push_back(
      {message.message_lsn, message.transactional, keep(message.name), keep(message.content)});
  if (!inside) return;
  Change change;
  change.kind = ChangeKind::message;
  change.index = index;
  batch_->changes.push_back(change);
}

std::uint32_t BatchBuilder::index_of(const std::shared_ptr<const Relation>& relation) {
  if (last_ == relation.get()) [[likely]]
    return last_index_;
  auto [found, added] =
      indexes_.try_emplace(relation.get(), static_cast<std::uint32_t>(batch_->relations.size()));
  if (added) batch_->relations.push_back(relation);
  last_ = relation.get();
  return last_index_ = found->second;
}

std::shared_ptr<ChangeBatch> BatchBuilder::take() {
  indexes_.clear();
  last_ = nullptr;
  return std::exchange(batch_, std::make_shared<ChangeBatch>());
}

}  // namespace tailrace::source
