// Reads the command line and calls one command. Every Error ends here, as a message and an exit code.

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <system_error>
#include <vector>

#include "base/copy_anew.h"
#include "base/errand.h"
#include "base/printable.h"
#include "base/system_failure.h"
#include "cli/command.h"
#include "cli/described.h"

namespace tailrace::cli {
namespace {

constexpr const char* exit_codes =
    "Exit codes: 0 done; 1 a check failed, differences were found, or nothing is running; 2 wrong usage or\n"
    "configuration; 3 somebody must change something first; 4 damaged data or a bug; 5 try again later;\n"
    "6 stopped before all tables were copied.";

class CommandLine {
 public:
  CommandLine() {
    app_.require_subcommand(1);
    app_.get_formatter()->column_width(34);
    app_.set_version_flag("--version", std::string("tailrace ") + TAILRACE_VERSION);
    app_.footer(std::string("Examples:\n"
                            "  tailrace check postgres://app@db/shop\n"
                            "  tailrace run postgres://app@db/shop duckdb:shop.duckdb\n"
                            "  tailrace status --watch duckdb:shop.duckdb\n\n") +
                exit_codes);
    run_and_snapshot();
    source_commands();
    target_commands();
    looking_commands();
    mending_commands();
    small_commands();
  }

  int parse_and_run(const std::vector<const char*>& arguments) {
    try {
      app_.parse(static_cast<int>(arguments.size()), arguments.data());
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError)) {
        if (arguments.size() == 1) {
          fmt::print("{}", app_.help());
          return exit_usage;
        }
        if (auto wrong = wrong_command(arguments); !wrong.empty()) {
          fmt::print(stderr, "tailrace: {}\n", printable(wrong));
          return exit_usage;
        }
      }
      // Help and version come this way too, with code 0.
      app_.failure_message(
          [&](const CLI::App*, const CLI::Error& said) { return without_secrets(said, arguments); });
      return app_.exit(error) == 0 ? exit_ok : exit_usage;
    }
    return chosen_();
  }

 private:
  /// CLI11 repeats what it could not use.
  static std::string without_secrets(const CLI::Error& error, const std::vector<const char*>& arguments) {
    std::string text = error.what();
    for (std::string_view argument : arguments) {
      if (!may_hold_secret(argument)) continue;
      for (auto at = text.find(argument); at != std::string::npos; at = text.find(argument))
        text.replace(at, argument.size(), "(left out: it may hold a password)");
    }
    return printable(text, /*lines=*/true) + "\nRun with --help for more information.\n";
  }

  /// CLI11 says no more than that one is missing.
  std::string wrong_command(const std::vector<const char*>& arguments) {
    const CLI::App* parent = &app_;
    std::string words = "tailrace";
    for (std::size_t i = 1; i < arguments.size(); ++i) {
      std::string_view word = arguments[i];
      if (word.starts_with('-')) continue;
      const auto subcommands = parent->get_subcommands([](const CLI::App*) { return true; });
      auto found = std::ranges::find(subcommands, word, [](const CLI::App* app) { return app->get_name(); });
      if (found != subcommands.end()) {
        parent = *found;
        words += fmt::format(" {}", word);
        continue;
      }
      if (subcommands.empty()) return "";
      std::string known;
      for (const auto* app : subcommands) known += (known.empty() ? "" : ", ") + app->get_name();
      return fmt::format("there is no command '{} {}'; there are: {}", words,
                         may_hold_secret(word) ? "..." : word, known);
    }
    return "";
  }

