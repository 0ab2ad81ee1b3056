#include "source/relation_cache.h"

namespace tailrace::source {

void RelationCache::put(const Relation& relation, std::uint64_t arrival, const RelationCache* known) {
  last_ = nullptr;
  Described& described = relations_[relation.oid];
  described.arrival = arrival;
  if (described.relation && *described.relation == relation) return;
  const auto* shared = known != nullptr ? known->find(relation.oid) : nullptr;
  described.relation =
      shared != nullptr && **shared == relation ? *shared : std::make_shared<const Relation>(relation);
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
    if (ours.arrival < theirs.arrival) ours = theirs;
  }
}

void RelationCache::clear() {
  last_ = nullptr;
  relations_.clear();
}

}  // namespace tailrace::source
