#include <algorithm>

#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

struct ColumnDraft {
  std::string name;
  std::string quoted;
  std::string type;           ///< with its collation
  std::string default_value;  ///< or the generation expression
  char generated = '\0';      ///< s stored, v virtual
  std::string identity;       ///< GENERATED ... AS IDENTITY (...)
  std::string not_null;       ///< [CONSTRAINT name] NOT NULL
  std::string not_null_name;  ///< from 18 on
  bool not_null_local = true;
  bool local = true;
  std::vector<std::string> settings;
  std::string storage;
  bool usual_storage = true;  ///< that of its type
  std::string compression;
};

struct TableDraft {
  Oid oid = 0;
  std::string name;  ///< quoted
  std::string what;
  char kind = 'r';
  bool unlogged = false;
  std::string partition_key;
  std::string partition_bound;  ///< empty when its partitioned table does not come along
  std::string of_type;
  std::string options;
  std::string access_method;
  bool there = false;        ///< at the target already, with the same columns: it may be a parent
  std::vector<Oid> parents;  ///< that come along, or are there
  std::vector<ColumnDraft> columns;
  std::vector<std::string> checks;
  std::vector<Statement> checks_apart;  ///< that call a function over the table's own row type

  /// Made by INHERITS: its inherited columns are not of its own. A table whose columns are all its own too is
  /// made alone and told of its parents then, as a partition is, which keeps the order of the columns.
  bool inherits() const {
    return partition_bound.empty() && !parents.empty() &&
           std::any_of(columns.begin(), columns.end(), [](const auto& column) { return !column.local; });
  }
};

using Tables = std::map<Oid, TableDraft>;

std::vector<Oid> oids(const Tables& tables) {
  std::vector<Oid> out;
  for (const auto& [oid, _] : tables) out.push_back(oid);
  return out;
}

/// Of the tables that the target has, the parents of those to be made. One that has other columns now than the
/// target's is none: what is made would not have the columns of its own that it inherits here.
void add_parents_there(StructureDraft& draft, Tables& tables) {
  std::map<Oid, const FollowedTable*> known;
  std::vector<Oid> candidates;
  for (const auto& table : draft.options.followed) {
    if (table.name.empty()) continue;
    known.emplace(table.oid, &table);
    candidates.push_back(table.oid);
  }
  if (candidates.empty()) return;
  auto rows = draft.source.query(
      "select p.oid, n.nspname || '.' || p.relname, a.attnum, a.attname, a.atttypid, a.atttypmod, "
      "a.attgenerated <> '' from pg_catalog.pg_class p join pg_catalog.pg_namespace n on n.oid = "
      "p.relnamespace left join pg_catalog.pg_attribute a on "
      "a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped where p.relkind = 'r' and p.oid in (select "
      "i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = any($1::pg_catalog.oid[]) and i.inhparent "
      "= "
      "any($2::pg_catalog.oid[]))",
      {as_array(draft.scope.tables), as_array(candidates)}, "reading the parents that the target has");
  // Generated ones are known where they are published.
  std::map<Oid, std::set<FollowedTable::Column>> all;
  std::map<Oid, std::set<FollowedTable::Column>> plain;
  for (int row = 0; row < rows.rows(); ++row) {
    auto& table = tables[rows.oid(row, 0)];
    table.oid = rows.oid(row, 0);
    table.name = known.at(table.oid)->name;
    table.what = "table " + rows.str(row, 1);
    table.there = true;
    auto& all_of_it = all[table.oid];
    auto& plain_of_it = plain[table.oid];
    if (rows.is_null(row, 2)) continue;
    FollowedTable::Column column{static_cast<std::int16_t>(rows.i64(row, 2)), rows.str(row, 3),
                                 rows.oid(row, 4), static_cast<std::int32_t>(rows.i64(row, 5))};
    if (!rows.flag(row, 6)) plain_of_it.insert(column);
    all_of_it.insert(std::move(column));
  }
  for (const auto& [oid, all_of_it] : all) {
    const auto& there = known.at(oid)->columns;
    if (there != all_of_it && there != plain.at(oid)) tables.erase(oid);
  }
}

