#pragma once
// TableDigest: a table as a multiset of rows, summed up in buckets by key.

#include <array>
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
};

/// An unambiguous spelling of a row, or of some of its columns.
void append_canonical(const Row& row, std::string& out);

/// The bucket that a row belongs to.
std::size_t bucket_of(const Row& row, const RowShape& shape, std::string& scratch);

/// One side's sums. One thread.
class TableDigest {
 public:
  static constexpr std::size_t bucket_count = 1 << 14;

  explicit TableDigest(const RowShape& shape) : shape_(shape), buckets_(bucket_count) {}
  void add(const Row& row);
  std::int64_t rows() const { return rows_; }
  /// The buckets in which the two differ.
  std::vector<bool> differing(const TableDigest& other, bool& any) const;

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

/// The rows of the buckets that differ, spelled for people, by key.
class DifferingRows {
 public:
  static constexpr std::size_t max_rows = 200'000;

  DifferingRows(const RowShape& shape, const std::vector<bool>& buckets) : shape_(shape), buckets_(buckets) {}
  void add(const Row& row);
  /// key -> the rows with it
  const std::multimap<std::string, std::string>& rows() const { return rows_; }

 private:
  const RowShape& shape_;
  const std::vector<bool>& buckets_;
  std::multimap<std::string, std::string> rows_;
  std::string scratch_;
};

}  // namespace tailrace::verify
