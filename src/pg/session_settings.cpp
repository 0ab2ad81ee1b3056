#include "pg/session_settings.h"

#include <libpq-fe.h>

#include <cstdlib>
#include <memory>
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

std::string with_empty_path(const std::string& server_options) {
  return server_options + (server_options.empty() ? "" : " ") + "-c search_path=";
}

std::string pin_session(int server_version) {
  // A pooler may have kept the path from the server. Then this is the first that runs, and names all it calls;
  // a literal that stands for itself is of the type that the only function of this name takes.
  std::string sql = "select pg_catalog.set_config('search_path', '', false); select ";
  std::string_view between;
  for (const auto& setting : pinned) {
    if (server_version < setting.since) continue;
    sql += fmt::format("{}pg_catalog.set_config('{}', '{}', false)", between, setting.name, setting.value);
    between = ", ";
  }
  return sql;
}

}  // namespace tailrace::pg
