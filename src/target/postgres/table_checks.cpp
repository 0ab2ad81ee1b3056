#include "target/postgres/table_checks.h"

#include <ranges>

#include "base/sql_text.h"
#include "schema/written_code.h"
#include "target/postgres/books_format.h"
#include "target/postgres/table_plan.h"
#include "target/postgres/target_user.h"

namespace tailrace::target::postgres {

std::shared_ptr<const Relation> relation_of(const schema::Table& table) {
  auto out = std::make_shared<Relation>();
  out->oid = table.oid;
  out->schema = table.schema;
  out->name = table.name;
  out->identity = table.identity;
  for (const auto& column : table.columns)
    out->columns.push_back({column.name, column.type->oid, column.typmod, column.is_key});
  return out;
}

TableRecord record_of(const schema::Table& table, const TargetTable& there) {
  TableRecord record;
  record.oid = table.oid;
  record.schema = table.schema;
  record.name = table.name;
  record.target_name = there.sql_name();
  record.target_oid = there.oid;
  record.target_schema = there.schema;
  record.target_table = there.name;
  record.filenode = table.filenode;
  record.membership = table.membership;
  record.storage = table.storage.str();
  for (const auto& column : table.columns) {
    record.columns.push_back(
        {column.attnum, column.name, column.type->oid, column.typmod, column.is_key, column.version});
  }
  return record;
}

std::vector<TableName> names_of(const std::vector<schema::Table>& tables) {
  std::vector<TableName> out;
  for (const auto& table : tables) out.emplace_back(table.schema, table.name);
  return out;
}

void check_columns(const schema::Table& table, const TargetTable& there) {
  TablePlan judged(table.oid, relation_of(table), there);
  for (const auto& column : table.columns) check_fits(table, column, *there.find(column.name));
}

void refuse_code_of_others(pg::Connection& connection, Oid table, const TargetTable& there) {
  auto code = schema::code_of_others(connection, {there.oid});
  if (code.empty()) return;
  throw TableRefused(
      table,
      fmt::format("the target's table {} has code of others, which would run with the rights of the target's "
                  "superuser: {}",
                  there.sql_name(), code),
      "Connect to the target as a role that is no superuser; or set schema.trust_source: on if whoever owns "
      "this there is trusted with a superuser's rights; or drop it there");
}

std::optional<TableRefused> refusal_of_unlogged(Oid table, const TargetTable& there) {
  if (there.unlogged.empty()) return std::nullopt;
  if (there.kind != 'p') {
    return TableRefused(
        table,
        fmt::format("the target's table {} is unlogged: a crash of the server there would empty it, "
                    "and what it held would not come again",
                    there.sql_name()),
        fmt::format("ALTER TABLE {} SET LOGGED;  -- at the target", there.sql_name()));
  }
  constexpr std::size_t named = 3;
  std::string names;
  for (const auto& partition : there.unlogged | std::views::take(named))
    names += (names.empty() ? "" : ", ") + partition;
  if (there.unlogged.size() > named) names += fmt::format(" and {} more", there.unlogged.size() - named);
  std::string remedy;
  for (const auto& partition : there.unlogged) remedy += fmt::format("ALTER TABLE {} SET LOGGED; ", partition);
  return TableRefused(
      table,
      fmt::format("the target's table {} has unlogged partitions ({}): a crash of the server there "
                  "would empty them, and what they held would not come again",
                  there.sql_name(), names),
      remedy + " -- at the target");
}

std::vector<TableRefused> find_unlogged(pg::Connection& connection, const Records& records) {
  // Few tables are, so that is asked first.
  auto rows = connection.query_prepared(
      "select distinct coalesce(pg_catalog.pg_partition_root(oid)::pg_catalog.oid, oid) from "
      "pg_catalog.pg_class "
      "where relkind = 'r' and relpersistence = 'u'",
      {}, "looking for unlogged tables of the target");
  std::set<Oid> unlogged;
  for (int row = 0; row < rows.rows(); ++row) unlogged.insert(rows.oid(row, 0));
  std::vector<TableRefused> out;
  for (const auto& [table, record] : records) {
    if (!record.copied || record.is_held() || !unlogged.contains(record.target_oid)) continue;
    auto there = load_table(connection, record.target_oid);
    if (!there) continue;
    if (auto refusal = refusal_of_unlogged(table, *there)) out.push_back(std::move(*refusal));
  }
  return out;
}

bool is_somebodys(pg::Connection& connection, Oid relation) {
  auto rows = connection.query_prepared(
      "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_roles r on r.oid = c.relowner "
      "where not r.rolsuper and (c.oid = $1::pg_catalog.oid or c.oid in (select relid from "
      "pg_catalog.pg_partition_tree($1::pg_catalog.oid))))",
      {std::to_string(relation)}, "looking at the owner of a table of the target");
  return rows.flag(0, 0);
}

namespace {

/// Those whose policies bind their owner too.
std::set<Oid> with_forced_policies(pg::Connection& connection, const std::map<TableName, TargetTable>& tables) {
  std::string oids = "{";
  for (const auto& [name, table] : tables) oids += fmt::format("{}{}", oids.size() > 1 ? "," : "", table.oid);
  auto rows = connection.query(
      "select oid from pg_catalog.pg_class where oid = any($1::pg_catalog.oid[]) and relrowsecurity "
      "and relforcerowsecurity",
      {oids + "}"}, "looking at the target's policies");
  std::set<Oid> out;
  for (int row = 0; row < rows.rows(); ++row) out.insert(rows.oid(row, 0));
  return out;
}

class Checks {
 public:
  Checks(pg::Connection& connection, const std::vector<HiddenTables::Root>& hidden, const Records& records,
         const PostgresOptions& options)
      : connection_(connection), hidden_(hidden), records_(records), options_(options) {}

