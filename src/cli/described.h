#pragma once
// DescribedCommand: what --help knows of a command, as plain values. Completion and man pages are made from it,
// so that they cannot know less or more.

#include <string>
#include <vector>

namespace tailrace::cli {

struct DescribedOption {
  std::vector<std::string> names;  ///< "-c", "--config"; of a positional its one name, without dashes
  std::string value;               ///< "FILE"; empty: it takes none
  std::vector<std::string> words;  ///< all values that it takes, where that is so few that they are named
  std::string help;
  bool repeats = false;
};

struct DescribedCommand {
  std::string path;  ///< "tailrace config check"
  std::string help;
  std::string footer;  ///< examples, and what else there is to say
  std::vector<DescribedOption> options;
  std::vector<DescribedOption> positionals;
  std::vector<DescribedCommand> commands;  ///< below it

  std::string name() const { return path.substr(path.rfind(' ') + 1); }
};

/// A script for that shell; empty where it is none of bash, zsh and fish.
std::string completion_script(const DescribedCommand& all, const std::string& shell);

/// Of one command, in man's macros: tailrace-config-check(1). `all`: for the others that it names.
std::string man_page(const DescribedCommand& command, const DescribedCommand& all, const std::string& version);
/// "tailrace-config-check".
std::string man_page_name(const DescribedCommand& command);

/// This one and all below it that can be called.
std::vector<const DescribedCommand*> flattened(const DescribedCommand& all);

}  // namespace tailrace::cli