Tables read_relations(StructureDraft& draft) {
  auto rows = draft.source.query(
      fmt::format("select c.oid, n.nspname, c.relname, c.relkind, c.relpersistence = 'u', "
                  "case when c.relkind = 'p' then pg_catalog.pg_get_partkeydef(c.oid) end, "
                  "pg_catalog.pg_get_expr(c.relpartbound, c.oid), "
                  "case when c.reloftype <> 0 then pg_catalog.format_type(c.reloftype, null) end, "
                  "pg_catalog.concat_ws(', ', {}, {}), nullif(am.amname, 'heap') "
                  "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                  "left join pg_catalog.pg_class tc on tc.oid = c.reltoastrelid left join pg_catalog.pg_am am "
                  "on am.oid = c.relam "
                  "where c.oid = any($1::pg_catalog.oid[])",
                  storage_options("c.reloptions", "", draft.to()),
                  storage_options("tc.reloptions", "toast.", draft.to())),
      {as_array(draft.scope.tables)}, "reading the tables");
  Tables tables;
  for (int row = 0; row < rows.rows(); ++row) {
    TableDraft table;
    table.oid = rows.oid(row, 0);
    table.name = quote_qualified(rows.get(row, 1), rows.get(row, 2));
    table.what = "table " + rows.str(row, 1) + "." + rows.str(row, 2);
    table.kind = rows.get(row, 3)[0];
    table.unlogged = rows.flag(row, 4);
    table.partition_key = rows.str(row, 5);
    table.partition_bound = rows.str(row, 6);
    table.of_type = rows.str(row, 7);
    table.options = rows.str(row, 8);
    table.access_method = rows.str(row, 9);
    tables.emplace(table.oid, std::move(table));
  }
  add_parents_there(draft, tables);
  rows = draft.source.query(
      "select inhrelid, inhparent from pg_catalog.pg_inherits where inhrelid = any($1::pg_catalog.oid[]) and "
      "inhparent = any($2::pg_catalog.oid[]) order by inhrelid, inhseqno",
      {as_array(draft.scope.tables), as_array(oids(tables))}, "reading the inheritance of the tables");
  for (int row = 0; row < rows.rows(); ++row) tables.at(rows.oid(row, 0)).parents.push_back(rows.oid(row, 1));
  for (auto& [oid, table] : tables) {
    if (table.parents.empty()) table.partition_bound.clear();
  }
  return tables;
}

/// The settings of the row's five columns from `first` on.
void read_settings(const pg::Result& rows, int row, int first, ColumnDraft& column) {
  column.storage = rows.str(row, first);
  column.usual_storage = rows.flag(row, first + 1);
  if (!rows.is_null(row, first + 2)) column.settings.push_back("SET STATISTICS " + rows.str(row, first + 2));
  if (!rows.is_null(row, first + 3)) column.settings.push_back("SET (" + rows.str(row, first + 3) + ")");
  column.compression = rows.str(row, first + 4);
}

