#pragma once
// TakenNames: the names that tables have in a DuckDB file, whose they are, and which are free. DuckDB compares
// names without the case of ASCII letters.

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/lsn.h"

namespace tailrace::target::duckdb {

/// As DuckDB folds it.
std::string folded(std::string_view name);
bool same_name(std::string_view one, std::string_view other);

/// Each question takes the same time however many names there are. Not thread-safe.
class TakenNames {
 public:
  /// The owner of what is not ours.
  static constexpr Oid foreign = 0;

  /// An owner may have a name more than once, and gives it back as often. One that is empty is no name.
  void take(Oid owner, std::string_view schema, std::string_view name);
  void give_back(Oid owner, std::string_view schema, std::string_view name);

  bool has(Oid owner, std::string_view schema, std::string_view name) const;
  /// `wanted`, or with a suffix where another one than `owner` has that name in the schema.
  std::string free_name(Oid owner, std::string_view schema, const std::string& wanted) const;

 private:
  std::unordered_map<std::string, std::vector<Oid>> owners_;
};

}  // namespace tailrace::target::duckdb