  Checked run(const std::vector<schema::Table>& tables) {
    if (tables.empty()) return {};
    std::vector<Claim> claims;
    for (const auto& table : tables) claims.push_back({table.oid, table.schema, table.name});
    auto there = occupants(connection_, records_, claims);
    auto by_name = load_tables(connection_, names_of(tables));
    auto forced = with_forced_policies(connection_, by_name);
    look_for_code(tables, by_name);
    auto unfinished = find_unfinished(tables);
    for (std::size_t i = 0; i < tables.size(); ++i) {
      try {
        if (unfinished.contains(tables[i].oid)) {
          if (options_.keep_rows) throw begun(tables[i]);
          // It is made anew.
          claim_name(claims[i], there[i], nullptr);
          continue;
        }
        auto found = by_name.find({tables[i].schema, tables[i].name});
        for_table(tables[i].oid, [&] {
          if (found != by_name.end() && forced.contains(found->second.oid))
            check_row_security(connection_, {found->second.sql_name()});
          check(tables[i], claims[i], there[i], found == by_name.end() ? nullptr : &found->second);
        });
      } catch (const TableRefused& refused) {
        out_.refused.push_back(refused);
      }
    }
    return std::move(out_);
  }

 private:
  /// Those of which something is out of sight, whatever they are called now.
  std::set<Oid> find_unfinished(const std::vector<schema::Table>& tables) {
    std::map<Oid, Oid> noted;
    for (const auto& [oid, record] : records_) {
      if (record.target_oid != 0) noted.emplace(record.target_oid, oid);
    }
    std::set<Oid> out;
    std::set<TableName> of_nobody;
    for (const auto& root : hidden_) {
      if (auto record = noted.find(root.relation); record != noted.end()) {
        out.insert(record->second);
      } else {
        of_nobody.insert(root.name);
      }
    }
    for (const auto& table : tables) {
      if (of_nobody.contains({table.schema, table.name})) out.insert(table.oid);
    }
    return out;
  }

  static TableRefused begun(const schema::Table& table) {
    return {
        table.oid,
        fmt::format("a copy of {} was begun at the target and never finished, and what there is of it would be "
                    "taken for all of it",
                    table.qualified()),
        "Run with snapshot: {enabled: on}, which copies it"};
  }

