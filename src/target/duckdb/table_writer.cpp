#include "target/duckdb/table_writer.h"

#include <map>

#include "base/sql_text.h"

namespace tailrace::target::duckdb {
namespace {

/// Types on which DuckDB's equality is looser than identity: '1 month' = '30 days', 12:00+00 = 13:00+01.
bool equality_is_loose(const ColumnType& type) {
  switch (type.codec) {
    case Codec::interval:
    case Codec::timetz: return true;
    case Codec::list: return type.element && equality_is_loose(*type.element);
    default: return false;
  }
}

}  // namespace

TableWriter::TableWriter(Session& session, const MirrorTable& table, const TableBatch& batch)
    : session_(session), table_(table), batch_(batch) {
  map_columns();
}

void TableWriter::map_columns() {
  const auto& columns = batch_.relation->columns;
  bool full = batch_.relation->identity == ReplicaIdentity::full;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::size_t at = 0;
    while (at < table_.columns.size() && table_.columns[at].source.name != columns[i].name) ++at;
    TAILRACE_CHECK(at < table_.columns.size());
    position_.push_back(at);
    if (full || columns[i].is_key) key_.push_back(i);
  }
  std::size_t real = table_.columns.size();
  if (real == 1 && table_.columns[0].source.attnum == 0) real = 0;
  TAILRACE_CHECK(real == columns.size());
}

void TableWriter::write() {
  if (batch_.truncate) session_.query("DELETE FROM " + table_.sql_name(), "truncating a table");
  if (batch_.rows_to_look_up > 0) stage_lookups();
  if (!batch_.deletes.empty()) {
    if (batch_.relation->identity == ReplicaIdentity::full) {
      delete_by_row();
    } else {
      delete_by_key();
    }
  }
  if (batch_.live_rows > batch_.rows_to_look_up) append_rows();
  if (!looked_up_.empty()) insert_looked_up();
  std::string drops;
  for (const auto& name : staged_) drops += fmt::format("DROP TABLE temp.{};", name);
  if (!drops.empty()) session_.query(drops, "dropping staging tables");
}

void TableWriter::append_rows() {
  RowAppender appender(session_, nullptr, table_.target_schema, table_.target_name, table_.types());
  std::vector<Value> values(position_.size());
  for (const auto& row : batch_.rows) {
    if (!row.live || row.lookup != no_index) continue;
    if (row.tuple.has_unchanged) {
      resolve_row(batch_, row, values);
      for (std::size_t i = 0; i < values.size(); ++i) appender.write(position_[i], values[i]);
    } else {
      TupleWalker columns(row.tuple);
      for (std::size_t position : position_) appender.write(position, columns.next());
    }
    if (position_.empty()) appender.write(0, Value{});
    appender.end_row();
    appender.flush_if_full();
  }
  appender.finish();
}

std::string TableWriter::stage(const char* name,
                               const std::vector<std::pair<std::string, ColumnType>>& columns) {
  std::string full_name = fmt::format("tailrace_{}_{}", name, staged_.size());
  std::string sql = fmt::format("CREATE TEMP TABLE {} (", full_name);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    sql += fmt::format("{}{} {}", i == 0 ? "" : ", ", columns[i].first, columns[i].second.sql);
  }
  session_.query(sql + ")", "creating a staging table");
  staged_.push_back(full_name);
  return full_name;
}

void TableWriter::write_key(RowAppender& appender, const TupleData& tuple) {
  TupleWalker columns(tuple);
  std::size_t next = 0;
  for (std::size_t i = 0; next < key_.size(); ++i) {
    Value value = columns.next();
    if (i == key_[next]) appender.write(next++, value);
  }
}

std::string TableWriter::key_condition() const {
  std::string sql;
  for (std::size_t i = 0; i < key_.size(); ++i) {
    sql += fmt::format("{}t.{} = s.k{}", i == 0 ? "" : " AND ",
                       quote_identifier(table_.columns[position_[key_[i]]].name), i);
  }
  return sql;
}

