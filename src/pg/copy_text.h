#pragma once
// The text format of COPY (PostgreSQL documentation: COPY, "Text Format").

#include <string>
#include <string_view>

namespace tailrace::pg {

/// A field without its backslash escapes: `field` itself where there are none, else a view of `scratch`.
/// Octal and hexadecimal escapes do not occur: COPY TO writes none.
std::string_view unescape_copy_text(std::string_view field, std::string& scratch);

}  // namespace tailrace::pg
