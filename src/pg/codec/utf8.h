#pragma once
// UTF-8 as PostgreSQL and DuckDB both define it: no overlong forms, no surrogates, nothing above U+10FFFF.

#include <string_view>

namespace tailrace::pg::codec {

/// Fast on ASCII.
[[nodiscard]] bool is_valid_utf8(std::string_view text);

}  // namespace tailrace::pg::codec
