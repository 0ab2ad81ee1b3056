#pragma once
// TableFold: folds the changes of one table to their net effect per key (with a key) or per row (REPLICA
// IDENTITY FULL, where a table is a multiset of rows). Exact because a replica identity is unique and
// immediate: at every instant between two changes at most one live row has a key.

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "model/apply_batch.h"

namespace tailrace::pipeline {

/// Not thread-safe. Borrows the tuples that it is given until the TableBatch is done with.
class TableFold {
 public:
  explicit TableFold(std::shared_ptr<const Relation> relation);

  /// Throws Error(fatal) when a change contradicts the ones before it (a key inserted twice, a row changed
  /// after it was deleted): then the stream or the fold is wrong, and applying would hide it.
  void add(const Change& change);
  void truncate();

  /// Ends the fold; the object must not be used afterwards.
  TableBatch finish() &&;

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::string_view key;
    std::uint32_t row = no_index;      ///< live row with this key; without a key: head of the equal rows
    std::uint32_t removed = no_index;  ///< index into deletes
    bool used = false;
  };

  void insert(const TupleData& tuple);
  void update(const Change& change);
  void remove(const TupleData& tuple);
  void update_keyed(const Change& change);
  void update_full(const Change& change);
  TupleData fill_from_old(const Change& change);
  void require_key(const TupleData& tuple) const;

  void start_indexing();
  std::string_view key_of(const TupleData& tuple);
  std::string_view compose_key(const TupleData& tuple);
  Entry& find(std::string_view key);
  void grow();
  std::uint32_t add_row(const TupleData& tuple);
  void add_delete(Entry& entry, const TupleData& tuple);
  [[noreturn]] void contradiction(const char* what) const;

  TableBatch out_;
  std::vector<std::uint16_t> key_columns_;
  bool full_ = false;            ///< identity is the whole row
  bool contiguous_key_ = false;  ///< the key's bytes are one slice of the tuple
  bool indexing_ = false;        ///< false while only inserts were seen: they need no index
  std::vector<Entry> entries_;   ///< open addressing, size a power of two
  std::size_t entry_count_ = 0;
};

}  // namespace tailrace::pipeline
