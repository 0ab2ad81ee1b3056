#pragma once
// JsonValue: values of the target's tables as the JSON of tailrace's own books.

#include <string>

#include "target/postgres/target_table.h"

namespace tailrace::target::postgres {

/// SQL for a value of the column whose JSON the server makes by itself: of a user's type, its text. PostgreSQL
/// would look for a cast of it to json, and whoever owns the type wrote what that calls.
std::string for_json(const TargetColumn& column, const std::string& value);

}  // namespace tailrace::target::postgres
