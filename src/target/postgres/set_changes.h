#pragma once
// SetChanges: what the net effect of a batch is for the target's table: rows that go, rows that change, rows
// that come. A row that goes and comes back under its key is a change: so that columns which only the target
// has, and large values that did not change, stay.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "model/apply_batch.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

/// Thrown where only the source's order of changes is exact.
struct RowOrderNeeded : std::exception {
  RowOrderNeeded(Oid of_table, std::string why) : table(of_table), reason(std::move(why)) {}
  const char* what() const noexcept override { return reason.c_str(); }

  Oid table = 0;
  std::string reason;
};

/// Which keys a batch touches: says yes for all of them, and for few others. Two megabits and more.
class KeyFilter {
 public:
  explicit KeyFilter(std::size_t keys);
  void add(std::string_view key);
  bool may_contain(std::string_view key) const;

 private:
  struct Place {
    std::size_t word = 0;
    std::uint64_t bits = 0;
  };
  Place place(std::string_view key) const;

  std::vector<std::uint64_t> words_;
  std::uint64_t mask_ = 0;
};

/// Changes in the order of their keys lie all over memory: a loop over them asks for what it needs some rounds
/// later, so that it does not wait for each.
inline void fetch_soon(const void* what) {
  __builtin_prefetch(what);
}
constexpr std::size_t rounds_ahead = 12;

/// Borrows the batch.
struct SetChanges {
  struct Keyed {
    std::uint64_t prefix = 0;  ///< how the key's first column begins, for sorting
    std::string_view key;
    std::uint32_t index = 0;
  };

  std::vector<Keyed> deletes;          ///< indexes into the batch's deletes; sorted by key, where there is one
  std::vector<Keyed> updates;          ///< indexes into the batch's rows; sorted by key
  std::vector<std::uint32_t> inserts;  ///< indexes into the batch's rows
  std::shared_ptr<Arena> keys;         ///< holds those whose columns do not stand side by side
  bool leaves_values = false;          ///< a row leaves a column as it is

  std::size_t count() const { return deletes.size() + updates.size() + inserts.size(); }

  /// Throws RowOrderNeeded.
  static SetChanges of(const TablePlan& plan, const TableBatch& batch);
  KeyFilter touched(const TablePlan& plan, const TableBatch& batch) const;
  /// Moves what touches one of the keys to `later`. `went`: rows of some of the keys went.
  void split_off(const TablePlan& plan, const TableBatch& batch, const KeyFilter& touched, bool went,
                 SetChanges& later);
  void move_all(SetChanges& later);
};

/// Where binary integers lie, of which every third or more in between is among them. None: they lie further
/// apart.
std::optional<KeyRange> dense_integers(const std::vector<std::string_view>& keys);

}  // namespace tailrace::target::postgres
