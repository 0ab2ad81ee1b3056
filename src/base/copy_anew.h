#pragma once
// The way out wherever changes of the source cannot be had any more, as a remedy names it: "tailrace run
// --recopy-all", or "tailrace run --recopy SCHEMA.TABLE". It is written as if a run had no arguments of its
// own; where it is told, it has those of this run, so that it can be pasted whole.

#include <string>
#include <string_view>
#include <vector>

namespace tailrace {

constexpr const char* copy_all_anew = "Copy everything anew, in place: tailrace run --recopy-all";

/// `arguments`: of this process, the command first. Once, before there is another thread. Of any command but
/// run, or if one holds a secret, nothing is completed.
void note_run(const std::vector<std::string>& arguments);

/// `text` with this run's arguments in every such command. From any thread.
std::string with_run_arguments(std::string_view text);

}  // namespace tailrace
