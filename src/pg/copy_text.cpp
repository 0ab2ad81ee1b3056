#include "pg/copy_text.h"

namespace tailrace::pg {

std::string_view unescape_copy_text(std::string_view field, std::string& scratch) {
  static constexpr std::string_view letters = "bfnrtv";
  static constexpr std::string_view meant = "\b\f\n\r\t\v";
  std::size_t escape = field.find('\\');
  if (escape == std::string_view::npos) return field;
  scratch.clear();
  std::size_t from = 0;
  for (; escape != std::string_view::npos && escape + 1 < field.size(); escape = field.find('\\', from)) {
    scratch.append(field, from, escape - from);
    char c = field[escape + 1];
    auto letter = letters.find(c);
    scratch.push_back(letter == std::string_view::npos ? c : meant[letter]);
    from = escape + 2;
  }
  scratch.append(field, from);
  return scratch;
}

void split_copy_row(std::string_view line, std::vector<std::optional<std::string_view>>& row,
                    std::vector<std::string>& scratch) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    auto tab = line.find('\t', at);
    auto field = line.substr(at, tab == std::string_view::npos ? tab : tab - at);
    at = tab == std::string_view::npos ? line.size() : tab + 1;
    row[i].reset();
    if (field != "\\N") row[i] = unescape_copy_text(field, scratch[i]);
  }
}

}  // namespace tailrace::pg
