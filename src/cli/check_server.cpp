#include "cli/check_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/sql_text.h"
#include "cli/command.h"
#include "schema/reading.h"
#include "schema/role_rights.h"
#include "target/postgres/books_format.h"
#include "target/postgres/target_user.h"

namespace tailrace::cli {
namespace {

using source::CheckResult;
using source::Verdict;

std::set<std::string> names(pg::Connection& connection, const std::string& sql, std::string_view purpose) {
  auto rows = connection.query(sql, purpose);
  std::set<std::string> out;
  for (int i = 0; i < rows.rows(); ++i) out.insert(rows.str(i, 0));
  return out;
}

std::string lines(const pg::Result& rows) {
  std::string out;
  for (int i = 0; i < rows.rows(); ++i) out += (out.empty() ? "" : "\n") + rows.str(i, 0);
  return out;
}

class ServerChecks {
 public:
  ServerChecks(const config::Config& config, pg::Connection& source, pg::Connection& target,
               std::vector<PlannedTable>& plan)
      : config_(config), source_(source), target_(target), plan_(plan) {
    for (const auto& table : plan_) names_.push_back(table.table);
    auto row = target_.query(
        "select pg_catalog.quote_ident(current_user::pg_catalog.text), "
        "pg_catalog.quote_ident(pg_catalog.current_database()::pg_catalog.text), "
        "pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), "
        "pg_catalog.to_regnamespace('tailrace') is not null",
        "looking at the target's user");
    user_ = row.str(0, 0);
    database_ = row.str(0, 1);
    may_create_ = row.flag(0, 2);
    books_ = row.flag(0, 3);
  }

  std::vector<CheckResult> all() {
    version();
    replica_role();
    creating();
    mark_plan();
    writing();
    rows_there();
    origins();
    connections();
    encoding();
    if (config_.schema.mode == config::SchemaMode::copy) extensions();
    return std::move(out_);
  }

 private:
  void add(Verdict verdict, std::string title, std::string detail, std::string remedy = {}) {
    out_.push_back({verdict, std::move(title), std::move(detail), std::move(remedy)});
  }

  void version() {
    int there = target_.server_version() / 10000;
    int here = source_.server_version() / 10000;
    add(there < 13     ? Verdict::fail
        : there < here ? Verdict::warn
                       : Verdict::pass,
        "target's version",
        fmt::format("PostgreSQL {}{}", there,
                    there < 13     ? ", but 13 to 18 are supported"
                    : there < here ? fmt::format(", older than the source ({}): of its structure, what {} does "
                                                 "not know is left out",
                                                 here, there)
                                   : ""));
  }

  /// It stays set: nothing else is done by this connection.
  void replica_role() {
    constexpr const char* title = "session_replication_role";
    try {
      target::postgres::take_replica_role(target_, "checking the target's user");
      add(Verdict::pass, title, user_ + " may set it");
    } catch (const Error& error) {
      if (error.retry() != Retry::needs_operator) throw;
      auto statement = error.remedy();
      if (auto at = statement.find(": "); at != std::string::npos) statement.erase(0, at + 2);
      if (auto at = statement.find("At the target: "); at != std::string::npos) statement.erase(0, at + 15);
      add(Verdict::fail, title, error.message(), statement);
    }
  }

  std::string array() const {
    std::string out;
    for (const auto& name : names_) out += (out.empty() ? "" : ",") + quote_literal(name);
    return fmt::format("array[{}]::pg_catalog.text[]", out);
  }

  /// tailrace's own schema, and those of the tables.
  void creating() {
    std::string grant = fmt::format("GRANT CREATE ON DATABASE {} TO {};", database_, user_);
    if (!books_ && !may_create_)
      add(Verdict::fail, "tailrace's own schema",
          fmt::format("{} may not make a schema in {}", user_, database_), grant);
    if (config_.schema.mode != config::SchemaMode::copy || !config_.snapshot.enabled) return;
    auto missing = target_.query(
        fmt::format(
            "select distinct case when n.oid is null then {0} else pg_catalog.format('GRANT USAGE, CREATE ON "
            "SCHEMA %I TO %s;', n.nspname, {1}) end from (select distinct pg_catalog.split_part(name, '.', 1) "
            "as schema from pg_catalog.unnest({2}) as name where not exists (select from pg_catalog.pg_class c "
            "join pg_catalog.pg_namespace own on own.oid = c.relnamespace where own.nspname || '.' || "
            "c.relname "
            "= name)) wanted left join pg_catalog.pg_namespace n on n.nspname = wanted.schema where case when "
            "n.oid is null then not {3} else not (pg_catalog.has_schema_privilege(n.oid, 'CREATE') and "
            "pg_catalog.has_schema_privilege(n.oid, 'USAGE')) end",
            quote_literal(grant), quote_literal(user_), array(), may_create_),
        "looking at the target's schemas");
    if (missing.rows() == 0)
      return add(Verdict::pass, "making tables", user_ + " may make what the target lacks");
    add(Verdict::fail, "making tables", user_ + " may not make what the target lacks", lines(missing));
  }

