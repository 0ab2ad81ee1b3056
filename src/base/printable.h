#pragma once
// Printable: text of others (a server's words, names, values) as it may reach a terminal or a log.

#include <string>
#include <string_view>
#include <vector>

namespace tailrace {

/// UTF-8 with everything escaped (\x1b, \u{202e}) that a terminal would obey rather than show: control
/// characters, also those of Unicode, what is not UTF-8, and what turns the direction of writing. A tab becomes
/// a space. `lines`: ends of lines stay.
std::string printable(std::string_view text, bool lines = false);

/// Names for a sentence: the first few, and how many more.
std::string some_of(const std::vector<std::string>& names);

}  // namespace tailrace
