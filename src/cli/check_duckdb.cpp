#include "cli/check_duckdb.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/real_path.h"
#include "config/validation.h"
#include "pipeline/open_options.h"
#include "serve/human.h"
#include "target/open_target.h"

namespace tailrace::cli {
namespace {

namespace fs = std::filesystem;
using source::CheckResult;
using source::Verdict;

/// As a shell takes it.
std::string for_shell(const std::string& path) {
  std::string out = "'";
  for (char c : path) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

bool may_write(const std::string& path) {
  return ::access(path.c_str(), R_OK | W_OK) == 0;
}

class FileChecks {
 public:
  FileChecks(const config::Config& config, bool runs, std::vector<PlannedTable>& plan)
      : config_(config),
        runs_(runs),
        plan_(plan),
        file_(real_path(config.target.path)),
        folder_(fs::path(file_).parent_path().string()) {}

  std::vector<CheckResult> all() {
    name();
    if (!folder()) return std::move(out_);
    if (fs::exists(file_, ignored_)) {
      if (!file()) return std::move(out_);
    } else {
      add(Verdict::pass, "target", config_.target.url() + " will be made");
    }
    room();
    spool();
    return std::move(out_);
  }

 private:
  void add(Verdict verdict, std::string title, std::string detail, std::string remedy = {}) {
    out_.push_back({verdict, std::move(title), std::move(detail), std::move(remedy)});
  }

  void name() {
    auto stem = fs::path(file_).stem().string();
    std::ranges::transform(stem, stem.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (stem != "tailrace") return;
    add(Verdict::fail, "target's name", "the target file cannot be called tailrace: its schema of notes is",
        "# call the file otherwise");
  }

  bool folder() {
    if (!fs::is_directory(folder_, ignored_)) {
      add(Verdict::fail, "target's folder", folder_ + " is no folder", "mkdir -p " + for_shell(folder_));
      return false;
    }
    if (::access(folder_.c_str(), W_OK | X_OK) == 0) return true;
    add(Verdict::fail, "target's folder",
        fmt::format(
            "{} is not this user's to write to: the file, its log and what does not fit into memory are "
            "made there",
            folder_),
        fmt::format("sudo chown {} {}", ::geteuid(), for_shell(folder_)));
    return false;
  }

  bool file() {
    if (!fs::is_regular_file(file_, ignored_)) {
      add(Verdict::fail, "target", file_ + " is no file", "# name another one");
      return false;
    }
    if (!may_write(file_)) {
      add(Verdict::fail, "target", file_ + " is not this user's to read and write",
          fmt::format("sudo chown {} {}", ::geteuid(), for_shell(file_)));
      return false;
    }
    if (runs_) {
      for (auto& table : plan_) table.action = "followed already";
      add(Verdict::pass, "target", "a tailrace is running on it");
      return true;
    }
    try {
      followed(target::read_checkpoint(pipeline::open_options(config_)));
    } catch (const Error& error) {
      add(Verdict::fail, "target", error.message(), error.remedy());
      return false;
    }
    return true;
  }

  void followed(const std::optional<Checkpoint>& books) {
    if (!books)
      return add(Verdict::pass, "target", config_.target.url() + " is there, and follows nothing yet");
    if (books->slot.empty() && config_.snapshot.enabled)
      return add(Verdict::fail, "target", "it was filled by 'tailrace snapshot', which follows nothing",
                 "# name a new file; or go on from what is there (docs/start-from-a-dump.md)");
    if (!books->slot.empty() && books->slot != config_.slot.name)
      return add(
          Verdict::fail, "target",
          fmt::format("it follows slot \"{}\", but slot \"{}\" is configured", books->slot, config_.slot.name),
          fmt::format("# use --slot {}, or name a new file", books->slot));
    for (auto& table : plan_) table.action = "followed already";
    add(Verdict::pass, "target", fmt::format("follows already, and has all up to {}", books->lsn.str()));
  }

  void room() {
    struct statvfs disk{};
    if (::statvfs(folder_.c_str(), &disk) != 0) return;
    auto free = static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
    bool followed = !plan_.empty() && plan_[0].action == "followed already";
    auto wanted = followed ? 0 : bytes_of(plan_);
    auto said = fmt::format("{} free in {}", serve::human_bytes(free), folder_);
    if (!followed)
      said += fmt::format("; the tables have {} at the source, and usually less in a DuckDB file",
                          serve::human_bytes(wanted));
    // It is compressed, how far is not known before: half is common.
    auto verdict = free < wanted / 4 ? Verdict::fail : free < wanted ? Verdict::warn : Verdict::pass;
    add(verdict, "room for the target", said,
        verdict == Verdict::pass ? "" : "# free space there, or name a file on another disk");
  }

  void spool() {
    auto at = config::spool_directory(config_);
    if (::access(at.c_str(), W_OK | X_OK) == 0) return;
    add(Verdict::fail, "spool",
        fmt::format("{} is not this user's to write to: large transactions wait there", at),
        "# set spool: DIRECTORY");
  }

  const config::Config& config_;
  bool runs_;
  std::vector<PlannedTable>& plan_;
  std::string file_;
  std::string folder_;
  std::error_code ignored_;
  std::vector<CheckResult> out_;
};

}  // namespace

std::vector<CheckResult> check_duckdb(const config::Config& config, bool runs,
                                      std::vector<PlannedTable>& plan) {
  return FileChecks(config, runs, plan).all();
}

}  // namespace tailrace::cli
