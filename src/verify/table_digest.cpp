#include "verify/table_digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tailrace::verify {
namespace {

constexpr std::size_t shown_value = 200;
constexpr std::uint64_t null_length = ~std::uint64_t{0};

void append_value(const std::optional<std::string_view>& value, std::string& out) {
  std::uint64_t length = value ? value->size() : null_length;
  out.append(reinterpret_cast<const char*>(&length), sizeof(length));
  if (value) out.append(*value);
}

std::string shown(const std::optional<std::string_view>& value) {
  if (!value) return "NULL";
  if (value->size() <= shown_value) return std::string(*value);
  return fmt::format("{}... ({} bytes)", value->substr(0, shown_value), value->size());
}

std::string shown_row(const Row& row, const RowShape& shape) {
  std::string out;
  for (std::size_t i = 0; i < row.size(); ++i)
    out += fmt::format("{}{}={}", i == 0 ? "" : ", ", shape.columns[i], shown(row[i]));
  return out;
}

}  // namespace

void append_canonical(const Row& row, std::string& out) {
  for (const auto& value : row) append_value(value, out);
}

void append_canonical_key(const Row& row, const RowShape& shape, std::string& out) {
  if (shape.key.empty()) return append_canonical(row, out);
  for (std::size_t position : shape.key) append_value(row[position], out);
}

Row read_canonical(std::string_view canonical) {
  Row out;
  while (!canonical.empty()) {
    std::uint64_t length = 0;
    std::memcpy(&length, canonical.data(), sizeof(length));
    canonical.remove_prefix(sizeof(length));
    if (length == null_length) {
      out.emplace_back();
      continue;
    }
    out.emplace_back(canonical.substr(0, length));
    canonical.remove_prefix(length);
  }
  return out;
}

std::string shown_key(std::string_view canonical_key, const RowShape& shape) {
  Row key = read_canonical(canonical_key);
  if (shape.key.empty()) return shown_row(key, shape);
  std::string out;
  for (std::size_t i = 0; i < key.size(); ++i)
    out += fmt::format("{}{}={}", i == 0 ? "" : ", ", shape.columns[shape.key[i]], shown(key[i]));
  return out;
}

std::size_t bucket_of(const Row& row, const RowShape& shape, std::string& scratch) {
  scratch.clear();
  append_canonical_key(row, shape, scratch);
  return XXH3_64bits(scratch.data(), scratch.size()) % TableDigest::default_buckets;
}

void TableDigest::add(const Row& row) {
  std::size_t bucket = bucket_of(row, shape_, scratch_);
  scratch_.clear();
  append_canonical(row, scratch_);
  XXH128_hash_t hash = XXH3_128bits(scratch_.data(), scratch_.size());
  add_sums(bucket, 1, hash.low64, hash.high64);
}

void TableDigest::add_sums(std::size_t bucket, std::uint64_t rows, std::uint64_t low, std::uint64_t high) {
  Bucket& sums = buckets_.at(bucket);
  sums.rows += rows;
  sums.low += low;
  sums.high += high;
  rows_ += static_cast<std::int64_t>(rows);
}

BucketChoice TableDigest::differing(const TableDigest& other, std::uint64_t most_rows) const {
  BucketChoice out;
  out.buckets.resize(buckets_.size());
  std::uint64_t rows = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i] == other.buckets_[i]) continue;
    ++out.differing;
    rows += std::max(buckets_[i].rows, other.buckets_[i].rows);
    if (out.any && rows > most_rows) out.whole = false;
    if (out.whole) out.buckets[i] = out.any = true;
  }
  return out;
}

std::optional<std::int64_t> keys_in_buckets(std::size_t differing, std::size_t buckets) {
  auto all = static_cast<double>(buckets);
  double same = all - static_cast<double>(differing);
  // Below that, chance says more than the keys do.
  if (same < std::max(10.0, all / 1000)) return std::nullopt;
  return static_cast<std::int64_t>(std::llround(all * std::log(all / same)));
}

void ShownRows::add(const Row& row) {
  std::string key;
  append_canonical_key(row, shape_, key);
  std::string text = shown_row(row, shape_);
  // Values that are cut for showing must still tell rows apart.
  scratch_.clear();
  append_canonical(row, scratch_);
  text += fmt::format("{}{:016x}", shown_mark, XXH3_64bits(scratch_.data(), scratch_.size()));
  rows_.emplace(std::move(key), std::move(text));
}

}  // namespace tailrace::verify
