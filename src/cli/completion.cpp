#include <fmt/format.h>

#include <algorithm>

#include "cli/described.h"

// What the shells are told, so that TAB knows the commands, their options and the values of those.

namespace tailrace::cli {
namespace {

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

/// Between single quotes: of bash, zsh and fish alike, where no backslash is in it.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::vector<std::string> names_of(const std::vector<DescribedCommand>& commands) {
  std::vector<std::string> out;
  for (const auto& command : commands) out.push_back(command.name());
  return out;
}

bool is_file(const DescribedOption& option) {
  return option.value == "FILE";
}

/// What stands where a source or a target is wanted: how they begin, and files.
std::string beginnings(const DescribedCommand& command) {
  std::string out;
  for (const auto& positional : command.positionals) {
    if (!positional.words.empty()) out += joined(positional.words) + " ";
    if (positional.value == "TARGET") out += "duckdb: ";
    if (positional.value == "SOURCE") out += "postgres:// ";
  }
  if (!out.empty()) out.pop_back();
  return out;
}

// bash ----------------------------------------------------------------------------------------------------

std::string bash_script(const DescribedCommand& all) {
  std::string levels;
  std::string values;
  std::string words;
  for (const auto* command : flattened(all)) {
    for (const auto& below : command->commands)
      levels += fmt::format("      {}) path={} ;;\n", quoted(below.path), quoted(below.path));
    std::vector<std::string> options;
    for (const auto& option : command->options) {
      options.insert(options.end(), option.names.begin(), option.names.end());
      if (option.value.empty()) continue;
      std::string cases;
      for (const auto& name : option.names)
        cases += (cases.empty() ? "" : "|") + quoted(command->path + " " + name);
      if (is_file(option))
        values += fmt::format("    {}) _tailrace_files; return ;;\n", cases);
      else
        values += fmt::format("    {}) COMPREPLY=($(compgen -W {} -- \"$cur\")); return ;;\n", cases,
                              quoted(joined(option.words)));
    }
    std::string others = command->commands.empty() ? beginnings(*command) : joined(names_of(command->commands));
    words += fmt::format("    {})\n      options={}\n      others={}\n      ;;\n", quoted(command->path),
                         quoted(joined(options)), quoted(others));
  }
  return fmt::format(R"(# bash completion for tailrace: source it, or let bash-completion find it.

_tailrace_files() {{
  local IFS=$'\n'
  COMPREPLY=($(compgen -f -- "$cur"))
  compopt -o filenames 2>/dev/null
}}

_tailrace() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev= path=tailrace options= others= i
  COMPREPLY=()
  ((COMP_CWORD > 0)) && prev=${{COMP_WORDS[COMP_CWORD - 1]}}
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
{levels}    esac
  done
  # --option=value comes in three words, and duckdb:FILE too.
  if [[ $cur == '=' ]]; then
    cur=
  elif [[ $prev == '=' ]] && ((COMP_CWORD > 1)); then
    prev=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  if [[ $cur == ':' || $prev == ':' ]]; then
    [[ $cur == ':' ]] && cur=
    _tailrace_files
    return
  fi
  case "$path $prev" in
{values}  esac
  case "$path" in
{words}  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$others" -- "$cur"))
    [[ ${{COMPREPLY[*]}} == *: || ${{COMPREPLY[*]}} == */ ]] && compopt -o nospace 2>/dev/null
  fi
}}

complete -F _tailrace tailrace
)",
                     fmt::arg("levels", levels), fmt::arg("values", values), fmt::arg("words", words));
}

// zsh -----------------------------------------------------------------------------------------------------

/// In a specification of _arguments, where these have a meaning.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_action(const DescribedOption& option) {
  if (is_file(option)) return "_files";
  if (!option.words.empty()) return "(" + joined(option.words) + ")";
  return option.value == "TARGET" || option.value == "SOURCE" ? "_tailrace_" + std::string("place") : " ";
}

