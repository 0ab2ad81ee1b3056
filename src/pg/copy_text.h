#pragma once
// The text format of COPY (PostgreSQL documentation: COPY, "Text Format").

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tailrace::pg {

/// A field without its backslash escapes: `field` itself where there are none, else a view of `scratch`.
/// Octal and hexadecimal escapes do not occur: COPY TO writes none.
std::string_view unescape_copy_text(std::string_view field, std::string& scratch);

/// One line, without its newline, into as many fields as `row` holds; NULL is nullopt. The fields are views of
/// `line` and, where they had escapes, of `scratch`, which holds a string a field.
void split_copy_row(std::string_view line, std::vector<std::optional<std::string_view>>& row,
                    std::vector<std::string>& scratch);

}  // namespace tailrace::pg