void read_columns(StructureDraft& draft, Tables& tables) {
  auto rows = draft.source.query(
      fmt::format("select a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) || "
                  "pg_catalog.repeat('[]', a.attndims - 1) || "
                  "case when a.attcollation <> t.typcollation then ' COLLATE ' || "
                  "a.attcollation::pg_catalog.regcollation::pg_catalog.text "
                  "else '' end, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attgenerated, "
                  "(select 'GENERATED ' || case a.attidentity when 'a' then 'ALWAYS' else 'BY DEFAULT' end || "
                  "' AS IDENTITY (SEQUENCE NAME ' "
                  "|| s.seqrelid::pg_catalog.regclass::pg_catalog.text || {0} || ')' "
                  "from pg_catalog.pg_depend sd join pg_catalog.pg_sequence s on s.seqrelid = sd.objid "
                  "where sd.classid = 1259 and sd.refclassid = 1259 and sd.refobjid = a.attrelid and "
                  "sd.refobjsubid = a.attnum and sd.deptype = 'i' and a.attidentity <> ''), "
                  "a.attnotnull, a.attislocal, "
                  "case a.attstorage when 'p' then 'PLAIN' when 'e' then 'EXTERNAL' when 'm' then 'MAIN' else "
                  "'EXTENDED' end, a.attstorage = t.typstorage, "
                  "case when a.attstattarget >= 0 then a.attstattarget end, {1}, {2}, {3} "
                  "from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid "
                  "left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum {4} "
                  "where a.attrelid = any($1::pg_catalog.oid[]) and a.attnum > 0 "
                  "and not a.attisdropped order by "
                  "a.attrelid, a.attnum",
                  sequence_options,
                  storage_options("(select pg_catalog.array_agg(ao) from pg_catalog.unnest(a.attoptions) ao "
                                  "where ao like 'n\\_distinct%')",
                                  "", draft.to()),
                  draft.both_since(140000)
                      ? "case a.attcompression when 'l' then 'lz4' when 'p' then 'pglz' end"
                      : "null",
                  draft.from() >= 180000
                      ? "n.conname, n.connoinherit, coalesce(n.convalidated, true), n.conislocal, n.oid, d.oid"
                      : "null, false, true, true, 0, d.oid",
                  draft.from() >= 180000
                      ? "left join pg_catalog.pg_constraint n on n.conrelid = a.attrelid and n.contype = 'n' "
                        "and n.conkey = array[a.attnum]"
                      : ""),
      {as_array(oids(tables))}, "reading the columns of the tables");
  for (int row = 0; row < rows.rows(); ++row) {
    auto& table = tables.at(rows.oid(row, 0));
    ColumnDraft column;
    column.name = rows.str(row, 1);
    column.quoted = quote_identifier(column.name);
    column.type = rows.str(row, 2);
    column.default_value = rows.str(row, 3);
    if (!rows.get(row, 4).empty()) column.generated = rows.get(row, 4)[0];
    column.identity = rows.str(row, 5);
    column.local = rows.flag(row, 7);
    read_settings(rows, row, 8, column);
    std::string what = "column " + column.name + " of " + table.what;
    bool older = draft.to() < 180000 && !table.there;
    if (column.generated == 'v' && older)
      refuse(what, "a generated value that is not stored (VIRTUAL)", 18, draft.to());
    column.not_null_name = rows.str(row, 13);
    bool no_inherit = rows.flag(row, 14);
    bool validated = rows.flag(row, 15);
    column.not_null_local = rows.flag(row, 16);
    if (older && !validated) refuse(what, "a NOT NULL constraint that is NOT VALID", 18, draft.to());
    if (older && no_inherit) refuse(what, "a NOT NULL constraint with NO INHERIT", 18, draft.to());
    if (rows.flag(row, 6) && validated) {
      if (!column.not_null_name.empty() && draft.to() >= 180000) {
        column.not_null = "CONSTRAINT " + quote_identifier(column.not_null_name) + " ";
        if (!table.there) draft.made.insert({catalog_oid::constraint, rows.oid(row, 17)});
      }
      column.not_null += no_inherit ? "NOT NULL NO INHERIT" : "NOT NULL";
    }
    if (draft.must_not_run(catalog_oid::attrdef, rows.oid(row, 18))) {
      // Without its expression a generated column has no values to be not null.
      if (column.generated != '\0') column.not_null.clear();
      column.generated = '\0';
      column.default_value.clear();
    }
    table.columns.push_back(std::move(column));
  }
}

const ColumnDraft* inherited_column(const TableDraft& table, const ColumnDraft& column, const Tables& tables) {
  for (auto parent : table.parents) {
    for (const auto& other : tables.at(parent).columns) {
      if (other.name == column.name) return &other;
    }
  }
  return nullptr;
}

/// The column in the parents that are there.
std::vector<const ColumnDraft*> columns_there(const TableDraft& table, std::string_view name,
                                              const Tables& tables) {
  std::vector<const ColumnDraft*> out;
  for (auto parent : table.parents) {
    const auto& other = tables.at(parent);
    if (!other.there) continue;
    for (const auto& column : other.columns) {
      if (column.name == name) out.push_back(&column);
    }
  }
  return out;
}

/// A column takes its storage and its compression from parents that have theirs already. Where these contradict
/// each other, the server makes no table.
bool contradict(const std::vector<const ColumnDraft*>& columns) {
  std::set<std::string> storages;
  std::set<std::string> compressions;
  for (const auto* column : columns) {
    storages.insert(column->storage);
    if (!column->compression.empty()) compressions.insert(column->compression);
  }
  return storages.size() > 1 || compressions.size() > 1;
}

void leave_contradicting_parents(Tables& tables) {
  for (auto& [oid, table] : tables) {
    bool any = std::ranges::any_of(table.columns, [&](const auto& column) {
      return contradict(columns_there(table, column.name, tables));
    });
    if (any) std::erase_if(table.parents, [&](Oid parent) { return tables.at(parent).there; });
  }
}

/// What is inherited from a table that does not come along becomes the table's own.
void adopt_columns(Tables& tables) {
  for (auto& [oid, table] : tables) {
    for (auto& column : table.columns) {
      if (inherited_column(table, column, tables) == nullptr) column.local = true;
    }
  }
}

