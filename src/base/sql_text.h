#pragma once
// Names and texts as SQL writes them; PostgreSQL (standard_conforming_strings) and DuckDB agree on it.

#include <string>
#include <string_view>

namespace tailrace {

std::string quote_identifier(std::string_view name);
std::string quote_literal(std::string_view text);
/// "schema"."name"
std::string quote_qualified(std::string_view schema, std::string_view name);

}  // namespace tailrace
