#include "pipeline/run_end.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "pg/wal_pages.h"

namespace tailrace::pipeline {
namespace {

// A commit takes its time before it writes its record. So much later, what committed by a time is written.
constexpr std::int64_t commit_takes_at_most = 1'000'000;

}  // namespace

void RunEnd::look(pg::Connection& source) {
  // The clock first: what committed before it is before the position. Commits that nobody waited for are seen
  // before they are flushed, so it is not the flushed position that is asked for.
  auto row = source.query(
      "select (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8, "
      "case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
      "else pg_catalog.pg_current_wal_insert_lsn() end",
      "reading the source's position");
  PgTimestamp time{row.i64(0, 0) - pg_epoch_unix_seconds * 1'000'000};
  Lsn written = row.lsn(0, 1);
  if (until_.once) {
    if (position_.valid()) return;
    position_ = pg::WalPages::read(source).end_of_record(written);
    in_reach_ = true;
    log::info("run", "following to {}, the source's end as of now", position_.str());
  } else if (until_.lsn.valid()) {
    late_ = in_reach_ = written >= until_.lsn;
  } else {
    late_ = time > until_.time;
    if (in_reach_ || time.micros <= until_.time.micros + commit_takes_at_most) return;
    position_ = pg::WalPages::read(source).end_of_record(written);
    in_reach_ = true;
  }
}

void RunEnd::keep_to_first(std::vector<source::PublishedTable>& tables) {
  if (!tables_) {
    tables_.emplace();
    for (const auto& table : tables) tables_->insert(table.oid);
  }
  std::erase_if(tables, [&](const auto& table) { return !tables_->contains(table.oid); });
}

void RunEnd::refuse_beyond(const Checkpoint& checkpoint) const {
  constexpr const char* remedy =
      "Nothing was written. What was applied is not taken back: to go on from here, run without --until, or "
      "with "
      "a later one";
  if (until_.lsn.valid() && checkpoint.lsn > until_.lsn) {
    throw Error(
        Retry::needs_operator,
        fmt::format("the target is at {} already, beyond --until {}", checkpoint.lsn.str(), until_.lsn.str()),
        remedy);
  }
  if (until_.time.micros != 0 && checkpoint.commit_time > until_.time) {
    throw Error(Retry::needs_operator,
                fmt::format("the target has what committed at {} already, later than --until {}",
                            checkpoint.commit_time.str(), until_.time.str()),
                remedy);
  }
}

void RunEnd::refuse_copy(pg::Connection& source) {
  if (!wanted() || until_.once) return;
  look(source);
  if (!late_) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("tables are to be copied, and a copy is as of now, later than --until {}",
                  until_.lsn.valid() ? until_.lsn.str() : until_.time.str()),
      "Run without --until, or with a position or a time to come; to follow from rows that are of an earlier "
      "moment, see docs/start-from-a-dump.md");
}

void RunEnd::include(Lsn copied_at) {
  if (until_.once) position_ = std::max(position_, copied_at);
}

}  // namespace tailrace::pipeline
