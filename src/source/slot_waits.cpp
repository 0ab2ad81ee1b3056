#include "source/slot_waits.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/printable.h"
#include "source/activity.h"

namespace tailrace::source {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto look_every = 2s;
constexpr auto log_every = 10s;
constexpr int shown = 3;
constexpr const char* purpose = "asking what the creation of the slot waits for";

/// Each has ended before the slot is there. Those that began just now are not worth a word: they mostly end
/// before anybody has read it.
std::string activity_sql(int walsender) {
  return fmt::format(
      "select {2}, a.pid = any(pg_catalog.pg_blocking_pids({0})) blocks, pg_catalog.count(*) over () "
      "from pg_catalog.pg_stat_activity a where a.backend_xid is not null and a.pid <> {0} "
      "and (a.xact_start is null or a.xact_start < pg_catalog.clock_timestamp() - interval '1 second') "
      "order by blocks desc, a.xact_start limit {1}",
      walsender, shown, activity_columns);
}

std::string prepared_sql() {
  return fmt::format(
      "select gid, owner, database, "
      "pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - prepared)::pg_catalog.text, "
      "pg_catalog.count(*) over () from pg_catalog.pg_prepared_xacts order by prepared limit {}",
      shown);
}

struct Found {
  std::string text;
  std::vector<std::string> who;  ///< tells one list from another, whose ages differ always
};

Found find_waits(pg::Connection& connection, int walsender) {
  Found out;
  std::vector<std::string> each;
  std::int64_t more = 0;
  auto active = connection.query(activity_sql(walsender), purpose);
  for (int i = 0; i < active.rows(); ++i) {
    each.push_back(describe_activity(active, i));
    out.who.push_back(active.str(i, 0));
  }
  if (active.rows() > 0) more += active.i64(0, 8) - active.rows();
  auto prepared = connection.query(prepared_sql(), purpose);
  for (int i = 0; i < prepared.rows(); ++i) {
    each.push_back(
        fmt::format("prepared transaction '{}' (of {}, database {}, for {}; COMMIT PREPARED or ROLLBACK "
                    "PREPARED there ends it)",
                    printable(prepared.get(i, 0)), prepared.str(i, 1), prepared.str(i, 2), prepared.str(i, 3)));
    out.who.push_back(prepared.str(i, 0));
  }
  if (prepared.rows() > 0) more += prepared.i64(0, 4) - prepared.rows();
  if (!each.empty()) {
    out.text = "open transactions at the source: ";
    for (std::size_t i = 0; i < each.size(); ++i) out.text += (i == 0 ? "" : "; ") + each[i];
    if (more > 0) out.text += fmt::format("; and {} more", more);
  } else if (connection.query("select pg_catalog.pg_is_in_recovery()", purpose).flag(0, 0)) {
    out.text =
        "the primary's next record of what runs there: SELECT pg_log_standby_snapshot() on the primary "
        "(PostgreSQL 16 and later), or a CHECKPOINT, brings it";
  }
  return out;
}

class Looking {
 public:
  Looking(const TellingWaits& telling, std::string slot, int walsender)
      : telling_(telling), slot_(std::move(slot)), walsender_(walsender) {
    try {
      thread_ = std::jthread([this] { loop(); });
    } catch (const std::system_error& error) {
      log::debug("source", "{}: {}", purpose, error.what());
    }
  }
  ~Looking() {
    {
      std::lock_guard lock(mutex_);
      over_.request();
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (told_) telling_.tell("");
  }
  Looking(const Looking&) = delete;
  Looking& operator=(const Looking&) = delete;

 private:
  void loop() {
    while (pause()) {
      try {
        pg::ConnectOptions options;
        options.application_name = telling_.application_name + " waits";
        options.connect_timeout_seconds = 5;
        auto connection = pg::Connection::open(telling_.source, options);
        connection.leave_on(over_);
        connection.set_patience(5s);
        do tell(find_waits(connection, walsender_));
        while (pause());
      } catch (const StopRequested&) {
        return;
      } catch (const std::exception& error) {
        // It waits all the same, and is told by its own answer.
        log::debug("source", "{}: {}", purpose, error.what());
      }
    }
  }

  /// A slot is made within some milliseconds most of the time, and nobody may wait for us then.
  bool pause() {
    std::unique_lock lock(mutex_);
    return !wake_.wait_for(lock, look_every, [this] { return over_.requested(); });
  }

  void tell(const Found& found) {
    if (over_.requested() || (found.text.empty() && !told_)) return;
    told_ = true;
    telling_.tell(found.text);
    auto now = Clock::now();
    if (found.who == logged_ || found.text.empty() || (logged_at_ && now - *logged_at_ < log_every)) return;
    logged_ = found.who;
    logged_at_ = now;
    log::info("source", "creating slot {} waits for {}", slot_, found.text);
  }

  const TellingWaits& telling_;
  std::string slot_;
  int walsender_;
  bool told_ = false;
  std::vector<std::string> logged_;
  std::optional<Clock::time_point> logged_at_;
  StopSignal over_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::jthread thread_;
};

}  // namespace

CreatedSlot create_slot_telling(pg::Connection& replication, const std::string& name,
                                const CreateSlotOptions& options, const TellingWaits& telling) {
  Looking looking(telling, name, replication.backend_pid());
  return create_slot(replication, name, options);
}

}  // namespace tailrace::source
