#include "pg/session_settings.h"

#include <libpq-fe.h>

#include <cstdlib>
#include <memory>
#include <regex>
#include <string_view>

#include <fmt/format.h>

#include "base/sql_text.h"

namespace tailrace::pg {
namespace {

using Options = std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)>;

struct Setting {
  const char* name = "";
  const char* value = "";
  int since = 0;  ///< as 140000
};

// How values look as text, what text means, what a scan may see, and how long a session may live. What is left
// to the user stands in docs/settings.md.
constexpr Setting pinned[] = {
    {"datestyle", "ISO, YMD"},
    {"intervalstyle", "postgres"},
    {"extra_float_digits", "3"},
    {"bytea_output", "hex"},
    {"timezone", "UTC"},
    {"lc_monetary", "C"},
    {"client_encoding", "UTF8"},
    {"xmlbinary", "base64"},
    // DOCUMENT refuses what a column of the type may hold.
    {"xmloption", "content"},
    {"quote_all_identifiers", "off"},
    {"array_nulls", "on"},
    {"transform_null_equals", "off"},
    {"standard_conforming_strings", "on"},
    {"backslash_quote", "safe_encoding"},
    {"row_security", "off"},
    // A GIN index would find some of the rows only.
    {"gin_fuzzy_search_limit", "0"},
    // To plan a query the server would run what CHECK constraints call.
    {"constraint_exclusion", "off"},
    // What is asked of catalogs looks dear to the planner, and is not: compiling takes ten times as long.
    {"jit", "off"},
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_deferrable", "off"},
    // Each failed attempt would cost the session.
    {"exit_on_error", "off"},
    {"client_min_messages", "notice"},
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
    {"idle_session_timeout", "0", 140000},
    {"transaction_timeout", "0", 170000},
};

// A database's owner may give it a role too, which looks like one of few rights, and whose code takes it off.
constexpr const char* role_of_the_user =
    "select pg_catalog.set_config('role', 'none', false); "
    "select pg_catalog.set_config('role', coalesce((select r.rolname::pg_catalog.text "
    "from pg_catalog.pg_db_role_setting s cross join lateral pg_catalog.unnest(s.setconfig) as given (setting) "
    "join pg_catalog.pg_roles r on given.setting = 'role=' || r.rolname "
    "and pg_catalog.pg_has_role(session_user, r.oid, 'member') "
    "where s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = "
    "pg_catalog.current_database())) and s.setrole = (select u.oid from pg_catalog.pg_roles u where u.rolname "
    "= "
    "session_user) order by s.setdatabase desc limit 1), 'none'), false); ";

const char* value_of(const PQconninfoOption* options, std::string_view keyword) {
  for (const auto* option = options; option != nullptr && option->keyword != nullptr; ++option) {
    if (keyword == option->keyword && option->val != nullptr && *option->val != '\0') return option->val;
  }
  return nullptr;
}

/// What libpq makes of it with services and the environment, which only a connection tells: one to nowhere.
Options resolved(const std::string& conninfo) {
  const char* keywords[] = {"dbname", "host", "hostaddr", "port", nullptr};
  const char* values[] = {conninfo.c_str(), "/nonexistent", "", "5432", nullptr};
  std::unique_ptr<PGconn, void (*)(PGconn*)> nowhere(
      PQconnectStartParams(keywords, values, /*expand_dbname=*/1), &PQfinish);
  return {PQconninfo(nowhere.get()), &PQconninfoFree};
}

}  // namespace

std::string server_options_of(const std::string& conninfo) {
  Options given(PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  if (const char* own = value_of(given.get(), "options")) return own;
  bool service = value_of(given.get(), "service") != nullptr || std::getenv("PGSERVICE") != nullptr;
  if (service) {
    auto all = resolved(conninfo);
    const char* own = value_of(all.get(), "options");
    return own != nullptr ? own : "";
  }
  const char* environment = std::getenv("PGOPTIONS");
  return environment != nullptr ? environment : "";
}

bool choose_role(std::string_view server_options) {
  // -c role=app, -crole=app, --role=app
  static const std::regex chosen("(^|\\s)(-c\\s*|--)role=", std::regex::icase);
  return std::regex_search(server_options.begin(), server_options.end(), chosen);
}

std::string with_pinned_start(const std::string& server_options) {
  return fmt::format("{}{}-c search_path={}", server_options, server_options.empty() ? "" : " ",
                     choose_role(server_options) ? "" : " -c role=none");
}

std::string pin_session(int server_version, bool own_role) {
  // A pooler may have kept the path and the role from the server. Then this is the first that runs, and names
  // all it calls; a literal that stands for itself is of the type that the only function of this name takes.
  std::string sql = "select pg_catalog.set_config('search_path', '', false); ";
  if (!own_role) sql += role_of_the_user;
  sql += "select ";
  std::string_view between;
  for (const auto& setting : pinned) {
    if (server_version < setting.since) continue;
    sql += fmt::format("{}pg_catalog.set_config('{}', '{}', false)", between, setting.name, setting.value);
    between = ", ";
  }
  return sql;
}

}  // namespace tailrace::pg
