#include "source/preflight.h"

#include <fmt/format.h>

#include "base/sql_text.h"
#include "source/preflight_tables.h"
#include "source/slot.h"

namespace tailrace::source {
namespace {

struct ServerFacts {
  int version = 0;
  std::string version_text;
  std::string wal_level;
  bool standby = false;
  std::int64_t max_slots = 0, used_slots = 0;
  std::int64_t max_senders = 0, used_senders = 0;
  std::string role;
  bool may_replicate = false;
  bool superuser = false;
  bool may_create = false;
  std::string database;
  std::string encoding;
  std::int64_t slot_keep_mb = -1;
  std::int64_t sender_timeout_ms = 0;
  std::int64_t idle_timeout_s = 0;
  std::string plugin_libraries;  ///< empty: no such setting
  std::int64_t long_transactions = 0;
  bool read_only = false;  ///< by a setting
};

ServerFacts read_facts(pg::Connection& connection) {
  // pg_settings hides what we may not see (output_plugin_libraries, from ordinary roles), where current_setting
  // fails. rds_replication stands for the attribute on Amazon, where nobody may have the attribute itself.
  auto row = connection.query(
      "select pg_catalog.current_setting('server_version'), pg_catalog.current_setting('wal_level'), "
      "pg_catalog.pg_is_in_recovery(),"
      " pg_catalog.current_setting('max_replication_slots')::bigint, (select pg_catalog.count(*) "
      "from pg_catalog.pg_replication_slots),"
      " pg_catalog.current_setting('max_wal_senders')::bigint, (select pg_catalog.count(*) "
      "from pg_catalog.pg_stat_replication),"
      " current_user, r.rolreplication or r.rolsuper or exists (select 1 from pg_catalog.pg_roles g"
      "   where g.rolname = 'rds_replication' and pg_catalog.pg_has_role(r.oid, g.oid, 'member')), r.rolsuper,"
      " pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), "
      "pg_catalog.current_database(),"
      " pg_catalog.current_setting('server_encoding'),"
      " (select setting::bigint from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'),"
      " (select setting::bigint from pg_catalog.pg_settings where name = 'wal_sender_timeout'),"
      " coalesce((select setting::bigint from pg_catalog.pg_settings "
      "where name = 'idle_replication_slot_timeout'), 0),"
      " coalesce((select setting from pg_catalog.pg_settings where name = 'output_plugin_libraries'), ''),"
      " (select pg_catalog.count(*) from pg_catalog.pg_stat_activity where backend_xid is not null"
      "   and xact_start < pg_catalog.now() - interval '1 minute') + (select pg_catalog.count(*) "
      "from pg_catalog.pg_prepared_xacts),"
      " pg_catalog.current_setting('default_transaction_read_only') = 'on' "
      "and not pg_catalog.pg_is_in_recovery()"
      " from pg_catalog.pg_roles r where r.rolname = current_user",
      "reading the server's settings");
  ServerFacts facts;
  facts.version = connection.server_version();
  facts.version_text = row.str(0, 0);
  facts.wal_level = row.str(0, 1);
  facts.standby = row.flag(0, 2);
  facts.max_slots = row.i64(0, 3);
  facts.used_slots = row.i64(0, 4);
  facts.max_senders = row.i64(0, 5);
  facts.used_senders = row.i64(0, 6);
  facts.role = row.str(0, 7);
  facts.may_replicate = row.flag(0, 8);
  facts.superuser = row.flag(0, 9);
  facts.may_create = row.flag(0, 10);
  facts.database = row.str(0, 11);
  facts.encoding = row.str(0, 12);
  facts.slot_keep_mb = row.i64(0, 13);
  facts.sender_timeout_ms = row.i64(0, 14);
  facts.idle_timeout_s = row.i64(0, 15);
  facts.plugin_libraries = row.str(0, 16);
  facts.long_transactions = row.i64(0, 17);
  facts.read_only = row.flag(0, 18);
  return facts;
}

class Preflight {
 public:
  Preflight(pg::Connection& connection, const PreflightRequest& request)
      : connection_(connection), request_(request), facts_(read_facts(connection)) {}

  std::vector<CheckResult> all() {
    version();
    wal();
    auto slot = read_slot(connection_, request_.slot);
    headroom(slot.has_value());
    role();
    retention();
    encoding();
    open_transactions(slot.has_value());
    slot_state(slot);
    std::optional<PublicationInfo> existing;
    try {
      existing = read_publications(connection_, request_.publication.names);
      publication(existing);
    } catch (const Error& error) {
      if (error.retry() != Retry::needs_operator || !error.sqlstate().empty()) throw;
      add(Verdict::fail, "publications", error.message(), error.remedy());
    }
    for (auto& result : check_tables(connection_, request_, existing)) out_.push_back(std::move(result));
    return std::move(out_);
  }

