#pragma once
// Command: what main.cpp hands to one of the commands, and what a command hands back to the shell.

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/stop.h"
#include "config/validation.h"
#include "pipeline/copy_outcome.h"
#include "serve/socket_places.h"

namespace tailrace::cli {

/// Documented in the help and in docs: scripts rely on them.
enum Exit : int {
  exit_ok = 0,
  exit_differs = 1,     ///< a check failed, verify found differences, or status found nothing running
  exit_usage = 2,       ///< the command line or the configuration file is wrong
  exit_operator = 3,    ///< somebody must change something first; the message says what
  exit_fatal = 4,       ///< damaged data or a bug: stopped rather than guessed
  exit_retry = 5,       ///< a temporary failure, such as a server that is down: the same command may work later
  exit_unfinished = 6,  ///< stopped while tables were still to be copied: the same command goes on
};

/// The command line as it was typed. Empty and 0 mean: not given.
struct Options {
  std::string config_file;
  std::string source;
  std::string target;
  std::string name;
  std::string slot;
  std::vector<std::string> publications;
  std::vector<std::string> tables;
  std::string memory;
  int readers = 0;
  std::string origin;
  std::string log_level;
  std::string log_format;
  std::string http;
  bool json = false;
  bool watch = false;
  std::vector<std::string> recopy;  ///< run
  bool recopy_all = false;          ///< run
  bool once = false;                ///< run
  std::string until;                ///< run
  bool create_slot = false;         ///< init
  bool stop_running = false;        ///< teardown
  bool repair = false;              ///< verify
  bool continuous = false;          ///< verify
  int rate = 50'000;                ///< verify --continuous: rows a second
  std::string lsn;                  ///< skip
  bool forget = false;              ///< skip
  std::string table;                ///< replay
  bool discard = false;             ///< replay
  bool with_password = false;       ///< config init
  std::string shell;                ///< completion
  std::vector<std::string> words;   ///< man
  std::string into;                 ///< man
};

/// Thrown by load(); main prints the problems and leaves with exit_usage.
struct UsageProblems {
  config::Problems problems;
};

/// The configuration file, overlaid by flags, then by TAILRACE_SOURCE and TAILRACE_TARGET where nothing else
/// says them; completed and valid, the log configured.
config::Config load(const Options& options, config::Needs needs);

/// Where the control socket of this configuration's target may stand.
serve::SocketPlaces control_places(const config::Config& config);

/// The stop that signals request.
StopSignal& stop_signal();
/// SIGINT, SIGTERM and SIGHUP request a stop; the second one leaves at once.
void catch_signals();

/// Prints what, where and the remedy to standard error; returns the exit code for it.
int report(const Error& error);

/// A connection string with a password, or what came of one that was not quoted.
bool may_hold_secret(std::string_view argument);
/// What was given where something else belongs may be repeated to say so: a URL with its password among it.
std::string without_passwords(std::string text);

/// The last line of a run or a snapshot that was stopped, if its copy is not whole, and the exit code for it.
int report(const pipeline::CopyOutcome& outcome, const char* again);

/// Overwrites secrets in the memory from which `ps` reads the command line.
void hide_secrets(int argc, char** argv);

bool colour_wanted(std::FILE* out);

int command_run(const Options& options);
int command_snapshot(const Options& options);
int command_check(const Options& options);
int command_init(const Options& options);
int command_teardown(const Options& options);
int command_status(const Options& options);
int command_list(const Options& options);
int command_verify(const Options& options);
int command_sync_sequences(const Options& options);
int command_refresh(const Options& options);
int command_skip(const Options& options);
int command_replay(const Options& options);
int command_tail(const Options& options);
int command_config_check(const Options& options);
int command_config_init(const Options& options);
struct DescribedCommand;
int command_completion(const DescribedCommand& all, const Options& options);
int command_man(const DescribedCommand& all, const Options& options);
int command_version();

}  // namespace tailrace::cli
