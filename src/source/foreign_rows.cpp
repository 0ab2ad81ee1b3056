#include "source/foreign_rows.h"

#include <fmt/format.h>

#include "schema/own_books.h"

namespace tailrace::source {

std::string tables_filled_from_elsewhere(pg::Connection& source, const std::vector<Oid>& tables) {
  constexpr Oid text_type = 25;
  constexpr const char* purpose = "looking for tables that are filled by replication";
  std::string wanted = "{";
  for (Oid table : tables) wanted += fmt::format("{}{}", wanted.size() > 1 ? "," : "", table);
  wanted += "}";
  // Whoever may not read a tailrace's books does not know of it. What others may write there is only warned of.
  auto book = schema::look_at_book(source, "tables", "{schema_name,table_name}", text_type);
  bool books = book.believed && book.readable;
  auto rows = source.query(
      fmt::format("select pg_catalog.string_agg(c.oid::pg_catalog.regclass::pg_catalog.text, ', ' "
                  "order by c.oid::pg_catalog.regclass::pg_catalog.text) "
                  "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                  "where c.oid = any($1::pg_catalog.oid[]) and (exists (select "
                  "from pg_catalog.pg_subscription_rel r where "
                  "r.srrelid "
                  "= c.oid or r.srrelid in (select relid from pg_catalog.pg_partition_tree(c.oid))){})",
                  books ? " or exists (select from only tailrace.tables t where t.schema_name = n.nspname and "
                          "t.table_name = "
                          "c.relname)"
                        : ""),
      {wanted}, purpose);
  return rows.str(0, 0);
}

}  // namespace tailrace::source