  static DescribedOption described(const CLI::Option& option) {
    DescribedOption out;
    for (const auto& name : option.get_snames()) out.names.push_back("-" + name);
    for (const auto& name : option.get_lnames()) out.names.push_back("--" + name);
    if (out.names.empty()) out.names.push_back(option.get_name());
    if (option.get_items_expected_max() > 0) out.value = option.get_type_name();
    out.help = option.get_description();
    if (auto otherwise = option.get_default_str(); !otherwise.empty()) out.help += " [" + otherwise + "]";
    out.repeats = option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll &&
                  option.get_items_expected_max() > 0 && !option.get_positional();
    bool words = out.value.contains('|') &&
                 std::ranges::all_of(out.value, [](char c) { return c == '|' || (c >= 'a' && c <= 'z'); });
    for (std::size_t at = 0; words && at < out.value.size();) {
      auto end = std::min(out.value.find('|', at), out.value.size());
      out.words.push_back(out.value.substr(at, end - at));
      at = end + 1;
    }
    return out;
  }

  static DescribedCommand described(const CLI::App& app, const std::string& above) {
    DescribedCommand out;
    out.path = above.empty() ? app.get_name() : above + " " + app.get_name();
    out.help = app.get_description();
    out.footer = app.get_footer();
    for (const auto* option : app.get_options())
      (option->get_positional() ? out.positionals : out.options).push_back(described(*option));
    for (const auto* below : app.get_subcommands([](const CLI::App*) { return true; }))
      out.commands.push_back(described(*below, out.path));
    return out;
  }

  CLI::App* command(CLI::App& parent, const char* name, const char* help, int (*action)(const Options&),
                    const char* examples) {
    CLI::App* out = parent.add_subcommand(name, help);
    out->footer(std::string("Examples:\n") + examples);
    out->callback([this, action] { chosen_ = [this, action] { return action(options_); }; });
    out->add_option("-c,--config", options_.config_file, "Configuration file (YAML)")->type_name("FILE");
    return out;
  }

  void source(CLI::App* to) {
    to->add_option("source", options_.source,
                   "PostgreSQL URL or key=value string; else the configuration's, or $TAILRACE_SOURCE")
        ->type_name("SOURCE");
  }

  void target(CLI::App* to) {
    to->add_option("target", options_.target,
                   "duckdb:FILE or postgres://...; else the configuration's, or $TAILRACE_TARGET")
        ->type_name("TARGET");
  }

  void naming(CLI::App* to) {
    to->add_option("--name", options_.name, "Name of this mirror; slot and publication are called after it");
    to->add_option("--slot", options_.slot, "Replication slot")->type_name("NAME");
    to->add_option("--publication", options_.publications, "Publication; repeat it for several existing ones")
        ->type_name("NAME")
        ->expected(1)
        ->take_all()
        ->allow_extra_args(false);
  }

  void selecting(CLI::App* to) {
    to->add_option("-t,--table", options_.tables,
                   "Pattern of tables, such as 'public.*' or '!public.audit_*'; repeat it, later ones win")
        ->type_name("PATTERN")
        ->expected(1)
        ->take_all()
        ->allow_extra_args(false);
  }

  void origin(CLI::App* to) {
    to->add_option("--origin", options_.origin,
                   "none: leave out what came to the source by replication, as where two databases follow each "
                   "other")
        ->type_name("any|none");
  }

  void working(CLI::App* to) {
    to->add_option("--readers", options_.readers, "Parallel connections for the copy, 1 to 64")
        ->type_name("NUMBER")
        ->check(CLI::Range(1, 64).description(""));
    to->add_option("--memory", options_.memory, "What the process should stay under, such as 512MB")
        ->type_name("SIZE");
  }

  void logging(CLI::App* to) {
    to->add_option("--log-level", options_.log_level, "The least that is logged")
        ->type_name("debug|info|warn|error");
    to->add_option("--log-format", options_.log_format, "One line an event, for people or machines")
        ->type_name("text|json");
  }

  void json(CLI::App* to, const char* help) { to->add_flag("--json", options_.json, help); }

