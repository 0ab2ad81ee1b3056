#include "target/postgres/set_changes.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "base/byte_reader.h"

namespace tailrace::target::postgres {
namespace {

// One key in so many bits: a false alarm for one in so many.
constexpr std::size_t bits_per_key = 32;
constexpr std::size_t least_bits = 1 << 12;

/// Reads the key's bytes out of tuples.
class KeyReader {
 public:
  KeyReader(const TablePlan& plan, Arena& composed)
      : plan_(plan),
        composed_(composed),
        contiguous_(!plan.key.empty() && plan.key.back() - plan.key.front() + 1 == plan.key.size()) {}

  SetChanges::Keyed read(const TupleData& tuple, std::uint32_t index) {
    TupleWalker columns(tuple);
    std::byte* composed = contiguous_ ? nullptr : composed_.allocate(tuple.size);
    const std::byte* first = nullptr;
    std::size_t size = 0;
    std::size_t next = 0;
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; next < plan_.key.size(); ++i) {
      const std::byte* begin = columns.position();
      Value value = columns.next();
      if (i != plan_.key[next]) continue;
      auto length = static_cast<std::size_t>(columns.position() - begin);
      if (next == 0) {
        first = begin;
        prefix = prefix_of(value.bytes);
      }
      if (composed != nullptr) std::memcpy(composed + size, begin, length);
      size += length;
      ++next;
    }
    return {prefix, {reinterpret_cast<const char*>(composed != nullptr ? composed : first), size}, index};
  }

 private:
  /// Binary integers and texts sort by it as their index does, nearly; so neighbours are found together.
  static std::uint64_t prefix_of(std::string_view bytes) {
    std::uint64_t out = 0;
    std::memcpy(&out, bytes.data(), std::min<std::size_t>(bytes.size(), sizeof out));
    return std::byteswap(out);
  }

  const TablePlan& plan_;
  Arena& composed_;
  bool contiguous_;
};

void sort(std::vector<SetChanges::Keyed>& changes) {
  std::ranges::sort(changes, [](const auto& a, const auto& b) {
    return a.prefix != b.prefix ? a.prefix < b.prefix : a.key < b.key;
  });
}

}  // namespace

KeyFilter::KeyFilter(std::size_t keys)
    : words_(std::bit_ceil(std::max(keys * bits_per_key, least_bits)) / 64), mask_(words_.size() - 1) {}

// A Bloom filter, all of a key's bits in one word, so that it touches one line of the cache.
KeyFilter::Place KeyFilter::place(std::string_view key) const {
  auto hash = XXH3_64bits(key.data(), key.size());
  auto bit = [&](int shift) { return std::uint64_t{1} << (hash >> shift & 63); };
  return {static_cast<std::size_t>(hash >> 32 & mask_), bit(0) | bit(6) | bit(12)};
}

void KeyFilter::add(std::string_view key) {
  auto [word, bits] = place(key);
  words_[word] |= bits;
}

bool KeyFilter::may_contain(std::string_view key) const {
  auto [word, bits] = place(key);
  return (words_[word] & bits) == bits;
}

