#include "base/copy_anew.h"

#include <algorithm>

namespace tailrace {
namespace {

constexpr std::string_view run_again = "tailrace run --recopy";

/// What stands between "tailrace run" and "--recopy": with a space before each.
std::string run_arguments;

/// For a shell.
std::string quoted(const std::string& argument) {
  constexpr std::string_view plain = "@%+=:,./-_";
  bool safe = !argument.empty() && std::ranges::all_of(argument, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || plain.contains(c);
  });
  if (safe) return argument;
  std::string out = "'";
  for (char c : argument) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// As far as can be seen: rather one too many.
bool holds_secret(std::string_view argument) {
  if (argument.contains("password")) return true;
  auto user = argument.find("://");
  if (user == std::string_view::npos) return argument.contains('@');
  // A keyword may be spelled by its characters' codes.
  if (argument.contains('%')) return true;
  auto end = argument.rfind('@');
  return end != std::string_view::npos &&
         argument.substr(user + 3, end - std::min(end, user + 3)).contains(':');
}

}  // namespace

void note_run(const std::vector<std::string>& arguments) {
  run_arguments.clear();
  if (arguments.empty() || arguments.front() != "run") return;
  std::string out;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    if (argument == "--recopy-all" || argument.starts_with("--recopy=")) continue;
    if (argument == "--recopy") {
      ++i;
      continue;
    }
    if (holds_secret(argument)) return;
    out += " " + quoted(argument);
  }
  run_arguments = out;
}

std::string with_run_arguments(std::string_view text) {
  std::string out;
  for (;;) {
    auto at = text.find(run_again);
    if (at == std::string_view::npos || run_arguments.empty()) return out.append(text);
    auto end_of_run = at + run_again.size() - std::string_view(" --recopy").size();
    out.append(text.substr(0, end_of_run)).append(run_arguments);
    text.remove_prefix(end_of_run);
    out.append(text.substr(0, std::string_view(" --recopy").size()));
    text.remove_prefix(std::string_view(" --recopy").size());
  }
}

}  // namespace tailrace
