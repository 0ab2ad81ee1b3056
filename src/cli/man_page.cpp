#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "cli/described.h"

namespace tailrace::cli {
namespace {

/// As roff reads it back: a backslash begins a command, a hyphen would become a dash, and a point or a quote
/// that begins a line is a command too.
std::string escaped(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    line_begins = c == '\n';
    switch (c) {
      case '\\': out += "\\e"; break;
      case '-': out += "\\-"; break;
      case '\'': out += "\\(aq"; break;
      case '^': out += "\\(ha"; break;
      case '~': out += "\\(ti"; break;
      case '`': out += "\\(ga"; break;
      default: out += c;
    }
  }
  return out;
}

std::string synopsis(const DescribedCommand& command) {
  std::string out = fmt::format(".B {}\n", escaped(command.path));
  if (!command.options.empty()) out += "[\\fIOPTIONS\\fR]\n";
  for (const auto& positional : command.positionals)
    out += fmt::format("[\\fI{}\\fR]\n", escaped(positional.value));
  if (!command.commands.empty()) out += "\\fICOMMAND\\fR\n";
  return out;
}

std::string entry(const DescribedOption& option) {
  std::string out = ".TP\n";
  std::string names;
  for (const auto& name : option.names) {
    names += names.empty() ? "" : ", ";
    names += name.starts_with('-') ? fmt::format("\\fB{}\\fR", escaped(name)) : "";
  }
  if (!option.value.empty())
    names += fmt::format("{}\\fI{}\\fR", names.empty() ? "" : " ", escaped(option.value));
  return out + names + "\n" + escaped(option.help) + "\n";
}

/// The examples stand in lines of two blanks; what else there is, in lines of its own.
std::string footer(const std::string& text) {
  std::string out;
  bool literal = false;
  auto literally = [&](bool wanted) {
    if (std::exchange(literal, wanted) == wanted) return;
    out += wanted ? ".nf\n" : ".fi\n";
  };
  for (std::size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line == "Examples:") {
      out += ".SH EXAMPLES\n";
    } else if (line.starts_with("  ")) {
      literally(true);
      out += escaped(line) + "\n";
    } else if (line.empty()) {
      literally(false);
    } else {
      if (literal) {
        literally(false);
        out += ".PP\n";
      } else if (line.starts_with("Exit codes:")) {
        out += ".SH EXIT STATUS\n";
        line = line.substr(line.find(':') + 2);
      }
      out += escaped(line) + "\n";
    }
  }
  literally(false);
  return out;
}

}  // namespace

std::vector<const DescribedCommand*> flattened(const DescribedCommand& all) {
  std::vector<const DescribedCommand*> out{&all};
  for (const auto& command : all.commands) {
    auto below = flattened(command);
    out.insert(out.end(), below.begin(), below.end());
  }
  return out;
}

std::string man_page_name(const DescribedCommand& command) {
  std::string out = command.path;
  std::ranges::replace(out, ' ', '-');
  return out;
}

std::string man_page(const DescribedCommand& command, const DescribedCommand& all, const std::string& version) {
  std::string name = man_page_name(command);
  std::string title = name;
  std::ranges::transform(title, title.begin(), [](unsigned char c) { return std::toupper(c); });
  std::string out =
      fmt::format(".TH {} 1 \"\" \"tailrace {}\" \"tailrace\"\n", escaped(title), escaped(version));
  out += fmt::format(".SH NAME\n{} \\- {}\n", escaped(name), escaped(command.help));
  out += ".SH SYNOPSIS\n" + synopsis(command);
  if (!command.commands.empty()) {
    out += ".SH COMMANDS\n";
    for (const auto& below : command.commands)
      out += fmt::format(".TP\n\\fB{}\\fR(1)\n{}\n", escaped(man_page_name(below)), escaped(below.help));
  }
  if (!command.positionals.empty()) out += ".SH ARGUMENTS\n";
  for (const auto& positional : command.positionals) out += entry(positional);
  if (!command.options.empty()) out += ".SH OPTIONS\n";
  for (const auto& option : command.options) out += entry(option);
  out += footer(command.footer);
  if (&command == &all) return out;
  auto parent = man_page_name(command);
  parent.resize(parent.rfind('-'));
  out += ".SH EXIT STATUS\nThose of\n.BR tailrace (1).\n";
  return out + fmt::format(".SH SEE ALSO\n.BR {} (1)\n", parent == "sync" ? "tailrace" : escaped(parent));
}

}  // namespace tailrace::cli