/// Those that hold for every row. The others are added after the data, see read_late_constraints().
void read_checks(StructureDraft& draft, Tables& tables) {
  auto rows = draft.source.query(
      "select c.conrelid, c.oid, c.conname, pg_catalog.pg_get_constraintdef(c.oid), c.conislocal, "
      "exists (select from pg_catalog.pg_depend d join pg_catalog.pg_depend e on e.classid = 1255 and "
      "e.objid = d.refobjid and e.refclassid = 1247 where d.classid = 2606 and d.objid = c.oid and "
      "d.refclassid = 1255 and e.refobjid = r.reltype) "
      "from pg_catalog.pg_constraint c join pg_catalog.pg_class r on r.oid = c.conrelid "
      "where c.conrelid = any($1::pg_catalog.oid[]) and c.contype = 'c' and c.convalidated "
      "order by c.conrelid, c.conname",
      {as_array(draft.scope.tables)}, "reading the check constraints of the tables");
  for (int row = 0; row < rows.rows(); ++row) {
    auto& table = tables.at(rows.oid(row, 0));
    if (draft.must_not_run(catalog_oid::constraint, rows.oid(row, 1))) continue;
    draft.made.insert({catalog_oid::constraint, rows.oid(row, 1)});
    if (table.inherits() && !rows.flag(row, 4)) continue;
    std::string definition =
        fmt::format("CONSTRAINT {} {}", quote_identifier(rows.get(row, 2)), rows.get(row, 3));
    if (!rows.flag(row, 5)) {
      table.checks.push_back(definition);
    } else if (rows.flag(row, 4)) {
      table.checks_apart.push_back({"constraint " + rows.str(row, 2) + " of " + table.what,
                                    fmt::format("ALTER TABLE {} ADD {}", table.name, definition)});
    }
  }
}

std::string column_clauses(const ColumnDraft& column) {
  std::string out;
  if (column.generated != '\0') {
    out += fmt::format(" GENERATED ALWAYS AS ({}) {}", column.default_value,
                       column.generated == 'v' ? "VIRTUAL" : "STORED");
  } else if (!column.identity.empty()) {
    out += " " + column.identity;
  } else if (!column.default_value.empty()) {
    out += " DEFAULT " + column.default_value;
  }
  if (!column.not_null.empty()) out += " " + column.not_null;
  return out;
}

std::string table_elements(const StructureDraft& draft, const TableDraft& table, const Tables& tables) {
  std::vector<std::string> elements;
  for (const auto& column : table.columns) {
    if (!table.of_type.empty()) {
      if (auto clauses = column_clauses(column); !clauses.empty())
        elements.push_back(column.quoted + " WITH OPTIONS" + clauses);
    } else if (!table.inherits() || column.local) {
      auto declared = column;
      // Before 16 a column that merges with an inherited one may not repeat how it is generated.
      bool merges = inherited_column(table, column, tables) != nullptr;
      if (table.inherits() && merges && column.generated != '\0' && draft.to() < 160000) {
        declared.generated = '\0';
        declared.default_value.clear();
      }
      elements.push_back(column.quoted + " " + column.type + column_clauses(declared));
    } else if (!column.not_null.empty() && !column.not_null_name.empty() && column.not_null_local &&
               draft.to() >= 180000) {
      std::string no_inherit = column.not_null.ends_with("NO INHERIT") ? " NO INHERIT" : "";
      elements.push_back(fmt::format("CONSTRAINT {} NOT NULL {}{}", quote_identifier(column.not_null_name),
                                     column.quoted, no_inherit));
    }
  }
  elements.insert(elements.end(), table.checks.begin(), table.checks.end());
  return fmt::format("{}", fmt::join(elements, ", "));
}

std::string create_table(const StructureDraft& draft, const TableDraft& table, const Tables& tables) {
  std::string elements = table_elements(draft, table, tables);
  std::string sql = fmt::format("CREATE {}TABLE {}", table.unlogged ? "UNLOGGED " : "", table.name);
  if (table.of_type.empty()) {
    sql += " (" + elements + ")";
  } else {
    sql += " OF " + table.of_type + (elements.empty() ? "" : " (" + elements + ")");
  }
  if (table.inherits()) {
    std::vector<std::string> parents;
    for (auto parent : table.parents) parents.push_back(tables.at(parent).name);
    sql += fmt::format(" INHERITS ({})", fmt::join(parents, ", "));
  }
  if (!table.partition_key.empty()) sql += " PARTITION BY " + table.partition_key;
  if (!table.access_method.empty()) sql += " USING " + quote_identifier(table.access_method);
  if (!table.options.empty()) sql += " WITH (" + table.options + ")";
  return sql;
}