SetChanges SetChanges::of(const TablePlan& plan, const TableBatch& batch) {
  SetChanges out;
  out.keys = std::make_shared<Arena>();
  KeyReader reader(plan, *out.keys);
  bool keyed = !plan.key.empty();
  // With REPLICA IDENTITY FULL the fold knows no key, and the target's primary key says which row is which.
  bool by_target_key = keyed && plan.relation->identity == ReplicaIdentity::full;
  std::unordered_map<std::string_view, std::uint32_t> going;
  if (by_target_key) {
    going.reserve(batch.deletes.size());
    for (std::uint32_t i = 0; i < batch.deletes.size(); ++i)
      going.emplace(reader.read(batch.deletes[i].tuple, i).key, i);
  }
  std::vector<bool> stays(batch.deletes.size());
  for (std::uint32_t i = 0; i < batch.rows.size(); ++i) {
    const FoldedRow& row = batch.rows[i];
    if (!row.live) continue;
    out.leaves_values |= row.tuple.has_unchanged;
    std::uint32_t replaces = keyed ? row.replaces : no_index;
    if (!going.empty()) {
      auto found = going.find(reader.read(row.tuple, i).key);
      if (found != going.end()) replaces = found->second;
    }
    if (replaces != no_index && (row.lookup == no_index || row.lookup == replaces)) {
      stays[replaces] = true;
      out.updates.push_back(reader.read(row.tuple, i));
    } else if (row.lookup != no_index) {
      throw RowOrderNeeded{plan.oid, "a key changed while a large value stayed"};
    } else {
      out.inserts.push_back(i);
    }
  }
  for (std::uint32_t i = 0; i < batch.deletes.size(); ++i) {
    if (stays[i]) continue;
    out.deletes.push_back(keyed ? reader.read(batch.deletes[i].tuple, i) : Keyed{0, {}, i});
  }
  if (plan.extra_columns && !out.deletes.empty() && !out.inserts.empty())
    throw RowOrderNeeded{plan.oid, "a key may have changed, and the target has columns of its own"};
  // What came and went between two states of a row may matter to who wins.
  auto changes = static_cast<std::size_t>(batch.inserts + batch.updates + batch.removes);
  if (plan.deletions != nullptr && changes != out.count())
    throw RowOrderNeeded{plan.oid, "a row changed more than once in a transaction, or its key did"};
  if (keyed) {
    sort(out.deletes);
    sort(out.updates);
  }
  return out;
}

KeyFilter SetChanges::touched(const TablePlan& plan, const TableBatch& batch) const {
  KeyFilter out(count());
  Arena composed;
  KeyReader reader(plan, composed);
  for (const auto* changes : {&deletes, &updates}) {
    for (std::size_t i = 0; i < changes->size(); ++i) {
      if (i + rounds_ahead < changes->size()) fetch_soon((*changes)[i + rounds_ahead].key.data());
      out.add((*changes)[i].key);
    }
  }
  for (auto i : inserts) out.add(reader.read(batch.rows[i].tuple, i).key);
  return out;
}

void SetChanges::split_off(const TablePlan& plan, const TableBatch& batch, const KeyFilter& touched, bool went,
                           SetChanges& later) {
  later.keys = keys;
  later.leaves_values = leaves_values;
  auto move_touching = [&](std::vector<Keyed>& from, std::vector<Keyed>& to) {
    const auto* end = from.data() + from.size();
    std::erase_if(from, [&](const Keyed& change) {
      if (end - &change > std::ptrdiff_t{rounds_ahead}) fetch_soon((&change)[rounds_ahead].key.data());
      if (!touched.may_contain(change.key)) return false;
      to.push_back(change);
      return true;
    });
  };
  move_touching(deletes, later.deletes);
  move_touching(updates, later.updates);
  // A row that comes under a key of the earlier ones can only have gone there: had it come there, it would
  // first go here.
  if (!went) return;
  Arena composed;
  KeyReader reader(plan, composed);
  std::erase_if(inserts, [&](std::uint32_t i) {
    if (!touched.may_contain(reader.read(batch.rows[i].tuple, i).key)) return false;
    later.inserts.push_back(i);
    return true;
  });
}

void SetChanges::move_all(SetChanges& later) {
  later.keys = keys;
  later.leaves_values = leaves_values;
  later.deletes.insert(later.deletes.end(), deletes.begin(), deletes.end());
  later.updates.insert(later.updates.end(), updates.begin(), updates.end());
  later.inserts.insert(later.inserts.end(), inserts.begin(), inserts.end());
  *this = {};
}

std::optional<KeyRange> dense_integers(const std::vector<std::string_view>& keys) {
  KeyRange range{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()};
  for (auto bytes : keys) {
    ByteReader in(bytes);
    std::int64_t key = in.remaining() == 8 ? in.i64() : in.remaining() == 4 ? in.i32() : in.i16();
    range.first = std::min(range.first, key);
    range.last = std::max(range.last, key);
  }
  auto span = static_cast<std::uint64_t>(range.last) - static_cast<std::uint64_t>(range.first);
  if (keys.empty() || span >= keys.size() * 3) return std::nullopt;
  return range;
}

}  // namespace tailrace::target::postgres
