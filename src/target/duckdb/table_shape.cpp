#include "target/duckdb/table_shape.h"

#include <algorithm>

#include "base/log.h"
#include "target/duckdb/row_appender.h"
#include "target/duckdb/text_function.h"

namespace tailrace::target::duckdb {

TableRefused misfit(const MirrorTable& table, const MirrorColumn& column, const std::string& value) {
  return {table.oid,
          fmt::format("a value{}{}{} of column {} does not fit {}, and types: wants an error of that",
                      value.empty() ? "" : " ('", value, value.empty() ? "" : "')", column.source.name,
                      column.chosen),
          "Choose a wider type, or misfit: text, and copy the table anew"};
}

MirrorColumn& TableShape::column(const std::string& source_name) {
  auto found =
      std::ranges::find(table_.columns, source_name, [](const auto& each) { return each.source.name; });
  if (found == table_.columns.end())
    throw Error(Retry::fatal, fmt::format("the mirror of {} has no column {}", table_.name, source_name));
  return *found;
}

void TableShape::alter(const std::string& what, const std::string& purpose) {
  try {
    session_.query(fmt::format("ALTER TABLE {} {}", table_.sql_name(), what), purpose);
  } catch (const Error& error) {
    // In other words for a column that is dropped.
    if (!error.message().contains("Dependency Error") && !error.message().contains("an index depends")) throw;
    throw TableRefused(
        table_.oid,
        fmt::format("{} cannot follow the source's definition: somebody made an index on it, and "
                    "DuckDB changes no table that has one",
                    table_.sql_name()),
        "Drop the index from the file");
  }
}

void TableShape::rename(const std::string& target_name) {
  if (target_name == table_.target_name) return;
  alter("RENAME TO " + quote_identifier(target_name), "renaming a table");
  table_.target_name = target_name;
}

void TableShape::drop_column(const std::string& source_name) {
  alter("DROP COLUMN " + quote_identifier(column(source_name).name), "dropping a column");
  std::erase_if(table_.columns, [&](const auto& each) { return each.source.name == source_name; });
}

void TableShape::rename_column(const std::string& from, const std::string& to) {
  std::vector<std::string> names = {std::string(row_identifier)};
  for (const auto& each : table_.columns) {
    if (each.source.name != from) names.push_back(each.name);
  }
  MirrorColumn& renamed = column(from);
  std::string name = Mirror::free_name(to, names);
  if (name != renamed.name) {
    alter(fmt::format("RENAME COLUMN {} TO {}", quote_identifier(renamed.name), quote_identifier(name)),
          "renaming a column");
  }
  renamed.source.name = to;
  renamed.name = name;
}

void TableShape::add_column(const Evolution::Added& added, bool as_text) {
  std::vector<std::string> names = {std::string(row_identifier)};
  for (const auto& each : table_.columns) names.push_back(each.name);
  MirrorColumn fresh;
  fresh.source = {added.column.attnum, added.column.name,   added.column.type->oid,
                  added.column.typmod, added.column.is_key, added.column.version};
  fresh.name = Mirror::free_name(added.column.name, names);
  mirror_.set_type(fresh, table_.schema, table_.name, *added.column.type, added.column.typmod,
                   added.column.dimensions);
  if (as_text) {
    fresh.type = widen_to_text(fresh.type);
    fresh.widened = true;
  }
  if (added.value) fills_.push_back({fresh.name, stage(*added.value, fresh)});
  alter(fmt::format("ADD COLUMN {} {}", quote_identifier(fresh.name), fresh.type.sql),
        fmt::format("adding column {}", fresh.name));
  table_.columns.push_back(std::move(fresh));
}

/// What rows from before the column have in it, as a temporary table of one row.
std::string TableShape::stage(const std::string& value, MirrorColumn& column) {
  std::string name = fmt::format("tailrace_default_{}", fills_.size());
  for (;;) {
    session_.query(fmt::format("CREATE OR REPLACE TEMP TABLE {} (v {})", name, column.type.sql),
                   "staging a default");
    try {
      RowAppender appender(session_, "temp", "main", name, {column.type});
      appender.write(0, Value{ValueKind::text, value});
      appender.end_row();
      appender.finish();
      return name;
    } catch (const DoesNotFit&) {
      // VARCHAR takes anything.
      TAILRACE_CHECK(!column.widened);
      if (column.misfit_is_error) throw misfit(table_, column, value);
      log::warn("target",
                "the new column {} of {} is VARCHAR with PostgreSQL's exact text: its default does not fit {}",
                column.source.name, table_.sql_name(), column.type.shown());
      column.type = widen_to_text(column.type);
      column.widened = true;
    }
  }
}

void TableShape::retype_column(MirrorColumn& column, const ColumnType& type) {
  if (type.sql != column.type.sql) {
    std::string value = quote_identifier(column.name);
    // What an enumeration shows is what was written.
    bool as_shown = type.sql == "VARCHAR" && column.type.codec != Codec::enumeration;
    converted_[column.name] = as_shown ? fmt::format("{}({})", text_function(session_, column.type), value)
                                       : fmt::format("CAST({} AS {})", value, type.sql);
  }
  column.type = type;
}

void TableShape::finish() {
  if (!converted_.empty()) {
    rebuild();
  } else if (!fills_.empty()) {
    std::string set;
    for (const auto& fill : fills_) {
      set += fmt::format("{}{} = (SELECT v FROM temp.{})", set.empty() ? "" : ", ",
                         quote_identifier(fill.column), fill.staged);
    }
    session_.query(fmt::format("UPDATE {} SET {}", table_.sql_name(), set), "filling a new column");
  }
  for (const auto& fill : fills_)
    session_.query(fmt::format("DROP TABLE temp.{}", fill.staged), "dropping a staged default");
}

void TableShape::rebuild() {
  std::string list;
  for (const auto& each : table_.columns) {
    std::string name = quote_identifier(each.name);
    auto converted = converted_.find(each.name);
    auto fill = std::ranges::find(fills_, each.name, &Fill::column);
    std::string value = converted != converted_.end() ? converted->second
                        : fill != fills_.end()        ? fmt::format("(SELECT v FROM temp.{})", fill->staged)
                                                      : name;
    list += fmt::format("{}{} AS {}", list.empty() ? "" : ", ", value, name);
  }
  std::string spare = quote_qualified(table_.target_schema,
                                      mirror_.free_table_name(table_.oid, table_.target_schema,
                                                              fmt::format("tailrace changing {}", table_.oid)));
  session_.query(fmt::format("CREATE TABLE {0} AS SELECT {1} FROM {2}; DROP TABLE {2}; "
                             "ALTER TABLE {0} RENAME TO {3}",
                             spare, list, table_.sql_name(), quote_identifier(table_.target_name)),
                 fmt::format("writing {} anew with other types", table_.sql_name()));
}

}  // namespace tailrace::target::duckdb
