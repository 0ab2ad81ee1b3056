#include "pipeline/observer.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 250ms;
constexpr auto patience = 1s;
constexpr auto connect_seconds = 2;
constexpr auto connect_again_after = 1s;
constexpr const char* purpose = "reading the source's position";

/// Whether a list such as "FIRST 1 (a, \"B c\")" or "ANY 1 (*)" has the name, as the server compares it:
/// without regard to case.
Feedback::Awaited awaited(std::string_view names, std::string_view name) {
  auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  std::string word;
  bool quoted = false;
  bool listed = false;
  bool others = false;
  auto end_of_word = [&] {
    others |= word == "*";
    listed |= word == "*" || std::ranges::equal(word, name, same);
    word.clear();
  };
  for (char c : names) {
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted || (c != ',' && c != '(' && c != ')' && c != ' ')) {
      word += c;
    } else {
      others |= c == ',';
      end_of_word();
    }
  }
  end_of_word();
  if (!listed) return Feedback::Awaited::no;
  return others ? Feedback::Awaited::among_others : Feedback::Awaited::alone;
}

}  // namespace

Observer::Observer(const config::Config& config, std::unique_ptr<target::TargetProbe> probe, StatusBoard& board,
                   Feedback& feedback, const StopSignal& over)
    : config_(config),
      probe_(std::move(probe)),
      board_(board),
      feedback_(feedback),
      over_(&over),
      target_thread_([this] { watch_target(); }),
      source_thread_([this] { watch_source(); }) {}

Observer::~Observer() {
  over_.request();
}

void Observer::look(pg::Connection& source) {
  auto asked = Step::Clock::now();
  // The clock first: what committed before it is before the position.
  auto row = source.query(
      "select (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8, "
      // What a standby has received and does not replay is not in step either.
      "case when pg_catalog.pg_is_in_recovery() then greatest(pg_catalog.pg_last_wal_receive_lsn(), "
      "pg_catalog.pg_last_wal_replay_lsn()) else pg_catalog.pg_current_wal_flush_lsn() end, "
      "pg_catalog.current_setting('synchronous_standby_names')",
      purpose);
  SourceLook look{asked, PgTimestamp{row.i64(0, 0) - pg_epoch_unix_seconds * 1'000'000}, row.lsn(0, 1)};
  feedback_.set_commits_wait(awaited(row.get(0, 2), config_.name));
  board_.judge_by([&](Step& step) { step.saw_source(look); });
  board_.update([&](Status& status) { status.source_lsn = look.flushed; });
}

void Observer::watch_source() {
  while (!over_.requested()) {
    try {
      auto connection =
          pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " observer", connect_seconds});
      connection.set_patience(patience);
      connection.leave_on(over_);
      do {
        look(connection);
        sees_source_.store(true, std::memory_order_release);
      } while (over_.sleep(look_every));
    } catch (const StopRequested&) {
      return;
    } catch (const std::exception& error) {
      log::debug("source", "{}", error.what());
    }
    sees_source_.store(false, std::memory_order_release);
    over_.sleep(connect_again_after);
  }
}

void Observer::watch_target() {
  while (!over_.requested()) {
    auto asked = Step::Clock::now();
    if (probe_->answers()) board_.judge_by([&](Step& step) { step.saw_target(asked); });
    over_.sleep(look_every);
  }
}

}  // namespace tailrace::pipeline
