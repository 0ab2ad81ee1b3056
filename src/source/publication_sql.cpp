// The statements that make a publication. Pure.

#include <fmt/format.h>

#include "base/sql_text.h"
#include "source/publication.h"

namespace tailrace::source {

std::string table_list_sql(const std::vector<SelectedTable>& tables, int server_version) {
  std::string out;
  for (const SelectedTable& selected : tables) {
    bool options = !selected.columns.empty() || !selected.where.empty();
    if (options && server_version < 150000)
      throw Error(Retry::needs_operator,
                  fmt::format("the columns or where of {} need PostgreSQL 15; this server is {}",
                              selected.table.qualified(), server_version / 10000),
                  "Remove them from `tables`: this server can only publish whole tables");
    if (!out.empty()) out += ", ";
    // ONLY, because without it children by inheritance come along, excluded ones too. Partitions always do.
    out += "ONLY " + quote_qualified(selected.table.schema, selected.table.name);
    if (!selected.columns.empty()) {
      std::string columns;
      for (const std::string& column : selected.columns)
        columns += (columns.empty() ? "" : ", ") + quote_identifier(column);
      out += " (" + columns + ")";
    }
    if (!selected.where.empty()) out += " WHERE (" + selected.where + ")";
  }
  return out;
}

std::string publication_options_sql(const PublicationSpec& spec, int server_version) {
  return fmt::format(
      "(publish = 'insert, update, delete, truncate', publish_via_partition_root = {}{})",
      spec.via_partition_root,
      // Before 18, values of generated columns never travel.
      server_version >= 180000 && spec.generated_columns ? ", publish_generated_columns = stored" : "");
}

std::string create_publication_sql(const PublicationSpec& spec, const std::vector<SelectedTable>& tables,
                                   bool all_tables, int server_version) {
  std::string what = all_tables       ? " FOR ALL TABLES"
                     : tables.empty() ? ""
                                      : " FOR TABLE " + table_list_sql(tables, server_version);
  return fmt::format("CREATE PUBLICATION {}{} WITH {}", quote_identifier(spec.names.at(0)), what,
                     publication_options_sql(spec, server_version));
}

}  // namespace tailrace::source