void TableWriter::delete_by_key() {
  std::vector<std::pair<std::string, ColumnType>> columns;
  std::vector<ColumnType> types;
  for (std::size_t i = 0; i < key_.size(); ++i) {
    types.push_back(table_.columns[position_[key_[i]]].type);
    columns.emplace_back(fmt::format("k{}", i), types.back());
  }
  std::string name = stage("keys", columns);
  try {
    RowAppender appender(session_, "temp", "main", name, types);
    for (const auto& removed : batch_.deletes) {
      write_key(appender, removed.tuple);
      appender.end_row();
      appender.flush_if_full();
    }
    appender.finish();
  } catch (DoesNotFit& unfit) {
    // A key that does not fit its column cannot be there; the row that has it is on its way in.
    unfit.column = position_[key_[unfit.column]];
    throw;
  }
  auto found = session_
                   .query(fmt::format("DELETE FROM {} t USING temp.{} s WHERE {}", table_.sql_name(), name,
                                      key_condition()),
                          "deleting rows by key")
                   .changed();
  if (found != static_cast<std::int64_t>(batch_.deletes.size())) missing_rows(found, batch_.deletes.size());
}

/// Without a key a table is a multiset: of equal rows exactly as many go as were deleted.
void TableWriter::delete_by_row() {
  std::vector<std::pair<std::string, ColumnType>> columns;
  std::vector<ColumnType> types;
  std::string condition;
  std::string whole;
  std::string group;
  bool numbers = false;
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < key_.size(); ++i) {
    const MirrorColumn& column = table_.columns[position_[key_[i]]];
    types.push_back(column.type);
    columns.emplace_back(fmt::format("k{}", i), types.back());
    const char* cast = equality_is_loose(column.type) ? "::VARCHAR" : "";
    whole += fmt::format(", any_value(k{0}) AS k{0}", i);
    group += fmt::format("{}k{}{}", i == 0 ? "" : ", ", i, cast);
    numbers = numbers || keeps_number_only(column.type);
    condition += fmt::format("{1}t.{0}{2} IS NOT DISTINCT FROM s.k{3}{2}", quote_identifier(column.name),
                             i == 0 ? "" : " AND ", cast, i);
  }
  ColumnType count;
  count.codec = Codec::int64;
  count.sql = "BIGINT";
  count.wire = PgWire::int8;
  types.push_back(count);
  columns.emplace_back("n", count);
  std::string name = stage("rows", columns);
  try {
    RowAppender appender(session_, "temp", "main", name, types);
    for (const auto& removed : batch_.deletes) {
      write_key(appender, removed.tuple);
      std::string number = std::to_string(removed.count);
      appender.write(key_.size(), Value{ValueKind::text, number});
      appender.end_row();
      appender.flush_if_full();
      wanted += removed.count;
    }
    appender.finish();
  } catch (DoesNotFit& unfit) {
    unfit.column = position_[key_[unfit.column]];
    throw;
  }
  if (condition.empty()) condition = "true";
  // What is told apart at the source by how a number is spelled is one row here, as often as it was deleted.
  std::string staged =
      numbers
          ? fmt::format("(SELECT min(rowid) AS id, sum(n) AS n{} FROM temp.{} GROUP BY {})", whole, name, group)
          : fmt::format("(SELECT rowid AS id, * FROM temp.{})", name);
  auto found =
      session_
          .query(fmt::format("DELETE FROM {0} WHERE rowid IN (SELECT r FROM (SELECT t.rowid AS r, s.n AS n, "
                             "row_number() OVER (PARTITION BY s.id ORDER BY t.rowid) AS i "
                             "FROM {0} t JOIN {1} s ON {2}) WHERE i <= n)",
                             table_.sql_name(), staged, condition),
                 "deleting whole rows")
          .changed();
  if (found != static_cast<std::int64_t>(wanted)) missing_rows(found, wanted);
}

