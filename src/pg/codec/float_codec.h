#pragma once
// float4 and float8, to and from the text of extra_float_digits = 3 (PostgreSQL documentation: "Floating-Point
// Types"): the shortest text that reads back as the same value. Pure functions.

#include <string>
#include <string_view>

namespace tailrace::pg::codec {

[[nodiscard]] bool parse_float4(std::string_view text, float& out);
[[nodiscard]] bool parse_float8(std::string_view text, double& out);
void append_float4(std::string& out, float value);
void append_float8(std::string& out, double value);

}  // namespace tailrace::pg::codec
