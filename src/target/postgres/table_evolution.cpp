#include "target/postgres/table_evolution.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/sql_text.h"
#include "schema/strangers.h"
#include "target/postgres/target_table.h"

namespace tailrace::target::postgres {
namespace {

/// The types of new columns, as the target calls them. What somebody else has made of them there would run as
/// soon as the column is there.
class ColumnTypes {
 public:
  ColumnTypes(pg::Connection& connection, const TableRecord& record, bool trusted)
      : connection_(connection), record_(record), trusted_(trusted) {}

  /// A type of PostgreSQL itself has the same number everywhere; another one is known by its name.
  std::string sql(const schema::Column& column) {
    const auto& wanted = *column.type;
    if (wanted.builtin) {
      auto row = connection_.query(
          fmt::format("select pg_catalog.format_type({}, {})", wanted.oid, column.typmod), purpose(column));
      return row.str(0, 0);
    }
    auto name = quote_literal(quote_qualified(wanted.schema, wanted.name)) + "::pg_catalog.regtype";
    auto row = connection_.query(
        fmt::format("select pg_catalog.format_type({0}, {1}), {0}", name, column.typmod), purpose(column));
    if (strangers().running.contains(row.str(0, 1))) refuse(column, row.str(0, 1), "has code of others in it");
    return row.str(0, 0);
  }

  /// Before values of the type `from` become ones of this column's.
  void check_cast(const schema::Column& column, std::string from) {
    if (column.type->builtin && from.find('.') == std::string::npos) return;
    while (from.ends_with("[]")) from.resize(from.size() - 2);
    const auto* wanted = column.type.get();
    while (wanted->element) wanted = wanted->element.get();
    for (const auto& type : strangers().types) {
      auto name = quote_qualified(type.first, type.second);
      bool is_it = wanted->schema == type.first && wanted->name == type.second;
      if (is_it || from == name || from == type.first + "." + type.second)
        refuse(column, name, "has a cast of others");
    }
  }

 private:
  static std::string purpose(const schema::Column& column) {
    return fmt::format("looking for the type of the new column {}", column.name);
  }

  const schema::Strangers& strangers() {
    if (!strangers_) strangers_ = trusted_ ? schema::Strangers() : schema::read_strangers(connection_);
    return *strangers_;
  }

  [[noreturn]] void refuse(const schema::Column& column, std::string_view type, std::string_view why) {
    throw TableRefused(
        record_.oid,
        fmt::format("column {} of {} cannot be followed: the target's type {} {}, which would run with the "
                    "rights of the target's superuser",
                    column.name, record_.qualified(), type, why),
        schema::what_to_do_about_strangers);
  }

  pg::Connection& connection_;
  const TableRecord& record_;
  bool trusted_;
  std::optional<schema::Strangers> strangers_;
};

/// An alteration of a column; what is ours and uses it gives way.
struct Alteration {
  pg::Connection& connection;
  MadeObjects& made;
  Ties& ties;
  const Records& records;
  const TableRecord& record;
  bool loosened = false;

  void loosen() {
    if (!std::exchange(loosened, true)) ties.loosen(connection, records, record.target_oid);
  }
  void tie() {
    if (loosened) ties.tie(connection, records, record.target_oid);
  }

  void plain(const std::string& what, const std::string& purpose) {
    loosen();
    connection.query(fmt::format("alter table {} {}", record.target_name, what), purpose);
  }

