#include <fmt/format.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string_view>

#include "base/copy_anew.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/terminal.h"
#include "cli/command.h"
#include "pg/connection.h"
#include "pg/process_stop.h"

namespace tailrace::cli {
namespace {

/// Who means the first one may send it twice: timeout(1) does, to its child and then to the whole group.
constexpr std::int64_t same_request_ms = 500;

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

std::atomic<std::int64_t> asked_at{0};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

/// Only what is allowed in a signal handler: lock-free stores, clock_gettime, and leaving at once.
void on_signal(int number) {
  if (stop_signal().requested() && now_ms() - asked_at.load() > same_request_ms) ::_exit(128 + number);
  if (!stop_signal().requested()) asked_at.store(now_ms());
  stop_signal().request();
}

}  // namespace

StopSignal& stop_signal() {
  static StopSignal signal;
  return signal;
}

void catch_signals() {
  stop_signal();  // made here: the handler must not be the first to need it
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
  pg::end_with(stop_signal());
  // A reader of our output that went away shows as a failed write.
  std::signal(SIGPIPE, SIG_IGN);
}

std::string without_passwords(std::string text) {
  constexpr std::string_view ends = " '\"\n\t,;";
  for (std::size_t at = text.find("://"); at != std::string::npos; at = text.find("://", at)) {
    at += 3;
    auto end = std::min(text.find_first_of(ends, at), text.size());
    auto host = text.rfind('@', end);
    auto password = text.find(':', at);
    if (host == std::string::npos || host < at || password >= host) continue;
    text.replace(password + 1, host - password - 1, "***");
  }
  constexpr std::string_view word = "password=";
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at)) {
    at += word.size();
    text.replace(at, std::min(text.find_first_of(" \"\n\t&", at), text.size()) - at, "***");
  }
  return text;
}

int report(const Error& given) {
  Error error(given.retry(), without_passwords(with_run_arguments(given.message())),
              without_passwords(with_run_arguments(given.remedy())));
  error.with_sqlstate(given.sqlstate());
  if (log::writes_json()) {
    log::write(log::Level::error, "tailrace", error.message(), error);
  } else {
    bool colour = colour_wanted(stderr);
    fmt::print(stderr, "{}tailrace:{} {}\n", colour ? "\x1b[31m" : "", colour ? "\x1b[0m" : "",
               printable(error.message(), /*lines=*/true));
    if (!error.remedy().empty()) fmt::print(stderr, "  {}\n", printable(error.remedy(), /*lines=*/true));
  }
  switch (error.retry()) {
    case Retry::needs_operator: return exit_operator;
    case Retry::fatal: return exit_fatal;
    case Retry::transient:
    case Retry::in_doubt: return exit_retry;
  }
  return exit_fatal;
}

bool may_hold_secret(std::string_view text) {
  return text.contains("://") || text.contains("password") || text.contains('@');
}

int report(const pipeline::CopyOutcome& outcome, const char* again) {
  if (outcome.whole()) return exit_ok;
  auto text = fmt::format("{}; {}", pipeline::describe(outcome), again);
  if (log::writes_json()) {
    log::write(log::Level::warn, "tailrace", text);
  } else {
    fmt::print(stderr, "tailrace: {}\n", printable(text));
  }
  return exit_unfinished;
}

void hide_secrets(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view text(argv[i]);
    if (!may_hold_secret(text)) continue;
    // Overwritten in place, because ps reads this very memory; what is left of the old text becomes blank.
    std::string shown = pg::redact(std::string(text));
    std::size_t length = text.size();
    shown.resize(length, ' ');
    std::memcpy(argv[i], shown.data(), length);
  }
}

bool colour_wanted(std::FILE* out) {
  return terminal::colour_wanted(out);
}

}  // namespace tailrace::cli
