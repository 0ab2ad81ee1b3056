#pragma once
// numeric and money, between PostgreSQL's forms and a scaled integer (PostgreSQL documentation: "Arbitrary
// Precision Numbers", "Monetary Types"; the binary form is base-10000 digits, weight, sign and display scale).
// Pure functions.

#include <cstdint>
#include <string>
#include <string_view>

#include "pg/codec/wire.h"

namespace tailrace::pg::codec {

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 UInt128;

constexpr int max_decimal_precision = 38;

/// The value times 10^scale. does_not_fit: NaN, the infinities, more than `precision` digits, and a display
/// scale other than `scale`, since the text would come back changed.
[[nodiscard]] Decoded decimal_from_text(std::string_view text, int precision, int scale, Int128& out);
[[nodiscard]] Decoded decimal_from_binary(std::string_view bytes, int precision, int scale, Int128& out);
/// The same of a value with any display scale that has no digit but 0 behind `scale`.
[[nodiscard]] Decoded decimal_of_any_scale_from_text(std::string_view text, int precision, int scale,
                                                     Int128& out);
[[nodiscard]] Decoded decimal_of_any_scale_from_binary(std::string_view bytes, int precision, int scale,
                                                       Int128& out);
void append_decimal(std::string& out, Int128 value, int scale);

/// The number that has this text, if its shortest text is the same number. does_not_fit: another.
[[nodiscard]] Decoded double_from_numeric(std::string_view text, double& out);

/// The text of a binary numeric with its display scale; false when malformed.
[[nodiscard]] bool append_numeric(std::string& out, std::string_view bytes);

/// Cents, from the text of lc_monetary = C: "-$1,234.56".
[[nodiscard]] bool parse_money(std::string_view text, std::int64_t& cents);
void append_money(std::string& out, std::int64_t cents);

}  // namespace tailrace::pg::codec