  void mark_plan() {
    auto there = names(target_,
                       fmt::format("select n.nspname || '.' || c.relname from pg_catalog.pg_class c "
                                   "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                                   "where n.nspname || '.' || c.relname = any({})",
                                   array()),
                       "looking for the target's tables");
    set_up_ = target::postgres::is_set_up(target_, config_.name);
    std::set<std::string> followed;
    // Of books of any format.
    if (set_up_)
      followed = names(target_,
                       fmt::format("select schema_name || '.' || table_name from tailrace.tables where copied "
                                   "and subscription = {}",
                                   quote_literal(config_.name)),
                       "reading tailrace's books");
    bool makes = config_.schema.mode == config::SchemaMode::copy;
    for (auto& table : plan_) {
      bool found = there.contains(table.table);
      if (found) table.action = followed.contains(table.table) ? "followed already" : "filled";
      if (found || makes) continue;
      table.action = "not there";
      lacking_.push_back(table.table);
    }
    if (!lacking_.empty())
      add(Verdict::fail, "tables at the target",
          fmt::format("{} are missing there, and schema.mode is expect: {}", lacking_.size(),
                      fmt::join(lacking_, ", ")),
          "-- set schema: {mode: copy}, or make them there");
  }

  void writing() {
    auto closed = target_.query(
        fmt::format(
            "select pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO %s;', "
            "n.nspname, c.relname, {0}) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = "
            "c.relnamespace where n.nspname || '.' || c.relname = any({1}) and c.relkind in ('r', 'p') and not "
            "(pg_catalog.has_table_privilege(c.oid, 'SELECT') and pg_catalog.has_table_privilege(c.oid, "
            "'INSERT') and pg_catalog.has_table_privilege(c.oid, 'UPDATE') and "
            "pg_catalog.has_table_privilege(c.oid, 'DELETE') and pg_catalog.has_table_privilege(c.oid, "
            "'TRUNCATE')) order by 1",
            quote_literal(user_), array()),
        "looking at the target's privileges");
    may_write_ = closed.rows() == 0;
    if (!may_write_)
      add(Verdict::fail, "writing to the target's tables",
          fmt::format("{} may not write to {} of them", user_, closed.rows()), lines(closed));
  }

  /// Rows of somebody's are never mixed with the source's. Where even to plan a query of the table would run
  /// code of others, it is not asked: that such a table is refused is told elsewhere.
  void rows_there() {
    if (set_up_ || !config_.snapshot.enabled || !may_write_) return;
    std::string filled, of_others;
    std::set<std::string> others;
    // Nobody gains a right by what an ordinary user runs.
    bool super = schema::may_be_superuser(target_);
    schema::QueryGuard guard(config_.target.path, config_.name, stop_signal());
    for (const auto& table : plan_) {
      if (table.action != "filled") continue;
      auto found = target_.query(
          fmt::format("select n.nspname, c.relname, c.relkind = 'p', c.oid "
                      "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                      "where n.nspname || '.' || c.relname = {} and c.relkind in ('r', 'p')",
                      quote_literal(table.table)),
          "looking for rows");
      if (found.rows() == 0) continue;
      bool tree = found.flag(0, 2);
      auto name = quote_qualified(found.get(0, 0), found.get(0, 1));
      bool any = false;
      auto look = [&] {
        auto rows = target_.query(fmt::format("select exists (select from {}{})", tree ? "" : "only ", name),
                                  "looking for rows");
        any = rows.flag(0, 0);
      };
      std::optional<Error> refused;
      if (super)
        refused = guard.while_judged(found.str(0, 0), found.str(0, 1), tree, look);
      else
        look();
      if (refused || !any) continue;
      auto whose = target::postgres::other_mirrors_into(target_, config_.name, found.oid(0, 3));
      auto& list = whose.empty() ? filled : of_others;
      list += (list.empty() ? "" : ", ") + name;
      if (!whose.empty()) others.insert(whose);
    }
    if (!of_others.empty())
      add(Verdict::fail, "rows of another mirror",
          target::postgres::rows_of_others(of_others, fmt::format("{}", fmt::join(others, ", "))),
          "-- " + std::string(target::postgres::remedy_of_others));
    if (filled.empty()) return;
    add(Verdict::fail, "rows at the target", filled + " hold rows already, and they are not tailrace's",
        fmt::format("TRUNCATE {};  -- at the target; or leave these tables out", filled));
  }

