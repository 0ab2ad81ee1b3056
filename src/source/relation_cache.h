#pragma once
// RelationCache: how the stream described its tables last.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>

#include "base/lsn.h"
#include "model/relation.h"

namespace tailrace::source {

/// One thread.
class RelationCache {
 public:
  /// put() throws Error(needs_operator) when the descriptions need more bytes than `at_most`: the server gives
  /// each once, so none can be left out.
  explicit RelationCache(std::size_t at_most = std::numeric_limits<std::size_t>::max()) : at_most_(at_most) {}

  /// `arrival`: the description's place among all that came. Descriptions come again and again; only a changed
  /// one is a new version. One that `known` has too is shared with it.
  void put(const Relation& relation, std::uint64_t arrival, const RelationCache* known = nullptr);
  /// Null if it was not described. Valid until the next put() or take_newer().
  const std::shared_ptr<const Relation>* find(Oid oid) const;
  /// Takes what came later there than here.
  void take_newer(const RelationCache& other);
  void clear();

 private:
  struct Described {
    std::shared_ptr<const Relation> relation;
    std::uint64_t arrival = 0;
  };
  std::size_t at_most_;
  std::size_t bytes_ = 0;
  std::unordered_map<Oid, Described> relations_;
  mutable const std::shared_ptr<const Relation>* last_ = nullptr;  ///< found
  mutable Oid last_oid_ = 0;
};

}  // namespace tailrace::source