  /// One look at all of them tells whether any has to be looked at.
  void look_for_code(const std::vector<schema::Table>& tables,
                     const std::map<TableName, TargetTable>& by_name) {
    if (options_.trust_source) return;
    std::vector<Oid> there;
    for (const auto& [name, table] : by_name) there.push_back(table.oid);
    for (const auto& table : tables) {
      if (has_relation(records_, table.oid)) there.push_back(records_.at(table.oid).target_oid);
    }
    any_code_ = !schema::code_of_others(connection_, there).empty();
  }

  void check(const schema::Table& table, const Claim& claim, const Occupant& occupant, TargetTable* by_name) {
    auto record = records_.find(table.oid);
    const auto* known = record == records_.end() ? nullptr : &record->second;
    auto own = known != nullptr ? find_own_table(connection_, *known) : std::nullopt;
    if (own) {
      if (any_code_) refuse_code_of_others(connection_, table.oid, *own);
      if (auto refusal = refusal_of_unlogged(table.oid, *own)) throw TableRefused(*refusal);
      if (occupant.whose != Occupant::Whose::ours || occupant.table != table.oid)
        claim_name(claim, occupant, known);
      // Else its columns are altered once it is empty.
      if (options_.structure == StructureMode::expect || options_.keep_rows) check_columns(table, *own);
      out_.found.emplace(table.oid, std::move(*own));
      return;
    }
    bool adopted = occupant.whose == Occupant::Whose::somebodys && by_name != nullptr && by_name->is_table();
    if (!adopted) {
      if (options_.structure == StructureMode::expect) {
        throw TableRefused(
            table.oid,
            fmt::format("the target has no table {}, and schema: expect makes none", table.qualified()),
            "Create it there, or use schema: copy");
      }
      return claim_name(claim, occupant, nullptr);
    }
    // Before anything asks about its rows.
    if (any_code_) refuse_code_of_others(connection_, table.oid, *by_name);
    if (auto refusal = refusal_of_unlogged(table.oid, *by_name)) throw TableRefused(*refusal);
    check_columns(table, *by_name);
    empty_or_kept(table, *by_name);
    out_.found.emplace(table.oid, std::move(*by_name));
  }

  void claim_name(const Claim& claim, const Occupant& occupant, const TableRecord* known) {
    if (occupant.whose == Occupant::Whose::somebodys) throw taken(claim, occupant, known);
    if (occupant.whose == Occupant::Whose::part) out_.left.push_back(occupant.table);
    out_.claims.push_back(claim);
  }

  void empty_or_kept(const schema::Table& table, const TargetTable& there) {
    if (options_.keep_rows) return;
    auto rows = connection_.query(
        fmt::format("select exists (select from {} {})", there.kind == 'p' ? "" : "only", there.sql_name()),
        "looking at " + table.qualified());
    if (!rows.flag(0, 0)) return;
    if (auto others = other_mirrors_into(connection_, options_.subscription, there.oid); !others.empty())
      throw TableRefused(table.oid, rows_of_others(table.qualified(), others), remedy_of_others);
    throw TableRefused(
        table.oid,
        fmt::format("the target's table {} holds rows already, and they are not tailrace's", table.qualified()),
        fmt::format("TRUNCATE {};  -- at the target; or leave the table out: a copy would double its rows",
                    there.sql_name()));
  }

  pg::Connection& connection_;
  const std::vector<HiddenTables::Root>& hidden_;
  const Records& records_;
  const PostgresOptions& options_;
  bool any_code_ = false;
  Checked out_;
};

}  // namespace

Checked check_can_take(pg::Connection& connection, const std::vector<HiddenTables::Root>& hidden,
                       const std::vector<schema::Table>& tables, const Records& records,
                       const PostgresOptions& options) {
  return Checks(connection, hidden, records, options).run(tables);
}

void check_rows_there(const Checked& checked, const std::vector<schema::Table>& tables,
                      const std::set<Oid>& coming) {
  for (const auto& table : tables) {
    if (checked.found.contains(table.oid) || coming.contains(table.oid)) continue;
    throw Error(
        Retry::needs_operator,
        fmt::format("the target has no table {}, and its rows of before the stream begins would never come",
                    table.qualified()),
        "Nothing was written. Bring it there too, with its rows (without any, if it had none then), or "
        "leave it out (tables:)");
  }
}

}  // namespace tailrace::target::postgres
