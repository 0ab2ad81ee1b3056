#include "source/relation_cache.h"

#include "base/error.h"

namespace tailrace::source {
namespace {

std::size_t bytes_of(const Relation* relation) {
  if (relation == nullptr) return 0;
  std::size_t bytes = sizeof(Relation) + 128 + relation->columns.capacity() * sizeof(RelationColumn);
  for (const auto& column : relation->columns) {
    if (column.name.size() > 15)
      bytes += column.name.capacity() + 16;  // what does not fit into the string itself
  }
  return bytes;
}

}  // namespace

void RelationCache::put(const Relation& relation, std::uint64_t arrival, const RelationCache* known) {
  last_ = nullptr;
  Described& described = relations_[relation.oid];
  described.arrival = arrival;
  if (described.relation && *described.relation == relation) return;
  const auto* shared = known != nullptr ? known->find(relation.oid) : nullptr;
  bytes_ -= bytes_of(described.relation.get());
  described.relation =
      shared != nullptr && **shared == relation ? *shared : std::make_shared<const Relation>(relation);
  bytes_ += bytes_of(described.relation.get());
  if (bytes_ > at_most_)
    throw Error(Retry::needs_operator,
                fmt::format("the descriptions of {} tables need more than {} MB of memory", relations_.size(),
                            at_most_ >> 20),
                "Raise limits.memory (--memory), of which a quarter is for them");
}

const std::shared_ptr<const Relation>* RelationCache::find(Oid oid) const {
  if (last_ != nullptr && last_oid_ == oid) return last_;
  auto found = relations_.find(oid);
  if (found == relations_.end()) return nullptr;
  last_ = &found->second.relation;
  last_oid_ = oid;
  return last_;
}

void RelationCache::take_newer(const RelationCache& other) {
  last_ = nullptr;
  for (const auto& [oid, theirs] : other.relations_) {
    Described& ours = relations_[oid];
    if (ours.arrival >= theirs.arrival) continue;
    bytes_ += bytes_of(theirs.relation.get()) - bytes_of(ours.relation.get());
    ours = theirs;
  }
}

void RelationCache::clear() {
  last_ = nullptr;
  bytes_ = 0;
  relations_.clear();
}

}  // namespace tailrace::source