  void run_and_snapshot() {
    auto* run = command(
        app_, "run", "Copy a database, then follow its changes", command_run,
        "  tailrace run postgres://app@db/shop duckdb:shop.duckdb\n"
        "  tailrace run postgres://app@old/shop postgres://app@new/shop\n"
        "  tailrace run postgres://app@db/shop duckdb:shop.duckdb -t 'public.*' -t '!public.audit_*'\n"
        "  tailrace run -c tailrace.yaml\n"
        "  tailrace run -c tailrace.yaml --recopy-all\n"
        "  tailrace run -c tailrace.yaml --once\n"
        "Ctrl-C finishes the batch and leaves; run the same command again to go on. While tables are copied\n"
        "it says which are missing, and leaves with 6.");
    run->add_option("--recopy", options_.recopy, "Copy this table anew, as SCHEMA.TABLE; repeat it for more")
        ->type_name("TABLE")
        ->expected(1)
        ->take_all()
        ->allow_extra_args(false);
    run->add_flag(
        "--recopy-all", options_.recopy_all,
        "Copy everything anew, in place, with a new slot: by wish, or where the old one is lost or gone");
    run->add_flag("--once", options_.once,
                  "Follow to the source's end as of now, then leave; for cron and pipelines");
    run->add_option("--until", options_.until,
                    "Follow up to a position, or to a time of the source's clock such as "
                    "2026-11-30T22:10:00Z, then leave")
        ->type_name("LSN|TIME");
    run->add_option("--http", options_.http,
                    "Serve /metrics, /healthz, /readyz and /status there: a port of this machine, or HOST:PORT")
        ->type_name("ADDRESS");
    auto* snapshot = command(app_, "snapshot", "One consistent copy, without following", command_snapshot,
                             "  tailrace snapshot postgres://app@db/shop duckdb:shop.duckdb --readers 8");
    for (auto* each : {run, snapshot}) {
      source(each);
      target(each);
      naming(each);
      selecting(each);
      if (each == run) origin(each);
      working(each);
      logging(each);
    }
  }

  void source_commands() {
    auto* check =
        command(app_, "check", "Find out what would go wrong, and the SQL that mends it", command_check,
                "  tailrace check postgres://app@db/shop\n"
                "  tailrace check -c tailrace.yaml --json");
    source(check);
    target(check);
    naming(check);
    selecting(check);
    json(check, "Results as JSON");
    auto* init =
        command(app_, "init", "Prepare the source: make the publication, and the slot if asked", command_init,
                "  tailrace init postgres://admin@db/shop -t 'public.*'\n"
                "  tailrace init -c tailrace.yaml --create-slot");
    source(init);
    naming(init);
    selecting(init);
    init->add_flag("--create-slot", options_.create_slot, "Make the slot too; it holds back WAL from then on");
    auto* teardown = command(
        app_, "teardown", "Remove every trace: slot, publication, and the bookkeeping at a PostgreSQL target",
        command_teardown,
        "  tailrace teardown postgres://admin@db/shop\n"
        "  tailrace teardown postgres://admin@old/shop postgres://admin@new/shop\n"
        "  tailrace teardown -c tailrace.yaml --stop");
    source(teardown);
    target(teardown);
    naming(teardown);
    teardown->add_flag("--stop", options_.stop_running, "First stop the tailrace that runs on the target");
  }

  void target_commands() {
    auto* sync = command(app_, "sync-sequences",
                         "Set the target's sequences to exactly where the source's stand, as for a switchover",
                         command_sync_sequences,
                         "  tailrace sync-sequences postgres://app@old/shop postgres://app@new/shop\n"
                         "  tailrace sync-sequences -c tailrace.yaml\n"
                         "Stop writing to the source first. It may be done beside a running tailrace.");
    source(sync);
    target(sync);
    naming(sync);
    selecting(sync);
    logging(sync);
  }

