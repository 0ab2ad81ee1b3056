#pragma once
// PublicationMembers: what a publication publishes, asked without a lock. pg_publication_tables opens each of
// its tables (from PostgreSQL 16 on; before, those with a row filter), so it waits for whoever has locked one
// of them, who may wait for us.

#include <string>

namespace tailrace::source {

/// Whether a row filter is wanted in SQL, for which the server locks the filtered table, or only as the
/// catalogs keep it: enough to tell one from another, and no SQL.
enum class Filters { as_sql, as_stored };

/// Stands for pg_publication_tables in a FROM clause (pubname, schemaname, tablename, attnames, rowfilter), for
/// this publication. From version 15 on. Pure.
std::string publication_members_sql(const std::string& name, Filters filters, int server_version);

}  // namespace tailrace::source