std::string zsh_arguments(const DescribedCommand& command) {
  std::string out;
  for (const auto& option : command.options) {
    std::string value =
        option.value.empty() ? "" : fmt::format(":{}:{}", zsh_text(option.value), zsh_action(option));
    std::string others = option.repeats ? "*" : fmt::format("({})", joined(option.names));
    for (const auto& name : option.names) {
      std::string spec = fmt::format("{}{}[{}]{}", others, name, zsh_text(option.help), value);
      out += " \\\n        " + quoted(spec);
    }
  }
  int number = 0;
  for (const auto& positional : command.positionals)
    out += " \\\n        " +
           quoted(fmt::format("{}:{}:{}", ++number, zsh_text(positional.value), zsh_action(positional)));
  return out;
}

std::string zsh_function(const DescribedCommand& command) {
  std::string name = command.path;
  std::ranges::replace(name, ' ', '_');
  std::ranges::replace(name, '-', '_');
  if (command.commands.empty())
    return fmt::format("_{}() {{\n    _arguments{}\n}}\n\n", name, zsh_arguments(command));
  std::string out;
  std::string list;
  std::string cases;
  for (const auto& below : command.commands) {
    std::string function = below.path;
    std::ranges::replace(function, ' ', '_');
    std::ranges::replace(function, '-', '_');
    out += zsh_function(below);
    list += " \\\n        " + quoted(fmt::format("{}:{}", below.name(), zsh_text(below.help)));
    cases += fmt::format("                {}) _{} ;;\n", below.name(), function);
  }
  return out + fmt::format(R"(_{name}() {{
    local state line
    local -a commands=({list})
    _arguments -C{arguments} \
        '1:command:->command' '*::argument:->argument'
    case $state in
        command) _describe command commands ;;
        argument)
            case $line[1] in
{cases}            esac
            ;;
    esac
}}

)",
                           fmt::arg("name", name), fmt::arg("list", list),
                           fmt::arg("arguments", zsh_arguments(command)), fmt::arg("cases", cases));
}

std::string zsh_script(const DescribedCommand& all) {
  return "#compdef tailrace\n# zsh completion for tailrace: a folder of $fpath is its place, under the name "
         "_tailrace.\n\n"
         "_tailrace_place() {\n    _alternative 'schemes:scheme:(postgres\\:// duckdb\\:)' "
         "'files:file:_files'\n}\n\n" +
         zsh_function(all) +
         "if [[ $funcstack[1] == _tailrace ]]; then\n    _tailrace \"$@\"\nelse\n    compdef "
         "_tailrace tailrace\nfi\n";
}

// fish ----------------------------------------------------------------------------------------------------

std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string fish_script(const DescribedCommand& all) {
  std::string levels;
  std::string entries;
  for (const auto* command : flattened(all)) {
    std::string here = fmt::format("complete -c tailrace -n {}", fish_quoted("__tailrace_at " + command->path));
    for (const auto& below : command->commands) {
      levels += " " + fish_quoted(below.path);
      entries += fmt::format("{} -f -a {} -d {}\n", here, below.name(), fish_quoted(below.help));
    }
    for (const auto& option : command->options) {
      entries += here;
      for (const auto& name : option.names)
        entries += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (is_file(option))
        entries += " -r -F";
      else if (!option.value.empty())
        entries += " -x";
      if (!option.words.empty()) entries += " -a " + fish_quoted(joined(option.words));
      entries += " -d " + fish_quoted(option.help) + "\n";
    }
    if (auto words = beginnings(*command); !words.empty())
      entries += fmt::format("{} -a {}\n", here, fish_quoted(words));
  }
  return fmt::format(R"(# fish completion for tailrace.

function __tailrace_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l path tailrace
    for word in $words
        if contains -- "$path $word"{levels}
            set path "$path $word"
        end
    end
    test "$path" = "$argv"
end

{entries})",
                     fmt::arg("levels", levels), fmt::arg("entries", entries));
}

}  // namespace

std::string completion_script(const DescribedCommand& all, const std::string& shell) {
  if (shell == "bash") return bash_script(all);
  if (shell == "zsh") return zsh_script(all);
  if (shell == "fish") return fish_script(all);
  return "";
}

}  // namespace tailrace::cli