/// What a column that is only inherited has other than its parent's.
void add_inherited_differences(StructureDraft& draft, const TableDraft& table, const Tables& tables) {
  for (const auto& column : table.columns) {
    if (column.local) continue;
    const auto* parent = inherited_column(table, column, tables);
    if (parent == nullptr) continue;
    auto alter = [&](const std::string& action) {
      draft.structure.before_data.push_back(
          {"column " + column.name + " of " + table.what,
           fmt::format("ALTER TABLE ONLY {} ALTER COLUMN {} {}", table.name, column.quoted, action)});
    };
    if (column.generated == '\0' && parent->generated == '\0' && column.default_value != parent->default_value)
      alter(column.default_value.empty() ? "DROP DEFAULT" : "SET DEFAULT " + column.default_value);
    bool named = !column.not_null_name.empty() && draft.to() >= 180000;
    if (!named && !column.not_null.empty() && parent->not_null.empty()) alter("SET NOT NULL");
  }
}

Oid root_of(const TableDraft& table, const Tables& tables) {
  const auto* at = &table;
  while (!at->partition_bound.empty()) at = &tables.at(at->parents.front());
  return at->oid;
}

/// Whose the statements from there on are.
void tell_table(StructureDraft& draft, std::size_t from, const TableDraft& table, const Tables& tables) {
  auto& list = draft.structure.before_data;
  auto refused = draft.refused.find(table.oid);
  for (; from < list.size(); ++from) {
    list[from].table = root_of(table, tables);
    if (!table.partition_bound.empty()) list[from].partition = table.name;
    if (refused != draft.refused.end()) list[from].refused = refused->second;
  }
}

void add_ties(StructureDraft& draft, const TableDraft& table, const Tables& tables) {
  auto& list = draft.structure.before_data;
  if (!table.partition_bound.empty()) {
    const auto& root = tables.at(table.parents.front());
    list.push_back({"partition of " + root.what + ", " + table.what,
                    fmt::format("ALTER TABLE ONLY {} ATTACH PARTITION {} {}", root.name, table.name,
                                table.partition_bound)});
  } else if (table.inherits()) {
    add_inherited_differences(draft, table, tables);
  } else {
    for (auto parent : table.parents) {
      list.push_back({"parent of " + table.what,
                      fmt::format("ALTER TABLE {} INHERIT {}", table.name, tables.at(parent).name)});
    }
  }
}

void add_settings(StructureDraft& draft, const TableDraft& table, const Tables& tables) {
  auto& list = draft.structure.before_data;
  for (const auto& column : table.columns) {
    auto alter = [&](const std::string& action) {
      list.push_back({"settings of column " + column.name + " of " + table.what,
                      fmt::format("ALTER TABLE ONLY {} ALTER COLUMN {} {}", table.name, column.quoted, action),
                      {},
                      /*optional=*/true});
    };
    auto there = columns_there(table, column.name, tables);
    if (!column.usual_storage ||
        std::ranges::any_of(there, [&](const auto* other) { return other->storage != column.storage; }))
      alter("SET STORAGE " + column.storage);
    for (const auto& setting : column.settings) alter(setting);
    // A server may be built without lz4.
    if (!column.compression.empty()) {
      alter("SET COMPRESSION " + column.compression);
    } else if (std::ranges::any_of(there, [](const auto* other) { return !other->compression.empty(); })) {
      alter("SET COMPRESSION default");
    }
  }
}

}  // namespace

void read_tables(StructureDraft& draft) {
  Tables tables = read_relations(draft);
  read_columns(draft, tables);
  leave_contradicting_parents(tables);
  adopt_columns(tables);
  read_checks(draft, tables);
  auto& list = draft.structure.before_data;
  for (const auto& [oid, table] : tables) {
    if (table.there) continue;
    draft.made.insert({catalog_oid::relation, oid});
    auto from = list.size();
    list.push_back({table.what, create_table(draft, table, tables) + draft.keep_closed('r', table.name)});
    tell_table(draft, from, table, tables);
  }
  for (const auto& [oid, table] : tables) {
    if (table.there) continue;
    auto from = list.size();
    add_ties(draft, table, tables);
    add_settings(draft, table, tables);
    tell_table(draft, from, table, tables);
  }
  // They go down to the partitions and children, which must be tied by now.
  for (const auto& [oid, table] : tables) {
    auto from = list.size();
    list.insert(list.end(), table.checks_apart.begin(), table.checks_apart.end());
    tell_table(draft, from, table, tables);
  }
}

}  // namespace tailrace::schema
