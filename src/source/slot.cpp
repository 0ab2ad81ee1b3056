#include "source/slot.h"

#include <fmt/format.h>

#include "base/copy_anew.h"
#include "base/sql_text.h"

namespace tailrace::source {
namespace {

std::string quoted(const std::string& name) {
  return fmt::format("replication slot \"{}\"", name);
}

/// Columns of pg_replication_slots came over the years; an older server gets a constant.
std::string since(int server_version, int major, const char* column, const char* otherwise) {
  return server_version >= major * 10000 ? column : otherwise;
}

std::string slot_query(const std::string& name, int version) {
  // 16 said only that a slot conflicted with recovery, 17 says why it is invalid.
  std::string conflict = since(version, 16, "case when s.conflicting then 'conflict' else '' end", "''");
  // pg_stat_replication shows nothing of other users' connections to those without pg_read_all_stats.
  return fmt::format(
      "select s.slot_name, coalesce(s.plugin, ''), s.slot_type, coalesce(s.database, ''), "
      "pg_catalog.current_database(),"
      " s.temporary, {}, {}, {}, s.restart_lsn, s.confirmed_flush_lsn, coalesce(s.wal_status, ''),"
      " coalesce(s.safe_wal_size, -1), {},"
      " coalesce(pg_catalog.pg_wal_lsn_diff(case when pg_catalog.pg_is_in_recovery() "
      "then pg_catalog.pg_last_wal_replay_lsn()"
      "   else pg_catalog.pg_current_wal_lsn() end, s.restart_lsn)::bigint, -1),"
      " coalesce(s.active_pid, c.pid, 0), coalesce(r.application_name, a.application_name, ''),"
      " coalesce(r.client_hostname, pg_catalog.host(r.client_addr), ''),"
      " (extract(epoch from r.reply_time) * 1000000)::bigint - {}000000"
      " from pg_catalog.pg_replication_slots s left "
      "join pg_catalog.pg_stat_replication r on r.pid = s.active_pid,"
      // Whoever reads a backlog holds a copy meanwhile.
      " lateral (select pg_catalog.min(active_pid) as pid from pg_catalog.pg_replication_slots"
      "   where temporary and pg_catalog.starts_with(slot_name, "
      "pg_catalog.left(s.slot_name, 40) || '_backlog_')) c"
      " left join pg_catalog.pg_stat_activity a on a.pid = c.pid"
      " where s.slot_name = {}",
      since(version, 14, "s.two_phase", "false"), since(version, 17, "s.failover", "false"),
      // A promoted standby keeps the mark, where it has no meaning any more.
      since(version, 17, "s.synced and pg_catalog.pg_is_in_recovery()", "false"),
      since(version, 17, "coalesce(s.invalidation_reason, '')", conflict.c_str()), pg_epoch_unix_seconds,
      quote_literal(name));
}

std::string why_invalid(const SlotInfo& slot) {
  const std::string& reason = slot.invalidation_reason;
  if (reason == "rows_removed" || reason == "conflict")
    return "the server removed catalog rows or changed a setting that the slot still needed";
  if (reason == "wal_level_insufficient") return "wal_level was set below logical on the server";
  if (reason == "idle_timeout") return "nobody read it for longer than idle_replication_slot_timeout";
  return "the server removed WAL that it still needed, because it fell behind by more than "
         "max_slot_wal_keep_size";
}

void check_holder(const SlotInfo& slot) {
  if (slot.active_pid == 0) return;
  std::string from = slot.active_address.empty() ? "" : ", from " + slot.active_address;
  if (slot.active_alive) {
    bool ours = slot.active_application.starts_with("tailrace");
    std::string who = ours                              ? "another tailrace"
                      : slot.active_application.empty() ? "another client"
                                                        : "\"" + slot.active_application + "\"";
    throw Error(
        Retry::needs_operator,
        fmt::format("{} (server process {}{}) is reading {}", who, slot.active_pid, from, quoted(slot.name)),
        "Stop it, or give this mirror a slot of its own: --name NAME");
  }
  throw Error(
      Retry::transient,
      fmt::format("{} is still held by server process {}{}", quoted(slot.name), slot.active_pid, from),
      fmt::format(
          "It comes free when that client leaves, or when wal_sender_timeout finds it dead. If it is another "
          "mirror, give this one a name, and with it a slot, of its own: --name NAME. If its client is gone: "
          "SELECT pg_terminate_backend({});",
          slot.active_pid));
}

/// What no waiting mends: the slot is not one that we could ever stream from.
void check_kind(const SlotInfo& slot) {
  auto refuse = [&](std::string_view problem, std::string_view remedy) {
    throw Error(Retry::needs_operator, fmt::format("{} {}", quoted(slot.name), problem), std::string(remedy));
  };
  constexpr std::string_view other_name = "Give this mirror another slot: --name NAME";
  if (slot.slot_type != "logical") refuse("is a physical slot", other_name);
  if (slot.plugin != "pgoutput")
    refuse(fmt::format("uses the output plugin {}, not pgoutput", slot.plugin), other_name);
  if (slot.database != slot.connected_database)
    refuse(fmt::format("belongs to the database {}, not {}; slot names are shared by all databases of a server",
                       slot.database, slot.connected_database),
           other_name);
  if (slot.temporary) refuse("is temporary and dies with the session that made it", other_name);
}

void check_not_lost(const SlotInfo& slot) {
  if (!is_lost(slot)) return;
  throw Error(Retry::needs_operator, fmt::format("{} is lost: {}", quoted(slot.name), why_invalid(slot)),
              copy_all_anew);
}

void check_free(const SlotInfo& slot) {
  if (slot.synced)
    throw Error(
        Retry::transient,
        fmt::format("{} is a standby's copy of its primary's slot; it can be read once this server is promoted",
                    quoted(slot.name)),
        "Promote the standby, or point the source at the primary");
  check_holder(slot);
}

/// `check_one`: of whatever is there, at each look; `check_all`: when it is free, or its holder is proven
/// alive.
template <typename CheckKind, typename CheckFree>
std::optional<SlotInfo> wait_for_slot(pg::Connection& connection, const std::string& name,
                                      const StopSignal& stop, std::chrono::milliseconds patience,
                                      const CheckKind& check_one, const CheckFree& check_all) {
  auto deadline = std::chrono::steady_clock::now() + patience;
  int watched_pid = 0;
  std::optional<PgTimestamp> first_reply;
  while (true) {
    auto slot = read_slot(connection, name);
    if (!slot || stop.requested()) return slot;
    check_one(*slot);
    bool over = std::chrono::steady_clock::now() >= deadline;
    if (slot->active_pid == 0 || slot->synced || over) {
      check_all(*slot);
      return slot;
    }
    // One look cannot tell a living client from one that was killed a second ago; an answer that arrives while
    // we watch can.
    if (watched_pid != slot->active_pid) {
      watched_pid = slot->active_pid;
      first_reply = slot->active_reply_time;
    }
    slot->active_alive = slot->active_reply_time && first_reply && *slot->active_reply_time > *first_reply;
    if (slot->active_alive) check_all(*slot);
    stop.sleep(std::chrono::milliseconds(250));
  }
}

Error explain_create_failure(const Error& error, const std::string& name) {
  std::string remedy = error.remedy();
  Retry retry = error.retry();
  const std::string& state = error.sqlstate();
  if (error.message().contains("output plugin") && error.message().contains("may not be used")) {
    retry = Retry::needs_operator;
    remedy = "Allow pgoutput on the server: output_plugin_libraries = pgoutput in postgresql.conf, then reload";
  } else if (state == "53400") {
    // Class 53 counts as transient elsewhere, but slots do not come free by themselves.
    retry = Retry::needs_operator;
    remedy =
        "ALTER SYSTEM SET max_replication_slots = ...; and restart the server, or drop a slot that nobody uses";
  } else if (state == "42501") {
    remedy = "ALTER ROLE <the user of the source> REPLICATION;";
  } else if (state == "55000") {
    remedy = "ALTER SYSTEM SET wal_level = logical; and restart the server";
  } else if (state == "42710") {
    remedy = "Give this mirror another slot: --name NAME";
  }
  Error out(retry, error.message(), remedy);
  out.with_sqlstate(state).with_context(fmt::format("creating {}", quoted(name)));
  return out;
}

}  // namespace

SystemIdentity identify_system(pg::Connection& replication) {
  auto row = replication.query("IDENTIFY_SYSTEM", "identifying the source's cluster");
  SystemIdentity out;
  out.system_identifier = row.str(0, 0);
  out.timeline = static_cast<std::uint32_t>(row.i64(0, 1));
  out.wal_position = row.lsn(0, 2);
  out.database = row.is_null(0, 3) ? "" : row.str(0, 3);
  return out;
}

std::optional<SlotInfo> read_slot(pg::Connection& connection, const std::string& name) {
  // A replication connection speaks the simple protocol only, so the name travels as a literal.
  auto row = connection.query(slot_query(name, connection.server_version()), "reading the replication slot");
  if (row.rows() == 0) return std::nullopt;
  SlotInfo slot;
  slot.name = row.str(0, 0);
  slot.plugin = row.str(0, 1);
  slot.slot_type = row.str(0, 2);
  slot.database = row.str(0, 3);
  slot.connected_database = row.str(0, 4);
  slot.temporary = row.flag(0, 5);
  slot.two_phase = row.flag(0, 6);
  slot.failover = row.flag(0, 7);
  slot.synced = row.flag(0, 8);
  slot.restart_lsn = row.lsn(0, 9);
  slot.confirmed_flush = row.lsn(0, 10);
  slot.wal_status = row.str(0, 11);
  slot.safe_wal_size = row.i64(0, 12);
  slot.invalidation_reason = row.str(0, 13);
  slot.retained_bytes = row.i64(0, 14);
  slot.active_pid = static_cast<int>(row.i64(0, 15));
  slot.active_application = row.str(0, 16);
  slot.active_address = row.str(0, 17);
  if (!row.is_null(0, 18)) slot.active_reply_time = PgTimestamp{row.i64(0, 18)};
  return slot;
}

std::string create_slot_command(const std::string& name, const CreateSlotOptions& options, int server_version) {
  std::string command = fmt::format("CREATE_REPLICATION_SLOT {}{} LOGICAL pgoutput", quote_identifier(name),
                                    options.temporary ? " TEMPORARY" : "");
  if (server_version < 150000)
    return command + (options.export_snapshot ? " EXPORT_SNAPSHOT" : " NOEXPORT_SNAPSHOT");
  return fmt::format("{} (SNAPSHOT '{}'{})", command, options.export_snapshot ? "export" : "nothing",
                     options.failover ? ", FAILOVER true" : "");
}

void import_snapshot(pg::Connection& connection, const std::string& snapshot) {
  try {
    connection.query(
        "begin isolation level repeatable read read only; set transaction snapshot " + quote_literal(snapshot),
        "importing the snapshot");
  } catch (const Error& error) {
    // Its name is not known any more, or its transaction is not in progress any more.
    if (error.sqlstate() != "22023" && error.sqlstate() != "55000" && error.sqlstate() != "42704") throw;
    throw Error(Retry::transient,
                std::string("the connection that held the snapshot was lost: ") + error.what());
  }
}

CreatedSlot create_slot(pg::Connection& replication, const std::string& name,
                        const CreateSlotOptions& options) {
  int version = replication.server_version();
  if (options.failover && version < 170000)
    throw Error(Retry::needs_operator,
                fmt::format("failover slots need PostgreSQL 17; this server is {}", version / 10000),
                "Remove slot.failover from the configuration");
  try {
    auto row = replication.query(create_slot_command(name, options, version), "creating the replication slot");
    return {row.str(0, 0), row.lsn(0, 1), row.is_null(0, 2) ? "" : row.str(0, 2)};
  } catch (const Error& error) {
    throw explain_create_failure(error, name);
  }
}

bool drop_slot(pg::Connection& connection, const std::string& name) {
  // A client that was just killed holds its slot until the server notices: give it a moment.
  for (int attempt = 0;; ++attempt) {
    auto slot = read_slot(connection, name);
    if (!slot) return false;
    if (slot->active_pid == 0) break;
    if (attempt == 20)
      throw Error(Retry::needs_operator,
                  fmt::format("{} is in use by server process {}{}", quoted(name), slot->active_pid,
                              slot->active_address.empty() ? "" : ", from " + slot->active_address),
                  "Stop the tailrace that reads it first: Ctrl-C, or `tailrace teardown --stop`");
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  }
  connection.query(fmt::format("select pg_catalog.pg_drop_replication_slot({})", quote_literal(name)),
                   "dropping the replication slot");
  return true;
}

namespace {

Error ahead_of_target(const std::string& name, Lsn slot, Lsn target) {
  return {Retry::needs_operator,
          fmt::format("{} is at {}, ahead of what the target has ({}): the changes between are gone",
                      quoted(name), slot.str(), target.str()),
          fmt::format("Somebody else read from it: two mirrors of one database need two names (--name). {}",
                      copy_all_anew)};
}

}  // namespace

void check_usable(const SlotInfo& slot, const std::optional<Checkpoint>& checkpoint) {
  check_kind(slot);
  check_not_lost(slot);
  check_free(slot);
  if (!slot.confirmed_flush.valid())
    throw Error(Retry::transient, fmt::format("{} is still being created", quoted(slot.name)),
                "It waits for transactions that were open on the source when its creation began");
  // The server would silently start at its own position and never send what lies between.
  if (checkpoint && slot.confirmed_flush > checkpoint->lsn)
    throw ahead_of_target(slot.name, slot.confirmed_flush, checkpoint->lsn);
}

void check_not_passed(pg::Connection& connection, const std::string& name, Lsn start) {
  auto row = connection.query(
      fmt::format("select confirmed_flush_lsn from pg_catalog.pg_replication_slots where slot_name = {}",
                  quote_literal(name)),
      "looking where the slot is");
  if (row.rows() > 0 && row.lsn(0, 0) > start) throw ahead_of_target(name, row.lsn(0, 0), start);
}

void check_same_cluster(const SystemIdentity& server, const Checkpoint& checkpoint) {
  if (server.system_identifier != checkpoint.system_identifier)
    throw Error(
        Retry::needs_operator,
        fmt::format(
            "the target was filled from another PostgreSQL cluster (system identifier {}, this one is {})",
            checkpoint.system_identifier, server.system_identifier),
        fmt::format(
            "Point the source at the cluster it was copied from, or choose a new target. After a pg_upgrade of "
            "that cluster: {}",
            copy_all_anew));
  if (server.timeline < checkpoint.timeline)
    throw Error(
        Retry::needs_operator,
        fmt::format("the server is on timeline {}, but the target already followed timeline {}: this is an "
                    "old primary from before a failover",
                    server.timeline, checkpoint.timeline),
        "Point the source at the server that was promoted");
}

bool is_lost(const SlotInfo& slot) {
  return !slot.invalidation_reason.empty() || slot.wal_status == "lost";
}

std::optional<SlotInfo> acquire_slot(pg::Connection& connection, const std::string& name,
                                     const std::optional<Checkpoint>& checkpoint, const StopSignal& stop,
                                     std::chrono::milliseconds patience) {
  auto check_one = [](const SlotInfo& slot) {
    check_kind(slot);
    check_not_lost(slot);
  };
  return wait_for_slot(connection, name, stop, patience, check_one,
                       [&](const SlotInfo& slot) { check_usable(slot, checkpoint); });
}

std::optional<SlotInfo> acquire_slot_to_replace(pg::Connection& connection, const std::string& name,
                                                const StopSignal& stop) {
  return wait_for_slot(connection, name, stop, std::chrono::seconds(35), check_kind, check_free);
}

}  // namespace tailrace::source