 private:
  void add(Verdict verdict, std::string title, std::string detail, std::string remedy = {}) {
    out_.push_back({verdict, std::move(title), std::move(detail), std::move(remedy)});
  }

  void version() {
    int major = facts_.version / 10000;
    Verdict verdict = major < 13 ? Verdict::fail : major > 18 ? Verdict::warn : Verdict::pass;
    add(verdict, "server version",
        fmt::format("PostgreSQL {}{}", facts_.version_text,
                    major < 13   ? ", but 13 to 18 are supported"
                    : major > 18 ? " is newer than what tailrace was tried with (13 to 18)"
                                 : ""));
    if (!facts_.standby) return;
    if (major < 16)
      add(Verdict::fail, "standby",
          "this server is a standby; logical decoding on standbys came with PostgreSQL 16",
          "Point the source at the primary");
    else
      add(Verdict::warn, "standby",
          "this server is a standby: the publication must be made on its primary, and creating the slot waits "
          "until "
          "the primary writes a snapshot record",
          "On the primary, while tailrace waits: SELECT pg_log_standby_snapshot();");
  }

  void wal() {
    bool logical = facts_.wal_level == "logical";
    add(logical ? Verdict::pass : Verdict::fail, "wal_level",
        logical ? "logical" : fmt::format("is {}, must be logical", facts_.wal_level),
        logical ? "" : "ALTER SYSTEM SET wal_level = logical;  -- then restart the server");
    if (facts_.plugin_libraries.empty()) return;
    bool allowed = facts_.plugin_libraries.contains("pgoutput");
    // This setting is a list: ALTER SYSTEM SET with one quoted text would store one element with commas in it.
    add(allowed ? Verdict::pass : Verdict::fail, "output_plugin_libraries", facts_.plugin_libraries,
        allowed ? ""
                : "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding;  -- then SELECT "
                  "pg_reload_conf();");
  }

  void headroom(bool slot_exists) {
    bool slots_left = slot_exists || facts_.used_slots < facts_.max_slots;
    add(slots_left ? Verdict::pass : Verdict::fail, "max_replication_slots",
        fmt::format("{} of {} in use{}", facts_.used_slots, facts_.max_slots,
                    slot_exists ? ", ours among them" : ""),
        slots_left ? ""
                   : fmt::format("ALTER SYSTEM SET max_replication_slots = {};  -- then restart the server",
                                 facts_.max_slots + 5));
    bool senders_left = facts_.used_senders < facts_.max_senders;
    add(senders_left ? Verdict::pass : Verdict::fail, "max_wal_senders",
        fmt::format("{} of {} in use", facts_.used_senders, facts_.max_senders),
        senders_left ? ""
                     : fmt::format("ALTER SYSTEM SET max_wal_senders = {};  -- then restart the server",
                                   facts_.max_senders + 5));
  }

  void role() {
    std::string role = quote_identifier(facts_.role);
    add(facts_.may_replicate ? Verdict::pass : Verdict::fail, "replication role",
        fmt::format("{} {} replicate", facts_.role, facts_.may_replicate ? "may" : "may not"),
        facts_.may_replicate ? "" : fmt::format("ALTER ROLE {} REPLICATION;", role));
  }

  void retention() {
    if (facts_.slot_keep_mb < 0)
      add(Verdict::pass, "max_slot_wal_keep_size",
          "no limit: a stopped tailrace loses nothing, but WAL gathers on the server meanwhile");
    else
      add(facts_.slot_keep_mb < 1024 ? Verdict::warn : Verdict::pass, "max_slot_wal_keep_size",
          fmt::format("{} MB: the slot is lost when tailrace falls behind by more", facts_.slot_keep_mb),
          facts_.slot_keep_mb < 1024 ? "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';  -- or what the disk "
                                       "can spare; then SELECT pg_reload_conf();"
                                     : "");
    if (facts_.idle_timeout_s > 0)
      add(facts_.idle_timeout_s < 86400 ? Verdict::warn : Verdict::pass, "idle_replication_slot_timeout",
          fmt::format("the slot is lost when tailrace is away for {} minutes", facts_.idle_timeout_s / 60),
          facts_.idle_timeout_s < 86400
              ? "ALTER SYSTEM SET idle_replication_slot_timeout = 0;  -- then SELECT pg_reload_conf();"
              : "");
    bool never = facts_.sender_timeout_ms == 0, hasty = !never && facts_.sender_timeout_ms < 10000;
    add(never || hasty ? Verdict::warn : Verdict::pass, "wal_sender_timeout",
        never   ? "0: the server never lets go of a slot whose client vanished without a word"
        : hasty ? fmt::format("{} ms: a short pause ends the stream", facts_.sender_timeout_ms)
                : fmt::format("{} s", facts_.sender_timeout_ms / 1000),
        never || hasty ? "ALTER SYSTEM SET wal_sender_timeout = '60s';  -- then SELECT pg_reload_conf();" : "");
  }

