#include "serve/metrics_text.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>

#include "serve/metrics_writer.h"

namespace tailrace::serve {
namespace {

using pipeline::RunState;
using pipeline::Status;
using pipeline::TableState;
using pipeline::TableStatus;

double unix_seconds(PgTimestamp time) {
  return static_cast<double>(time.micros) / 1e6 + static_cast<double>(pg_epoch_unix_seconds);
}

std::string version_text(int number) {
  return fmt::format("{}.{}", number / 10'000, number % 10'000);
}

void about(MetricsWriter& out, const Status& status, const Surroundings& around) {
  out.begin("tailrace_info", "gauge", "What runs. Always 1.");
  auto source = status.server_version > 0 ? version_text(status.server_version) : "";
  out.line(std::int64_t{1},
           {{"version", around.version}, {"source_version", source}, {"target", around.target_kind}});
  out.begin("tailrace_state", "gauge", "1 for the state that it is in, 0 for the others.");
  for (int i = 0; i <= static_cast<int>(RunState::failed); ++i) {
    auto state = static_cast<RunState>(i);
    out.line(std::int64_t{status.state == state}, {{"state", to_string(state)}});
  }
  out.begin("tailrace_heartbeat_timestamp_seconds", "gauge",
            "When the working thread that moved longest ago moved. Its age grows also when nothing answers.");
  out.line(unix_seconds(around.last_beat));
  out.begin("process_start_time_seconds", "gauge", "When the process began.");
  out.line(unix_seconds(status.started_at));
  if (status.resident_bytes > 0) {
    out.begin("process_resident_memory_bytes", "gauge", "Memory of the process.");
    out.line(status.resident_bytes);
  }
}

void distance(MetricsWriter& out, const Status& status) {
  out.begin("tailrace_in_step", "gauge", "1 if all that the source has is in the target.");
  out.line(std::int64_t{status.in_step});
  if (status.lag_seconds >= 0) {
    out.begin("tailrace_lag_seconds", "gauge", "How far the target is behind the source, in time.");
    out.line(status.lag_seconds);
  }
  if (status.source_lsn.valid() && status.applied.valid()) {
    out.begin("tailrace_lag_bytes", "gauge",
              "WAL of the source that was not received, not applied, and of which the source was not told that "
              "it is durable in the target.");
    auto behind = [&](Lsn lsn) {
      return static_cast<std::int64_t>(status.source_lsn.value - std::min(lsn.value, status.source_lsn.value));
    };
    for (auto [stage, lsn] : {std::pair("received", status.received), std::pair("applied", status.applied),
                              std::pair("durable", status.acknowledged)}) {
      if (lsn.valid()) out.line(behind(lsn), {{"stage", stage}});
    }
  }
  if (status.last_commit_time.micros != 0) {
    out.begin("tailrace_last_commit_timestamp_seconds", "gauge",
              "When the last transaction that was applied committed at the source.");
    out.line(unix_seconds(status.last_commit_time));
  }
}

void slot(MetricsWriter& out, const Status& status) {
  if (status.retained_wal_bytes >= 0) {
    out.begin("tailrace_slot_retained_bytes", "gauge", "WAL that the slot holds back at the source.");
    out.line(status.retained_wal_bytes);
  }
  if (status.safe_wal_bytes >= 0) {
    out.begin("tailrace_slot_safe_bytes", "gauge", "How much more the slot may hold back.");
    out.line(status.safe_wal_bytes);
  }
  if (!status.slot.empty()) {
    out.begin("tailrace_slot_acknowledges", "gauge",
              "1 if the slot is told what is durable; 0 with slot.acknowledge off: it holds back all WAL, by "
              "choice.");
    out.line(std::int64_t{status.acknowledges});
  }
  if (status.slot_active) {
    out.begin("tailrace_slot_active", "gauge", "1 if somebody reads from the slot.");
    out.line(std::int64_t{*status.slot_active});
  }
  if (!status.wal_status.empty()) {
    out.begin("tailrace_slot_wal_status", "gauge",
              "1 for what the source says of the slot's WAL, 0 for the rest.");
    for (std::string_view known : {"reserved", "extended", "unreserved", "lost"})
      out.line(std::int64_t{status.wal_status == known}, {{"wal_status", known}});
  }
}

void flow(MetricsWriter& out, const Status& status, const pipeline::Measures& measures) {
  auto counter = [&](std::string_view name, std::string_view help, std::int64_t value) {
    out.begin(name, "counter", help);
    out.line(value);
  };
  counter("tailrace_bytes_received_total", "Bytes of the stream.",
          static_cast<std::int64_t>(measures.bytes_received()));
  counter("tailrace_transactions_total", "Transactions of the source that were applied.", status.transactions);
  std::array<std::int64_t, 4> changes{};
  for (const auto& table : status.tables) {
    changes[0] += table.inserts;
    changes[1] += table.updates;
    changes[2] += table.deletes;
    changes[3] += table.truncates;
  }
  out.begin("tailrace_changes_total", "counter", "Changes that were applied from the stream.");
  constexpr std::array<std::string_view, 4> ops{"insert", "update", "delete", "truncate"};
  for (std::size_t i = 0; i < ops.size(); ++i) out.line(changes.at(i), {{"op", ops.at(i)}});
  counter("tailrace_commits_total", "Commits of the target that changed something.", status.commits);
  counter("tailrace_reconnects_total", "Attempts that began anew after a failure.", status.reconnects);
  out.begin("tailrace_errors_total", "counter",
            "Failures that ended an attempt, by what can be done about them.");
  for (auto [retry, text] :
       {std::pair(Retry::transient, "transient"), std::pair(Retry::needs_operator, "needs_operator"),
        std::pair(Retry::fatal, "fatal"), std::pair(Retry::in_doubt, "in_doubt")})
    out.line(static_cast<std::int64_t>(measures.errors(retry)), {{"retry", text}});
  out.histogram("tailrace_commit_duration_seconds", "How long commits of the target took.",
                measures.commit_duration);
  out.histogram(
      "tailrace_end_to_end_latency_seconds",
      "From the commit at the source, by its clock, until durable in the target: of each commit of the "
      "target, the oldest transaction.",
      measures.end_to_end_latency);
}

void trouble(MetricsWriter& out, const Status& status, const pipeline::Measures& measures, bool postgres) {
  if (postgres) {
    out.begin("tailrace_conflicts_total", "counter",
              "Rows of the target that were not as the source expected.");
    for (std::size_t i = 0; i < status.conflicts.size(); ++i)
      out.line(status.conflicts.at(i), {{"kind", to_string(static_cast<ConflictKind>(i))}});
    std::int64_t quarantined = 0;
    for (const auto& table : status.tables) quarantined += table.quarantined;
    out.begin("tailrace_quarantined_changes", "gauge", "Changes that wait in quarantine.");
    out.line(quarantined);
  }
  out.begin("tailrace_stopped_tables", "gauge",
            "Tables that are held, or stopped by a failure; not those that are not published any more.");
  out.line(std::int64_t{std::ranges::count_if(status.tables, [](const TableStatus& table) {
    return table.state == TableState::held || (table.state == TableState::stopped && !table.last_error.empty());
  })});
  if (auto compared = measures.last_compared()) {
    out.begin("tailrace_verify_differences", "gauge",
              "Differing rows that the last comparison of each table listed; there may be more.");
    out.line(compared->differences);
    if (compared->last_success.micros != 0) {
      out.begin("tailrace_verify_last_success_timestamp_seconds", "gauge",
                "When a comparison last ended without a difference.");
      out.line(unix_seconds(compared->last_success));
    }
  }
}

void copy(MetricsWriter& out, const Status& status, const pipeline::Measures& measures) {
  std::array<std::int64_t, static_cast<std::size_t>(TableState::held) + 1> states{};
  for (const auto& table : status.tables) {
    ++states.at(static_cast<std::size_t>(table.state));
  }
  out.begin("tailrace_copy_bytes_total", "counter", "Bytes that copies of tables brought.");
  out.line(static_cast<std::int64_t>(measures.bytes_copied()));
  out.begin("tailrace_copy_tables", "gauge", "Tables by their state.");
  for (std::size_t i = 0; i < states.size(); ++i)
    out.line(states.at(i), {{"state", to_string(static_cast<TableState>(i))}});
}

void disks(MetricsWriter& out, const Surroundings& around) {
  if (around.disks.empty()) return;
  out.begin("tailrace_disk_free_bytes", "gauge", "What is left where the target and the spool are.");
  for (const auto& disk : around.disks)
    out.line(static_cast<std::int64_t>(disk.free_bytes), {{"dir", disk.holds}});
  out.begin("tailrace_disk_size_bytes", "gauge", "Of how much.");
  for (const auto& disk : around.disks) out.line(static_cast<std::int64_t>(disk.bytes), {{"dir", disk.holds}});
}

}  // namespace

std::string metrics_text(const Status& status, const pipeline::Measures& measures, const Surroundings& around) {
  MetricsWriter out(status.name);
  about(out, status, around);
  distance(out, status);
  slot(out, status);
  flow(out, status, measures);
  trouble(out, status, measures, around.target_kind == "postgres");
  copy(out, status, measures);
  disks(out, around);
  return out.take();
}

std::optional<Disk> disk_of(const std::string& folder, std::string holds) {
  struct statvfs space{};
  if (::statvfs(folder.c_str(), &space) != 0) return std::nullopt;
  return Disk{std::move(holds), space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize};
}

}  // namespace tailrace::serve
