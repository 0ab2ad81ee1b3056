#include "pipeline/unreadable_table.h"

#include <fmt/format.h>

#include <chrono>

#include "base/log.h"
#include "pg/connection.h"

namespace tailrace::pipeline {

std::string grant_to_read(const std::string& source, Oid table) noexcept {
  try {
    auto connection = pg::Connection::open(source, {pg::Mode::sql, "tailrace"});
    connection.set_patience(std::chrono::seconds(10));
    auto rows = connection.query(
        fmt::format(
            "select pg_catalog.concat_ws(' ', "
            "case when not pg_catalog.has_schema_privilege(n.oid, 'usage') then "
            "pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user) end, "
            "case when not pg_catalog.has_table_privilege(c.oid, 'select') then "
            "pg_catalog.format('GRANT SELECT ON %I.%I TO %I;', n.nspname, c.relname, current_user) end) "
            "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
            "where c.oid = {}",
            table),
        "looking at what the source's user may read");
    if (rows.rows() == 0 || rows.str(0, 0).empty()) return {};
    return "At the source, as the table's owner: " + rows.str(0, 0);
  } catch (const std::exception& error) {
    log::debug("copy", "what lets the table be read is not known: {}", error.what());
    return {};
  }
}

}  // namespace tailrace::pipeline
