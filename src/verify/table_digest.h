#pragma once
// TableDigest: a table as a multiset of rows, summed up in buckets by key.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tailrace::verify {

using Row = std::vector<std::optional<std::string_view>>;

/// Which columns make the key that a row is filed and named under.
struct RowShape {
  std::vector<std::string> columns;
  std::vector<std::size_t> key;  ///< positions; empty: the whole row

  bool operator==(const RowShape&) const = default;
};

/// An unambiguous spelling of a row.
void append_canonical(const Row& row, std::string& out);
/// The same of the columns that a row is filed under.
void append_canonical_key(const Row& row, const RowShape& shape, std::string& out);
/// What was spelled; views of `canonical`.
Row read_canonical(std::string_view canonical);

/// The bucket that a row belongs to.
std::size_t bucket_of(const Row& row, const RowShape& shape, std::string& scratch);

/// Buckets to read again, so that their rows can be told.
struct BucketChoice {
  std::vector<bool> buckets;  ///< as many of those that differ as hold `most_rows` on either side, at least one
  bool any = false;           ///< some bucket differs
  bool whole = true;          ///< these are all that differ
  std::size_t differing = 0;  ///< how many do
};

/// How many keys differ where that many buckets do: what is most likely, as keys fall into buckets by chance.
/// Nothing where all of them do, or nearly: then it may be any number that is larger.
std::optional<std::int64_t> keys_in_buckets(std::size_t differing, std::size_t buckets);

/// One side's sums. One thread.
class TableDigest {
 public:
  static constexpr std::size_t default_buckets = 1 << 14;

  explicit TableDigest(const RowShape& shape, std::size_t buckets = default_buckets)
      : shape_(shape), buckets_(buckets) {}
  void add(const Row& row);
  /// What somebody else summed up; sums are modulo 2^64.
  void add_sums(std::size_t bucket, std::uint64_t rows, std::uint64_t low, std::uint64_t high);
  std::int64_t rows() const { return rows_; }
  BucketChoice differing(const TableDigest& other, std::uint64_t most_rows) const;

 private:
  struct Bucket {
    std::uint64_t rows = 0;
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(const Bucket&) const = default;
  };

  const RowShape& shape_;
  std::vector<Bucket> buckets_;
  std::int64_t rows_ = 0;
  std::string scratch_;
};

/// Rows by key, spelled for people.
class ShownRows {
 public:
  explicit ShownRows(const RowShape& shape) : shape_(shape) {}
  void add(const Row& row);
  /// canonical key -> its rows, as they are shown and, behind a mark, what tells rows apart that are shown
  /// alike
  const std::multimap<std::string, std::string>& rows() const { return rows_; }

 private:
  const RowShape& shape_;
  std::multimap<std::string, std::string> rows_;
  std::string scratch_;
};

constexpr char shown_mark = '\x1f';

/// "id=42", or the whole row where there is no key.
std::string shown_key(std::string_view canonical_key, const RowShape& shape);

}  // namespace tailrace::verify