  void origins() {
    constexpr const char* setting_before = "max_replication_slots";
    const char* setting =
        target_.server_version() >= 180000 ? "max_active_replication_origins" : setting_before;
    auto row = target_.query(
        fmt::format("select pg_catalog.has_function_privilege('pg_catalog.pg_replication_origin_create(text)', "
                    "'EXECUTE') and pg_catalog.has_function_privilege("
                    "'pg_catalog.pg_replication_origin_session_setup(text)', 'EXECUTE'), "
                    "pg_catalog.current_setting('{}')::bigint",
                    setting),
        "looking at the target's replication origins");
    if (!row.flag(0, 0)) {
      auto verdict = config_.origin == config::Origin::none ? Verdict::warn : Verdict::pass;
      return add(
          verdict, "replication origins",
          fmt::format("{} may not use them: whoever follows the target takes these changes for its own", user_),
          verdict == Verdict::pass
              ? ""
              : fmt::format("GRANT EXECUTE ON FUNCTION pg_catalog.pg_replication_origin_create(text), "
                            "pg_catalog.pg_replication_origin_oid(text), "
                            "pg_catalog.pg_replication_origin_session_setup(text), "
                            "pg_catalog.pg_replication_origin_xact_setup(pg_lsn, timestamptz) TO {};",
                            user_));
    }
    bool room = row.i64(0, 1) > config_.apply.connections;
    add(room ? Verdict::pass : Verdict::warn, "replication origins",
        fmt::format("{} is {}{}", setting, row.get(0, 1), room ? "" : ": too few to mark all changes with one"),
        room ? "" : fmt::format("ALTER SYSTEM SET {} = 10;  -- at the target; then restart it", setting));
  }

  void connections() {
    auto row = target_.query(
        "select pg_catalog.current_setting('max_connections')::bigint - (select pg_catalog.count(*) from "
        "pg_catalog.pg_stat_activity where backend_type = 'client backend'), (select case when rolsuper then "
        "-1 "
        "else rolconnlimit end from pg_catalog.pg_roles where rolname = current_user)",
        "counting the target's connections");
    auto wanted = 2 + config_.apply.connections + config_.snapshot.readers;
    auto limit = row.i64(0, 1);
    if (limit >= 0 && limit < wanted)
      add(Verdict::fail, "target's connections",
          fmt::format("{} may have {} connections, and {} are wanted", user_, limit, wanted),
          fmt::format("ALTER ROLE {} CONNECTION LIMIT {};", user_, wanted + 5));
    bool room = row.i64(0, 0) >= wanted;
    add(room ? Verdict::pass : Verdict::warn, "connections left at the target",
        fmt::format("{}, of which {} are wanted", row.get(0, 0), wanted),
        room ? "" : "ALTER SYSTEM SET max_connections = 200;  -- at the target; then restart it");
  }

  void encoding() {
    auto ask = [](pg::Connection& connection) {
      return connection.query("select pg_catalog.current_setting('server_encoding')", "reading the encoding")
          .str(0, 0);
    };
    auto here = ask(source_);
    auto there = ask(target_);
    if (here == there || there == "UTF8") return;
    add(Verdict::warn, "target's encoding",
        fmt::format("{}, and the source's is {}: a character that it does not have stops the mirror", there,
                    here),
        "-- make the target's database anew: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0;");
  }

  void extensions() {
    auto used = names(source_, "select extname from pg_catalog.pg_extension where extname <> 'plpgsql'",
                      "reading the source's extensions");
    auto to_be_had = names(target_, "select name from pg_catalog.pg_available_extensions",
                           "reading the target's extensions");
    std::vector<std::string> missing;
    std::ranges::set_difference(used, to_be_had, std::back_inserter(missing));
    if (missing.empty()) {
      if (!used.empty())
        add(Verdict::pass, "extensions", fmt::format("the target can have the source's {}", used.size()));
      return;
    }
    add(Verdict::warn, "extensions",
        fmt::format("not installed on the target's server: {}; tables that need one cannot be made",
                    fmt::join(missing, ", ")),
        "-- install them on that host (packages); it needs no restart for most");
  }

  const config::Config& config_;
  pg::Connection& source_;
  pg::Connection& target_;
  std::vector<PlannedTable>& plan_;
  std::vector<std::string> names_;
  std::vector<std::string> lacking_;
  std::string user_;
  std::string database_;
  bool may_create_ = false;
  bool books_ = false;
  bool set_up_ = false;
  bool may_write_ = true;
  std::vector<CheckResult> out_;
};

}  // namespace

std::vector<CheckResult> check_server(const config::Config& config, pg::Connection& source,
                                      pg::Connection& target, std::vector<PlannedTable>& plan) {
  return ServerChecks(config, source, target, plan).all();
}

}  // namespace tailrace::cli
