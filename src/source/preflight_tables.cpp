#include "source/preflight_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/printable.h"
#include "base/sql_text.h"
#include "source/replica_identity.h"

namespace tailrace::source {
namespace {

/// One statement a line; `{}` in `statement` becomes the name. All of them: it is to be pasted.
std::string for_each_table(const std::vector<std::string>& names, std::string_view statement) {
  std::string out;
  for (const std::string& name : names)
    out += (out.empty() ? "" : "\n") + fmt::format(fmt::runtime(statement), name);
  return out;
}

class TableChecks {
 public:
  TableChecks(pg::Connection& connection, const PreflightRequest& request,
              const std::optional<PublicationInfo>& existing)
      : connection_(connection), request_(request), existing_(existing) {}

  std::vector<CheckResult> all() {
    auto catalog = read_catalog_tables(connection_);
    try {
      choose(catalog);
    } catch (const Error& error) {
      add(Verdict::fail, "tables", error.message(), error.remedy());
      return std::move(out_);
    }
    patterns(catalog);
    size();
    skipped(catalog);
    options();
    ownership();
    if (request_.snapshot) readable();
    row_security();
    replica_identity();
    return std::move(out_);
  }

 private:
  void add(Verdict verdict, std::string title, std::string detail, std::string remedy = {}) {
    out_.push_back({verdict, std::move(title), std::move(detail), std::move(remedy)});
  }

  /// With publication.create off, the publication decides which tables there are.
  void choose(const std::vector<CatalogTable>& catalog) {
    if (!request_.publication.create && existing_) {
      for (const PublishedTable& table : existing_->tables)
        if (request_.publication.tables.selects(table.schema, table.name)) oids_.push_back(table.oid);
      return;
    }
    selected_ = select_tables(catalog, request_.publication);
    for (const SelectedTable& selected : selected_) oids_.push_back(selected.table.oid);
  }

  void patterns(const std::vector<CatalogTable>& catalog) {
    auto idle = idle_patterns(catalog, request_.publication);
    if (!idle.empty())
      add(Verdict::warn, "patterns of tables", fmt::format("no table matches {}", fmt::join(idle, ", ")),
          "-- correct `tables` in the configuration, or --table; names are case-sensitive");
  }

  /// Qualified, quoted names of the selected tables for which `condition` holds; `c` is their pg_class row.
  std::vector<std::string> tables_where(const std::string& condition, std::string_view purpose) {
    auto rows = connection_.query(fmt::format("select c.oid::pg_catalog.regclass::pg_catalog.text "
                                              "from pg_catalog.pg_class c where c.oid = "
                                              "any('{{{}}}'::pg_catalog.oid[]) and ({}) order by 1",
                                              list(), condition),
                                  purpose);
    std::vector<std::string> out;
    for (int i = 0; i < rows.rows(); ++i) out.push_back(rows.str(i, 0));
    return out;
  }

  /// A column of SQL as a remedy.
  static std::string statements(const pg::Result& rows) {
    std::string out;
    for (int i = 0; i < rows.rows(); ++i) out += (i == 0 ? "" : "\n") + rows.str(i, 0);
    return out;
  }

  void size() {
    auto row = connection_.query(
        fmt::format("with recursive part as (select pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]) as oid"
                    " union select i.inhrelid from pg_catalog.pg_inherits i join part p on i.inhparent = p.oid"
                    "   join pg_catalog.pg_class c on c.oid = i.inhrelid and c.relispartition)"
                    " select (select pg_catalog.count(*) from pg_catalog.unnest('{{{}}}'::pg_catalog.oid[])),"
                    " coalesce(pg_catalog.sum(pg_catalog.pg_table_size(oid)), 0)::bigint, "
                    "pg_catalog.pg_size_pretty(coalesce(pg_catalog.sum(pg_catalog.pg_table_size(oid)), 0))"
                    " from part",
                    list(), list()),
        "measuring the tables");
    add(Verdict::pass, "tables", fmt::format("{} selected, {} on disk", row.get(0, 0), row.get(0, 2)));
  }

  void skipped(const std::vector<CatalogTable>& catalog) {
    std::vector<std::string> unlogged, foreign;
    for (const CatalogTable& table : catalog) {
      if (!request_.publication.tables.selects(table.schema, table.name)) continue;
      if (table.kind == 'f')
        foreign.push_back(quote_qualified(table.schema, table.name));
      else if (table.persistence == "u")
        unlogged.push_back(quote_qualified(table.schema, table.name));
    }
    if (!unlogged.empty())
      add(Verdict::warn, "unlogged tables",
          fmt::format("skipped, they leave no trace in the WAL: {}", some_of(unlogged)),
          for_each_table(unlogged, "ALTER TABLE {} SET LOGGED;"));
    if (!foreign.empty())
      add(Verdict::warn, "foreign tables",
          fmt::format("skipped, their rows live elsewhere: {}", some_of(foreign)));
  }

  void options() {
    try {
      table_list_sql(selected_, connection_.server_version());
    } catch (const Error& error) {
      add(Verdict::fail, "columns and row filters", error.message(), error.remedy());
    }
  }

