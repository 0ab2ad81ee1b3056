#include "target/duckdb/taken_names.h"

#include <fmt/format.h>

#include <algorithm>

namespace tailrace::target::duckdb {
namespace {

/// No name has a zero byte.
std::string key(std::string_view schema, std::string_view name) {
  return folded(schema) + '\0' + folded(name);
}

}  // namespace

std::string folded(std::string_view name) {
  std::string out(name);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

bool same_name(std::string_view one, std::string_view other) {
  return folded(one) == folded(other);
}

void TakenNames::take(Oid owner, std::string_view schema, std::string_view name) {
  if (!name.empty()) owners_[key(schema, name)].push_back(owner);
}

void TakenNames::give_back(Oid owner, std::string_view schema, std::string_view name) {
  auto found = owners_.find(key(schema, name));
  if (found == owners_.end()) return;
  auto once = std::ranges::find(found->second, owner);
  if (once != found->second.end()) found->second.erase(once);
  if (found->second.empty()) owners_.erase(found);
}

bool TakenNames::has(Oid owner, std::string_view schema, std::string_view name) const {
  auto found = owners_.find(key(schema, name));
  return found != owners_.end() && std::ranges::find(found->second, owner) != found->second.end();
}

std::string TakenNames::free_name(Oid owner, std::string_view schema, const std::string& wanted) const {
  auto is_taken = [&](const std::string& name) {
    auto found = owners_.find(key(schema, name));
    return found != owners_.end() && std::ranges::any_of(found->second, [&](Oid one) { return one != owner; });
  };
  std::string name = wanted;
  for (int i = 2; is_taken(name); ++i) name = fmt::format("{}_{}", wanted, i);
  return name;
}

}  // namespace tailrace::target::duckdb
