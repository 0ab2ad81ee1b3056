#include "target/postgres/json_value.h"

#include <fmt/format.h>

namespace tailrace::target::postgres {
namespace {

constexpr Oid first_user_oid = 16384;

}  // namespace

std::string for_json(const TargetColumn& column, const std::string& value) {
  // A domain's JSON is that of what it is at the bottom.
  if (column.base_oid < first_user_oid) return value;
  return fmt::format("case when pg_catalog.num_nulls({0}) = 0 then pg_catalog.concat({0}) end", value);
}

}  // namespace tailrace::target::postgres