  void encoding() {
    bool none = facts_.encoding == "SQL_ASCII";
    add(none ? Verdict::warn : Verdict::pass, "server encoding",
        none ? "SQL_ASCII: the server checks and converts nothing, so text that is not UTF-8 stops the mirror"
             : facts_.encoding,
        none ? "Keep text in such databases in UTF-8, or leave the tables out that hold anything else" : "");
  }

  void open_transactions(bool slot_exists) {
    if (slot_exists || facts_.long_transactions == 0) return;
    add(Verdict::warn, "open transactions",
        fmt::format(
            "{} transactions have been open for more than a minute or are prepared; creating the slot waits "
            "for them",
            facts_.long_transactions),
        "SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY "
        "xact_start;");
  }

  void slot_state(const std::optional<SlotInfo>& slot) {
    std::string title = "slot " + request_.slot;
    if (!slot && request_.failover_slot && facts_.version < 170000)
      return add(Verdict::fail, title, "failover slots need PostgreSQL 17", "Remove slot.failover");
    if (!slot)
      return add(request_.create_slot ? Verdict::pass : Verdict::fail, title,
                 request_.create_slot ? "will be created" : "does not exist, and slot.create is off",
                 request_.create_slot
                     ? ""
                     : fmt::format("SELECT pg_create_logical_replication_slot({}, 'pgoutput');",
                                   quote_literal(request_.slot)));
    try {
      check_usable(*slot, std::nullopt);
      add(slot->wal_status == "unreserved" ? Verdict::warn : Verdict::pass, title,
          fmt::format("exists, at {}, holds back {} MB of WAL{}", slot->confirmed_flush.str(),
                      slot->retained_bytes / (1 << 20),
                      slot->wal_status == "unreserved" ? "; it is about to be lost" : ""));
    } catch (const Error& error) {
      // Held at this moment is no fault when the holder is the tailrace that runs already.
      bool held = slot->active_pid != 0 && slot->active_application == request_.application;
      if (held)
        add(Verdict::pass, title,
            fmt::format("a tailrace is reading it (server process {})", slot->active_pid));
      else
        add(error.retry() == Retry::transient ? Verdict::warn : Verdict::fail, title, error.message(),
            error.remedy());
    }
  }

  void publication(const std::optional<PublicationInfo>& existing) {
    const PublicationSpec& spec = request_.publication;
    std::string title = fmt::format("publication {}", fmt::join(spec.names, ", "));
    try {
      if (existing) check_publication(connection_, spec);
    } catch (const Error& error) {
      if (error.retry() != Retry::needs_operator) throw;
      return add(Verdict::fail, title, error.message(), error.remedy());
    }
    if (existing)
      return add(Verdict::pass, title,
                 fmt::format("exists{}, {} tables", existing->managed ? ", made by tailrace" : "",
                             existing->tables.size()));
    if (!spec.create)
      return add(Verdict::fail, title,
                 fmt::format("{} does not exist, and publication.create is off", missing_publication()),
                 fmt::format("CREATE PUBLICATION {} FOR TABLE ...;", quote_identifier(missing_publication())));
    if (facts_.read_only)
      return add(
          Verdict::fail, title,
          fmt::format("cannot be created: default_transaction_read_only is on for {}, its role or server",
                      facts_.database),
          fmt::format("ALTER DATABASE {} RESET default_transaction_read_only;  -- for the first start; or add "
                      "options=-c%20default_transaction_read_only%3Doff to the source's URL",
                      quote_identifier(facts_.database)));
    if (facts_.may_create) return add(Verdict::pass, title, "will be created");
    add(Verdict::fail, title, fmt::format("{} may not create publications in {}", facts_.role, facts_.database),
        fmt::format("GRANT CREATE ON DATABASE {} TO {};", quote_identifier(facts_.database),
                    quote_identifier(facts_.role)));
  }

  std::string missing_publication() {
    for (const auto& name : request_.publication.names)
      if (!read_publication(connection_, name)) return name;
    return request_.publication.names.at(0);
  }

  pg::Connection& connection_;
  const PreflightRequest& request_;
  ServerFacts facts_;
  std::vector<CheckResult> out_;
};

}  // namespace

std::vector<CheckResult> preflight(pg::Connection& connection, const PreflightRequest& request) {
  return Preflight(connection, request).all();
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass: return "pass";
    case Verdict::warn: return "warn";
    case Verdict::fail: return "fail";
  }
  return "?";
}

}  // namespace tailrace::source
