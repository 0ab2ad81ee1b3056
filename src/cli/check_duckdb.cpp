#include "cli/check_duckdb.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "base/real_path.h"
#include "cli/command.h"
#include "config/validation.h"
#include "pipeline/open_options.h"
#include "serve/control_client.h"
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
  FileChecks(const config::Config& config, std::vector<PlannedTable>& plan,
             std::optional<Checkpoint>& checkpoint)
      : config_(config),
        plan_(plan),
        checkpoint_(checkpoint),
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
        "# let this user write there, or name a file in a folder of its own");
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
    serve::ControlClient client(control_places(config_));
    if (client.running()) return running(client);
    try {
      auto held = target::peek(pipeline::open_options(config_));
      checkpoint_ = held.checkpoint;
      followed(held);
    } catch (const Error& error) {
      add(Verdict::fail, "target", error.message(), error.remedy());
      return false;
    }
    return true;
  }

  bool running(const serve::ControlClient& client) {
    std::optional<pipeline::Status> status;
    try {
      status = client.status();
    } catch (const Error& error) {
      add(Verdict::fail, "target", error.message(), error.remedy());
      return false;
    }
    if (status && (status->name != config_.name || status->slot != config_.slot.name)) {
      add(Verdict::fail, "target",
          fmt::format("the tailrace named {} is running on it, with slot \"{}\"", status->name, status->slot),
          "# name another file; or stop that one first");
      return false;
    }
    std::set<std::string> tables;
    if (status) {
      for (const auto& table : status->tables)
        if (table.state != pipeline::TableState::stopped) tables.insert(table.schema + "." + table.name);
    }
    mark(tables);
    add(Verdict::pass, "target", "this tailrace is running on it");
    return true;
  }

  void mark(const std::set<std::string>& followed) {
    for (auto& table : plan_)
      if (followed.contains(table.table)) table.action = "followed already";
  }

  /// Whether it can be gone on from is asked elsewhere, as a start asks.
  void followed(const target::Peeked& held) {
    auto place = config_.target.url();
    if (!held.checkpoint) return add(Verdict::pass, "target", place + " is there, and follows nothing yet");
    std::set<std::string> tables;
    for (const auto& table : held.tables)
      if (table.copied) tables.insert(table.qualified());
    mark(tables);
    add(Verdict::pass, "target", fmt::format("has all up to {}", held.checkpoint->lsn.str()));
  }

  void room() {
    struct statvfs disk{};
    if (::statvfs(folder_.c_str(), &disk) != 0) return;
    auto free = static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
    auto coming = plan_;
    std::erase_if(coming, [](const auto& table) { return table.action == "followed already"; });
    bool followed = coming.empty() && !plan_.empty();
    auto wanted = bytes_of(coming);
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
  std::vector<PlannedTable>& plan_;
  std::optional<Checkpoint>& checkpoint_;
  std::string file_;
  std::string folder_;
  std::error_code ignored_;
  std::vector<CheckResult> out_;
};

}  // namespace

std::vector<CheckResult> check_duckdb(const config::Config& config, std::vector<PlannedTable>& plan,
                                      std::optional<Checkpoint>& checkpoint) {
  return FileChecks(config, plan, checkpoint).all();
}

}  // namespace tailrace::cli
