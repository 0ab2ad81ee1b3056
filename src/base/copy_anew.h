#pragma once
// The way out wherever changes of the source cannot be had any more, as a remedy names it.

#include <string_view>

namespace tailrace {

/// What main.cpp completes by the arguments that it was given, so that it can be pasted whole.
constexpr std::string_view copy_all_anew_command = "tailrace run --recopy-all";
constexpr const char* copy_all_anew = "Copy everything anew, in place: tailrace run --recopy-all";

}  // namespace tailrace