void TableWriter::stage_lookups() {
  std::map<std::vector<bool>, LookupGroup> groups;
  std::vector<Value> values(position_.size());
  std::vector<bool> unchanged(position_.size());
  for (std::uint32_t i = 0; i < batch_.rows.size(); ++i) {
    const FoldedRow& row = batch_.rows[i];
    if (!row.live || row.lookup == no_index) continue;
    resolve_row(batch_, row, values);
    for (std::size_t c = 0; c < values.size(); ++c) unchanged[c] = values[c].kind == ValueKind::unchanged;
    LookupGroup& group = groups[unchanged];
    group.unchanged = unchanged;
    group.rows.push_back(i);
  }
  std::size_t number = 0;
  for (const auto& [mask, group] : groups) look_up(group, number++);
}

void TableWriter::look_up(const LookupGroup& group, std::size_t number) {
  std::vector<std::pair<std::string, ColumnType>> columns;
  std::vector<ColumnType> types;
  auto add = [&](std::string name, const ColumnType& type) {
    columns.emplace_back(std::move(name), type);
    types.push_back(type);
  };
  for (std::size_t i = 0; i < key_.size(); ++i)
    add(fmt::format("k{}", i), table_.columns[position_[key_[i]]].type);
  std::vector<std::string> selected(table_.columns.size());
  std::vector<std::size_t> sent;  // relation columns that the batch knows
  for (std::size_t i = 0; i < position_.size(); ++i) {
    const MirrorColumn& column = table_.columns[position_[i]];
    if (group.unchanged[i]) {
      selected[position_[i]] = "t." + quote_identifier(column.name);
    } else {
      selected[position_[i]] = fmt::format("s.c{}", i);
      add(fmt::format("c{}", i), column.type);
      sent.push_back(i);
    }
  }
  std::string name = stage("lookup", columns);
  RowAppender appender(session_, "temp", "main", name, types);
  std::vector<Value> values(position_.size());
  try {
    for (std::uint32_t index : group.rows) {
      const FoldedRow& row = batch_.rows[index];
      write_key(appender, batch_.deletes[row.lookup].tuple);
      resolve_row(batch_, row, values);
      for (std::size_t i = 0; i < sent.size(); ++i) appender.write(key_.size() + i, values[sent[i]]);
      appender.end_row();
      appender.flush_if_full();
    }
    appender.finish();
  } catch (DoesNotFit& unfit) {
    unfit.column = unfit.column < key_.size() ? position_[key_[unfit.column]]
                                              : position_[sent[unfit.column - key_.size()]];
    throw;
  }
  std::string list;
  for (std::size_t i = 0; i < selected.size(); ++i)
    list += fmt::format("{}{} AS v{}", i == 0 ? "" : ", ", selected[i], i);
  std::string whole = fmt::format("tailrace_whole_{}", number);
  session_.query(fmt::format("CREATE TEMP TABLE {} AS SELECT {} FROM temp.{} s JOIN {} t ON {}", whole, list,
                             name, table_.sql_name(), key_condition()),
                 "looking up unchanged values");
  looked_up_.push_back(whole);
}

void TableWriter::insert_looked_up() {
  std::int64_t inserted = 0;
  for (const auto& name : looked_up_) {
    inserted += session_
                    .query(fmt::format("INSERT INTO {} SELECT * FROM temp.{}", table_.sql_name(), name),
                           "inserting rows with unchanged values")
                    .changed();
    staged_.push_back(name);
  }
  if (inserted != static_cast<std::int64_t>(batch_.rows_to_look_up))
    missing_rows(inserted, batch_.rows_to_look_up);
}

void TableWriter::missing_rows(std::int64_t found, std::size_t wanted) const {
  throw RowsMissing(
      table_.oid, Retry::needs_operator,
      fmt::format("{} rows of {} were to be changed in the target, but {} are there", wanted, table_.sql_name(),
                  found),
      "Something else changed the target, or the source's replica identity index is damaged. Nothing of this "
      "batch was applied; 'tailrace verify' shows what differs, and copying the table anew mends it: "
      "tailrace run --recopy " +
          table_.schema + "." + table_.name);
}

}  // namespace tailrace::target::duckdb