  void looking_commands() {
    auto* status = command(app_, "status", "What a running tailrace is doing", command_status,
                           "  tailrace status duckdb:shop.duckdb\n"
                           "  tailrace status --watch\n"
                           "  tailrace status --json shop.duckdb | jq .lag_seconds");
    target(status);
    status->add_option("--name", options_.name,
                       "The mirror's name; enough by itself, where it runs or ran on this host");
    status->add_flag("--watch", options_.watch, "Draw it again every second");
    json(status, "As JSON (docs/status.md); with --watch one line a second");
    auto* list =
        command(app_, "list", "All mirrors of this host: this user's; for root, everybody's", command_list,
                "  tailrace list\n"
                "  sudo tailrace list --json");
    json(list, "As JSON (docs/status.md)");
    auto* refresh =
        command(app_, "refresh", "Let a running tailrace pick up now what its publications gained or lost",
                command_refresh,
                "  tailrace refresh duckdb:shop.duckdb\n"
                "  tailrace refresh postgres://app@new/shop --name shop\n"
                "It does so by itself every 10 seconds.");
    target(refresh);
    refresh->add_option("--name", options_.name, "The mirror's name, where several share a PostgreSQL target");
    logging(refresh);
    auto* verify = command(app_, "verify", "Prove that source and target are equal, also while tailrace runs",
                           command_verify,
                           "  tailrace verify postgres://app@db/shop duckdb:shop.duckdb\n"
                           "  tailrace verify postgres://app@old/shop postgres://app@new/shop --repair\n"
                           "  tailrace verify postgres://app@new/shop\n"
                           "  tailrace verify -c tailrace.yaml --continuous --rate 20000\n"
                           "  tailrace verify -c tailrace.yaml --json");
    source(verify);
    target(verify);
    naming(verify);
    selecting(verify);
    json(verify, "The report as JSON; with --continuous one line for each table compared");
    verify->add_flag("--repair", options_.repair,
                     "Write to the target what the source has, where rows differ, then compare again");
    auto* continuous = verify->add_flag("--continuous", options_.continuous,
                                        "Compare one table after the other, again and again, until Ctrl-C");
    verify->add_option("--rate", options_.rate, "With --continuous: rows a second on average, else 50000")
        ->option_text("ROWS")  // said alone, without what CLI11 adds of its own
        ->type_name("ROWS")
        ->check(CLI::Range(1, 1'000'000'000).description(""))
        ->needs(continuous);
    auto* tail = command(app_, "tail", "Print the decoded stream as JSON lines", command_tail,
                         "  tailrace tail postgres://app@db/shop -t public.orders | jq .");
    source(tail);
    naming(tail);
    selecting(tail);
    origin(tail);
    logging(tail);
  }

  void mending_commands() {
    auto* skip =
        command(app_, "skip", "Leave one transaction of the source out that the target refuses", command_skip,
                "  tailrace skip postgres://app@old/shop postgres://app@new/shop --lsn 0/15D6A28\n"
                "The position is the one that 'tailrace run' stopped with. All of the transaction is left\n"
                "out, exactly once; the log and 'tailrace status' say what that was.");
    skip->add_option("--lsn", options_.lsn, "Where the transaction commits at the source")->type_name("LSN");
    skip->add_flag("--forget", options_.forget, "Take the note of it back, as long as it waits");
    auto* replay =
        command(app_, "replay", "Apply what is in quarantine, and let its tables flow again", command_replay,
                "  tailrace replay postgres://app@old/shop postgres://app@new/shop\n"
                "  tailrace replay -c tailrace.yaml --table public.orders\n"
                "  tailrace replay -c tailrace.yaml --table public.orders --discard");
    replay->add_option("--table", options_.table, "This table alone, as SCHEMA.TABLE")->type_name("TABLE");
    replay->add_flag("--discard", options_.discard, "Drop it instead of applying it");
    for (auto* each : {skip, replay}) {
      source(each);
      target(each);
      naming(each);
    }
  }

  void small_commands() {
    auto* config = app_.add_subcommand("config", "Work with a configuration file");
    config->require_subcommand(1);
    command(*config, "check", "Report every mistake in it, or print what is in effect, without secrets",
            command_config_check, "  tailrace config check -c tailrace.yaml")
        ->get_option("--config")
        ->required();
    auto* init =
        command(*config, "init", "Write a commented file to begin with; never over one that is there",
                command_config_init,
                "  tailrace config init postgres://app@db/shop duckdb:shop.duckdb\n"
                "  tailrace config init postgres://app@db/shop duckdb:shop.duckdb -c shop.yaml -t 'public.*'");
    init->get_option("--config")->description("The file that is written")->default_str("tailrace.yaml");
    source(init);
    target(init);
    naming(init);
    selecting(init);
    init->add_flag("--with-password", options_.with_password, "Write the passwords into it too");
    auto* completion =
        app_.add_subcommand("completion", "Print what lets a shell complete these commands with TAB");
    completion->footer(
        "Examples:\n"
        "  source <(tailrace completion bash)\n"
        "  tailrace completion zsh > ~/.zfunc/_tailrace\n"
        "  tailrace completion fish > ~/.config/fish/completions/tailrace.fish\n"
        "Where tailrace is installed, they are in their places already.");
    completion->add_option("shell", options_.shell, "For which shell")->type_name("bash|zsh|fish")->required();
    completion->callback(
        [this] { chosen_ = [this] { return command_completion(described(app_, ""), options_); }; });
    auto* man = app_.add_subcommand("man", "Print a man page, made from what --help knows");
    man->footer(
        "Examples:\n"
        "  tailrace man run | man -l -\n"
        "  tailrace man --into ~/.local/share");
    man->add_option("command", options_.words, "Of this command; else of tailrace itself")
        ->type_name("COMMAND");
    man->add_option("--into", options_.into, "Write all of them there, and the completions, as into /usr/share")
        ->type_name("DIR");
    man->callback([this] { chosen_ = [this] { return command_man(described(app_, ""), options_); }; });
    auto* version = app_.add_subcommand("version", "Print the version");
    version->callback([this] { chosen_ = command_version; });
  }

  CLI::App app_{
      "Copies a PostgreSQL database into a DuckDB file or another PostgreSQL, then keeps it exactly in step.",
      "tailrace"};
  Options options_;
  std::function<int()> chosen_;
};

int run(int argc, char** argv) {
  std::vector<std::string> copies(argv, argv + argc);
  std::vector<const char*> arguments;
  for (const std::string& copy : copies) arguments.push_back(copy.c_str());
  note_run({copies.begin() + std::min<std::ptrdiff_t>(1, argc), copies.end()});
  hide_secrets(argc, argv);
  catch_signals();
  try {
    return CommandLine().parse_and_run(arguments);
  } catch (const UsageProblems& usage) {
    fmt::print(stderr, "{}\n", printable(without_passwords(config::join(usage.problems)), /*lines=*/true));
    return exit_usage;
  } catch (const Error& error) {
    return report(error);
  } catch (const std::system_error& error) {
    // Whoever read our output has seen enough, as `head` does.
    if (error.code() == std::errc::broken_pipe) return exit_ok;
    return report(as_error(error));
  } catch (const std::exception& error) {
    return report(Error(Retry::fatal, error.what(), "This is a bug; please report it with what was running"));
  }
}

/// A full disk shows only at the end: what was written before went to a buffer. Tells of it.
bool output_arrived() {
  errno = 0;
  bool failed = std::fflush(stdout) != 0;
  int why = errno;
  if (!failed && std::ferror(stdout) == 0) return true;
  // A reader that left has seen enough.
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  if (why == EPIPE || (::poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0)) return true;
  report(Error(
      Retry::needs_operator,
      fmt::format("the output cannot be written{}{}", why == 0 ? "" : ": ", why == 0 ? "" : std::strerror(why)),
      "Make room where it goes, or send it elsewhere"));
  return false;
}

}  // namespace
}  // namespace tailrace::cli

int main(int argc, char** argv) {
  int code = tailrace::cli::run(argc, argv);
  if (code == tailrace::cli::exit_ok && !tailrace::cli::output_arrived()) code = tailrace::cli::exit_operator;
  if (tailrace::Errand::under_way() > 0) {
    std::fflush(nullptr);
    ::_exit(code);
  }
  return code;
}