  void run(const std::string& column, const std::string& what, const std::string& purpose) {
    loosen();
    auto sql = fmt::format("savepoint tailrace_alter; alter table {} {}; release tailrace_alter",
                           record.target_name, what);
    try {
      connection.query(sql, purpose);
    } catch (const Error& error) {
      if (error.sqlstate() != "2BP01" && error.sqlstate() != "0A000") throw;
      connection.query("rollback to tailrace_alter", purpose);
      bool goes = error.sqlstate() == "2BP01";
      if (!made.make_way(connection, record.oid, record.target_oid, column, goes)) throw;
      connection.query(sql, purpose);
    }
  }
};

/// Nothing, where a table that has the name was copied at a later time of the source: what is followed here is
/// of before it had it.
std::set<Oid> rename_table(pg::Connection& connection, Records& records, const Claim& claim, Lsn at) {
  auto occupant = occupants(connection, records, {claim}).front();
  if (occupant.whose == Occupant::Whose::ours && occupant.table != claim.table) {
    const auto& other = records.at(occupant.table);
    if (other.copied && other.copied_at > at && other.schema == claim.schema && other.name == claim.name)
      return {};
  }
  return take_names(connection, records, {claim});
}

}  // namespace

std::set<Oid> evolve_table(pg::Connection& connection, Records& records, Oid table, const Evolution& evolution,
                           Lsn at, MadeObjects& made, Ties& ties, bool trusted) {
  auto& record = records.at(table);
  own_table(connection, record);
  ColumnTypes types(connection, record, trusted);
  std::set<Oid> changed{table};
  if (evolution.rename) {
    changed.merge(rename_table(connection, records, {table, record.schema, *evolution.rename}, at));
    record.name = *evolution.rename;
  }
  Alteration alteration{connection, made, ties, records, record};
  auto alter = [&](const std::string& what, const std::string& purpose) { alteration.plain(what, purpose); };
  auto alter_column = [&](const std::string& column, const std::string& what, const std::string& purpose) {
    alteration.run(column, what, purpose);
  };
  auto there = [&](const std::string& column) { return own_table(connection, record).find(column) != nullptr; };
  for (const auto& name : evolution.dropped_columns) {
    if (there(name)) alter_column(name, "drop column " + quote_identifier(name), "dropping column " + name);
  }
  for (const auto& [from, to] : evolution.renamed_columns) {
    if (there(from))
      alter(fmt::format("rename column {} to {}", quote_identifier(from), quote_identifier(to)),
            "renaming a column");
  }
  for (const auto& added : evolution.added_columns) {
    if (there(added.column.name)) continue;
    auto type = types.sql(added.column);
    // The default that fills the rows that are there is not the default of new ones, which come with their
    // values.
    std::string filled = added.value ? fmt::format(" default {}::{}", quote_literal(*added.value), type) : "";
    auto name = quote_identifier(added.column.name);
    alter(fmt::format("add column {} {}{}", name, type, filled), "adding column " + added.column.name);
    if (added.value)
      alter(fmt::format("alter column {} drop default", name), "adding column " + added.column.name);
  }
  for (const auto& column : evolution.retyped_columns) {
    auto now = own_table(connection, record);
    if (const auto* before = now.find(column.name)) types.check_cast(column, before->declared);
    alter_column(column.name,
                 fmt::format("alter column {} type {}", quote_identifier(column.name), types.sql(column)),
                 "changing the type of " + column.name);
  }
  alteration.tie();
  record.columns = evolution.columns;
  record.storage = evolution.storage;
  return changed;
}

void fit_columns(pg::Connection& connection, const Records& records, const schema::Table& table,
                 MadeObjects& made, Ties& ties, bool trusted) {
  const auto& record = records.at(table.oid);
  Alteration alteration{connection, made, ties, records, record};
  ColumnTypes types(connection, record, trusted);
  auto plain = [&](const std::string& what, const std::string& purpose) { alteration.plain(what, purpose); };
  auto now = own_table(connection, record);
  std::map<std::int16_t, const schema::Column*> wanted;
  for (const auto& column : table.columns) wanted.emplace(column.attnum, &column);
  std::map<std::string, std::string> names;  // on the way -> at last: columns may trade names
  for (const auto& old : record.columns) {
    if (now.find(old.name) == nullptr) continue;
    auto at = wanted.find(old.attnum);
    auto quoted = quote_identifier(old.name);
    if (at == wanted.end()) {
      alteration.run(old.name, "drop column " + quoted, "dropping column " + old.name);
    } else if (at->second->name != old.name) {
      auto between = fmt::format("tailrace_column_{}", old.attnum);
      plain(fmt::format("rename column {} to {}", quoted, between), "renaming a column");
      names.emplace(between, at->second->name);
    }
  }
  now = own_table(connection, record);
  for (const auto& [between, name] : names) {
    if (now.find(name) == nullptr)
      plain(fmt::format("rename column {} to {}", between, quote_identifier(name)), "renaming a column");
  }
  now = own_table(connection, record);
  for (const auto& column : table.columns) {
    auto quoted = quote_identifier(column.name);
    auto type = types.sql(column);
    const auto* there = now.find(column.name);
    if (there == nullptr) {
      plain(fmt::format("add column {} {}", quoted, type), "adding column " + column.name);
      continue;
    }
    auto old = std::ranges::find(record.columns, column.attnum, &RecordedColumn::attnum);
    bool changed = old != record.columns.end() &&
                   (old->type_oid != column.type->oid || old->typmod != column.typmod) &&
                   there->declared != type;
    if (!changed && fits(column, *there)) continue;
    auto retyped = fmt::format("alter column {0} type {1} using null::{1}", quoted, type);
    try {
      alteration.run(column.name, retyped, "changing the type of " + column.name);
    } catch (const Error& error) {
      // Its default cannot be of the new type.
      if (error.sqlstate() != "42804") throw;
      connection.query("rollback to tailrace_alter", "changing the type of " + column.name);
      alteration.run(column.name, fmt::format("alter column {} drop default, {}", quoted, retyped),
                     "changing the type of " + column.name);
    }
  }
  alteration.tie();
}

}  // namespace tailrace::target::postgres
