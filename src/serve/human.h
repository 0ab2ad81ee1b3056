#pragma once
// Human: numbers as people read them.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tailrace::serve {

std::string human_count(std::int64_t count);                           ///< "1,234,567"
std::string human_number(std::int64_t count, std::string_view thing);  ///< "1 table", "2,000 tables"
std::string human_bytes(std::int64_t bytes);                           ///< "1.2 MB", powers of 1024
std::string human_duration(double seconds);  ///< "0.2 s", "45 s", "1m 20s", "2h 3m", "3d 4h"
/// Columns that a terminal needs: of most characters one, of East Asian ones two.
std::size_t display_width(const std::string& text);
/// Shortened to `width` columns, with an ellipsis if anything was cut.
std::string clip(const std::string& text, std::size_t width);
/// Its words in lines of `width` columns, `most` of them; what is left over is cut off with an ellipsis.
std::vector<std::string> wrap(const std::string& text, std::size_t width, std::size_t most);
std::string pad_right(const std::string& text, std::size_t width);
std::string pad_left(const std::string& text, std::size_t width);

}  // namespace tailrace::serve
