#pragma once
// JSON string escaping for the paths that write JSON by the line (logs, `tailrace tail`).

#include <string>
#include <string_view>

namespace tailrace {

/// Appends `text` (UTF-8) as a JSON string with its quotes. Bytes that are not valid UTF-8 are kept as they
/// are, so callers pass valid UTF-8 or encode first.
void append_json_string(std::string& out, std::string_view text);

std::string json_quote(std::string_view text);

}  // namespace tailrace
