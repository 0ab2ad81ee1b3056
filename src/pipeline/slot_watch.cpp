#include "pipeline/slot_watch.h"

#include <algorithm>

#include "base/log.h"
#include "base/sql_text.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 1s;
constexpr auto look_again_after = 5s;  ///< where it could not be asked
constexpr auto patience = 10s;

struct SlotNow {
  bool active = false;
  std::string wal_status;
  std::int64_t safe = -1;
  std::int64_t retained = -1;
};

SlotNow read_slot_now(pg::Connection& connection, const std::string& name) {
  SlotNow out;
  auto row = connection.query(
      fmt::format(
          "select active, wal_status, safe_wal_size, case when not pg_catalog.pg_is_in_recovery() then "
          "pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), restart_lsn)::pg_catalog.int8 "
          "end from pg_catalog.pg_replication_slots where slot_name operator(pg_catalog.=) {}",
          quote_literal(name)),
      "looking at the slot");
  if (row.rows() == 0) return out;
  out.active = row.get(0, 0) == "t";
  out.wal_status = row.get(0, 1);
  if (!row.is_null(0, 2)) out.safe = std::max<std::int64_t>(row.i64(0, 2), 0);
  if (!row.is_null(0, 3)) out.retained = std::max<std::int64_t>(row.i64(0, 3), 0);
  return out;
}

}  // namespace

SlotWatch::SlotWatch(const config::Config& config, StatusBoard& board, const StopSignal& stop)
    : config_(config), board_(board), over_(&stop), thread_([this] { loop(); }) {}

SlotWatch::~SlotWatch() {
  over_.request();
  thread_.join();
}

void SlotWatch::loop() {
  for (auto wait = look_every; over_.sleep(wait); wait = connection_ ? look_every : look_again_after) {
    try {
      look();
    } catch (const std::exception& error) {
      // Whoever follows the source tells of it.
      log::debug("slot", "not looked at: {}", error.what());
      connection_.reset();
      board_.update([](Status& status) {
        status.slot_active.reset();
        status.wal_status.clear();
        status.safe_wal_bytes = -1;
        status.retained_wal_bytes = -1;
      });
    }
  }
}

void SlotWatch::look() {
  if (!connection_) {
    connection_ = std::make_unique<pg::Connection>(
        pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " watch"}));
    connection_->set_patience(patience);
    connection_->leave_on(over_);
  }
  auto now = read_slot_now(*connection_, config_.slot.name);
  WalAlarm::Slot slot{std::max<std::int64_t>(now.retained, 0), -1, "", now.wal_status == "lost",
                      !config_.slot.acknowledge};
  if (now.safe >= 0 && now.retained >= 0) {
    slot.room = now.retained + now.safe;
    slot.whose_room = "max_slot_wal_keep_size allows";
  }
  auto stated = static_cast<std::int64_t>(config_.slot.wal_room);
  if (stated > 0 && now.retained >= 0 && (slot.room < 0 || stated < slot.room)) {
    slot.room = stated;
    slot.whose_room = "slot.wal_room says there is room for";
    now.safe = std::max<std::int64_t>(stated - now.retained, 0);
  }
  auto told = alarm_.look(slot, WalAlarm::Clock::now());
  if (!told.empty()) log::warn("slot", "{}", told);
  board_.update([&](Status& status) {
    status.wal_status = now.wal_status;
    status.slot_active = now.wal_status.empty() ? std::nullopt : std::optional(now.active);
    status.safe_wal_bytes = now.safe;
    status.retained_wal_bytes = now.retained;
    status.warnings.clear();
    if (!alarm_.standing().empty()) status.warnings.push_back(alarm_.standing());
  });
}

}  // namespace tailrace::pipeline
