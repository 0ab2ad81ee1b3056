#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "cli/command.h"
#include "cli/described.h"

namespace tailrace::cli {
namespace {

void write(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out)
    throw Error(Retry::needs_operator, fmt::format("cannot write {}", file.string()),
                "Name a folder that you may write to, with room in it");
}

}  // namespace

int command_completion(const DescribedCommand& all, const Options& options) {
  auto script = completion_script(all, options.shell);
  if (script.empty()) throw UsageProblems{{{"SHELL", "must be one of: bash, zsh, fish", "", 0, 0}}};
  fmt::print("{}", script);
  return exit_ok;
}

int command_man(const DescribedCommand& all, const Options& options) {
  auto commands = flattened(all);
  if (!options.into.empty()) {
    std::filesystem::path share(options.into);
    for (const auto* command : commands)
      write(share / "man/man1" / (man_page_name(*command) + ".1"), man_page(*command, all, TAILRACE_VERSION));
    write(share / "bash-completion/completions/tailrace", completion_script(all, "bash"));
    // Debian's zsh looks here below /usr, and every zsh there below /usr/local.
    for (const char* folder : {"zsh/vendor-completions", "zsh/site-functions"})
      write(share / folder / "_tailrace", completion_script(all, "zsh"));
    write(share / "fish/vendor_completions.d/tailrace.fish", completion_script(all, "fish"));
    return exit_ok;
  }
  std::string wanted = "tailrace";
  for (const auto& word : options.words) wanted += " " + word;
  for (const auto* command : commands) {
    if (command->path != wanted) continue;
    fmt::print("{}", man_page(*command, all, TAILRACE_VERSION));
    return exit_ok;
  }
  throw UsageProblems{{{"COMMAND", fmt::format("there is no command '{}'", wanted), "", 0, 0}}};
}

}  // namespace tailrace::cli