  void ownership() {
    bool ours_to_write = request_.publication.create && (!existing_ || existing_->managed);
    if (!ours_to_write || (existing_ && existing_->all_tables)) return;
    auto foreign =
        tables_where("not pg_catalog.pg_has_role(c.relowner, 'usage')", "reading the tables' owners");
    if (foreign.empty()) return add(Verdict::pass, "table ownership", "we may publish every selected table");
    // A superuser's role is never ours to ask for.
    auto rows = connection_.query(
        fmt::format("select distinct pg_catalog.format('GRANT %I TO %I;', r.rolname, current_user) "
                    "from pg_catalog.pg_class c"
                    " join pg_catalog.pg_roles r on r.oid = c.relowner "
                    "where c.oid = any('{{{}}}'::pg_catalog.oid[]) and not r.rolsuper"
                    " and not pg_catalog.pg_has_role(r.oid, 'usage') order by 1",
                    list()),
        "reading the tables' owners");
    add(Verdict::fail, "table ownership",
        fmt::format("only their owner may publish {} of the tables: {}", foreign.size(), some_of(foreign)),
        (rows.rows() == 0 ? "-- " : statements(rows) + "\n-- or ") + "run `tailrace init` once as a superuser");
  }

  void readable() {
    // A column grant is enough when the publication names columns, so ask for any readable column.
    auto closed = tables_where(
        "not pg_catalog.has_schema_privilege(c.relnamespace, 'usage') "
        "or not pg_catalog.has_any_column_privilege(c.oid, 'select')",
        "reading our privileges");
    if (closed.empty()) return add(Verdict::pass, "SELECT privilege", "we may read every selected table");
    auto rows = connection_.query(
        fmt::format(
            "select distinct pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user) "
            "from pg_catalog.pg_class c"
            " join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
            "where c.oid = any('{{{0}}}'::pg_catalog.oid[])"
            " and not pg_catalog.has_schema_privilege(n.oid, 'usage') union all"
            // Of all of a schema's tables by one statement, where that gives no more than is asked for.
            " select distinct case when (select pg_catalog.count(*) > 1 and "
            "pg_catalog.bool_and(o.oid = any('{{{0}}}'::pg_catalog.oid[]) or o.relispartition) "
            "from pg_catalog.pg_class o where o.relnamespace = n.oid and o.relkind in ('r', 'p', 'v', 'm', "
            "'f')) "
            "then pg_catalog.format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I;', n.nspname, current_user) "
            "else pg_catalog.format('GRANT SELECT ON %s TO %I;', c.oid::pg_catalog.regclass, current_user) end "
            "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
            " where c.oid = any('{{{0}}}'::pg_catalog.oid[]) "
            "and not pg_catalog.has_any_column_privilege(c.oid, 'select')",
            list()),
        "reading our privileges");
    add(Verdict::fail, "SELECT privilege",
        fmt::format("we may not read {} of the tables: {}", closed.size(), some_of(closed)), statements(rows));
  }

  void row_security() {
    auto hidden = tables_where("pg_catalog.row_security_active(c.oid)", "reading row security");
    if (hidden.empty()) return;
    std::string role =
        connection_.query("select pg_catalog.quote_ident(current_user)", "reading our name").str(0, 0);
    add(Verdict::fail, "row level security",
        fmt::format("policies would hide rows of {} from the copy, though the stream carries them",
                    some_of(hidden)),
        fmt::format("ALTER ROLE {} BYPASSRLS;", role));
  }

  void replica_identity() {
    auto [bare, deferrable] = without_identity(connection_, oids_);
    constexpr std::string_view full = "ALTER TABLE {} REPLICA IDENTITY FULL;";
    if (!bare.empty())
      add(Verdict::warn, "replica identity",
          fmt::format("without a key, so once published the server refuses UPDATE and DELETE on them (INSERT "
                      "works): {}",
                      some_of(bare)),
          for_each_table(bare, full) + "\n-- or, better, a primary key; or leave them out of `tables`");
    if (!deferrable.empty())
      add(Verdict::warn, "deferrable primary keys",
          fmt::format("cannot identify rows for replication, so once published the server refuses UPDATE and "
                      "DELETE: {}",
                      some_of(deferrable)),
          for_each_table(deferrable, full));
    if (bare.empty() && deferrable.empty())
      add(Verdict::pass, "replica identity", "every selected table has a usable one");
  }

  /// "16384,16390"
  std::string list() const { return fmt::format("{}", fmt::join(oids_, ",")); }

  pg::Connection& connection_;
  const PreflightRequest& request_;
  const std::optional<PublicationInfo>& existing_;
  std::vector<SelectedTable> selected_;
  std::vector<Oid> oids_;
  std::vector<CheckResult> out_;
};

}  // namespace

std::vector<CheckResult> check_tables(pg::Connection& connection, const PreflightRequest& request,
                                      const std::optional<PublicationInfo>& existing) {
  return TableChecks(connection, request, existing).all();
}

}  // namespace tailrace::source
