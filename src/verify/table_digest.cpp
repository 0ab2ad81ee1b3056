#include "verify/table_digest.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace tailrace::verify {
namespace {

constexpr std::size_t shown_value = 200;

void append_value(const std::optional<std::string_view>& value, std::string& out) {
  std::uint64_t length = value ? value->size() : ~std::uint64_t{0};
  out.append(reinterpret_cast<const char*>(&length), sizeof(length));
  if (value) out.append(*value);
}

std::string shown(const std::optional<std::string_view>& value) {
  if (!value) return "NULL";
  if (value->size() <= shown_value) return std::string(*value);
  return fmt::format("{}... ({} bytes)", value->substr(0, shown_value), value->size());
}

}  // namespace

void append_canonical(const Row& row, std::string& out) {
  for (const auto& value : row) append_value(value, out);
}

std::size_t bucket_of(const Row& row, const RowShape& shape, std::string& scratch) {
  scratch.clear();
  if (shape.key.empty()) {
    append_canonical(row, scratch);
  } else {
    for (std::size_t position : shape.key) append_value(row[position], scratch);
  }
  return XXH3_64bits(scratch.data(), scratch.size()) % TableDigest::bucket_count;
}

void TableDigest::add(const Row& row) {
  ++rows_;
  Bucket& bucket = buckets_[bucket_of(row, shape_, scratch_)];
  scratch_.clear();
  append_canonical(row, scratch_);
  XXH128_hash_t hash = XXH3_128bits(scratch_.data(), scratch_.size());
  ++bucket.rows;
  bucket.low += hash.low64;
  bucket.high += hash.high64;
}

std::vector<bool> TableDigest::differing(const TableDigest& other, bool& any) const {
  any = false;
  std::vector<bool> out(bucket_count);
  for (std::size_t i = 0; i < bucket_count; ++i) {
    out[i] = !(buckets_[i] == other.buckets_[i]);
    any |= out[i];
  }
  return out;
}

void DifferingRows::add(const Row& row) {
  if (rows_.size() >= max_rows || !buckets_[bucket_of(row, shape_, scratch_)]) return;
  std::string key;
  for (std::size_t position : shape_.key) {
    key += fmt::format("{}{}={}", key.empty() ? "" : ", ", shape_.columns[position], shown(row[position]));
  }
  std::string text;
  for (std::size_t i = 0; i < row.size(); ++i) {
    text += fmt::format("{}{}={}", i == 0 ? "" : ", ", shape_.columns[i], shown(row[i]));
  }
  // Values that are cut for showing must still tell rows apart.
  scratch_.clear();
  append_canonical(row, scratch_);
  text += fmt::format("\x1f{:016x}", XXH3_64bits(scratch_.data(), scratch_.size()));
  rows_.emplace(key.empty() ? text.substr(0, text.find('\x1f')) : key, std::move(text));
}

}  // namespace tailrace::verify
