#include "schema/structure.h"

#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {

const std::string_view sequence_options =
    "pg_catalog.format(' INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', s.seqincrement, "
    "s.seqmin, s.seqmax, s.seqstart, s.seqcache, case when s.seqcycle then ' CYCLE' else ' NO CYCLE' end)";

std::string storage_options(std::string_view array, std::string_view prefix, int target_version) {
  std::string unknown = "''";
  if (target_version < 180000)
    unknown += ", 'autovacuum_vacuum_max_threshold', 'vacuum_max_eager_freeze_failure_rate'";
  // Its value "auto" is of 14.
  if (target_version < 140000) unknown += ", 'vacuum_index_cleanup'";
  return fmt::format(
      "(select pg_catalog.string_agg('{1}' || pg_catalog.quote_ident(pg_catalog.split_part(o, '=', 1)) || '=' "
      "|| "
      "pg_catalog.quote_literal(pg_catalog.substr(o, pg_catalog.strpos(o, '=') + 1)), ', ') "
      "from pg_catalog.unnest({0}) o where pg_catalog.split_part(o, '=', 1) not in ({2}))",
      array, prefix, unknown);
}

void refuse(std::string_view what, std::string_view feature, int version, int target_version) {
  throw Error(Retry::needs_operator,
              fmt::format("{} has {}, which the target's PostgreSQL {} does not know", what, feature,
                          target_version / 10000),
              fmt::format("Take a target of PostgreSQL {} or newer, or change it at the source", version));
}

std::vector<Statement>& StructureDraft::list_for(Object object) {
  return scope.late.contains(object) ? structure.after_data : structure.before_data;
}

/// One that is there already stays as it is.
static Statement make_schema(const StructureDraft& draft, const std::string& name) {
  std::string quoted = quote_identifier(name);
  std::string closed = draft.keep_closed('n', quoted);
  std::string what = "schema " + name;
  if (closed.empty()) return {what, "CREATE SCHEMA IF NOT EXISTS " + quoted};
  return {what,
          "DO " + quote_literal(fmt::format(
                      "BEGIN IF pg_catalog.to_regnamespace({}) IS NULL THEN CREATE SCHEMA {}{}; END IF; END",
                      quote_literal(quoted), quoted, closed))};
}

void read_schemas_and_extensions(StructureDraft& draft) {
  const auto& scope = draft.scope;
  auto& list = draft.structure.before_data;
  std::vector<Oid> relations = scope.tables;
  relations.insert(relations.end(), scope.views.begin(), scope.views.end());
  relations.insert(relations.end(), scope.sequences.begin(), scope.sequences.end());
  auto rows = draft.source.query(
      "select n.oid, n.nspname from pg_catalog.pg_namespace n where n.oid in ("
      "select relnamespace from pg_catalog.pg_class where oid = any($1::pg_catalog.oid[]) "
      "union all select typnamespace from pg_catalog.pg_type where oid = any($2::pg_catalog.oid[]) "
      "union all select pronamespace from pg_catalog.pg_proc where oid = any($3::pg_catalog.oid[]) "
      "union all select collnamespace from pg_catalog.pg_collation where oid = any($4::pg_catalog.oid[]) "
      "union all select extnamespace from pg_catalog.pg_extension where oid = any($5::pg_catalog.oid[])) "
      "and n.nspname <> 'pg_catalog' and not exists (select from pg_catalog.pg_depend d "
      "where d.classid = 2615 and d.objid = n.oid and d.deptype = 'e') order by 1",
      {as_array(relations), as_array(scope.types), as_array(scope.functions), as_array(scope.collations),
       as_array(scope.extensions)},
      "reading the schemas");
  std::vector<Oid> schemas;
  for (int row = 0; row < rows.rows(); ++row) {
    schemas.push_back(rows.oid(row, 0));
    draft.made.insert({catalog_oid::name_space, rows.oid(row, 0)});
    list.push_back(make_schema(draft, rows.str(row, 1)));
  }
  // Functions written as text may use an extension that pg_depend does not know them to need. So the ones in
  // the same schemas come too, unless the target does not have them.
  rows = draft.source.query(
      "select e.extname, n.nspname, e.oid = any($1::pg_catalog.oid[]) from pg_catalog.pg_extension e "
      "join pg_catalog.pg_namespace n on n.oid = e.extnamespace "
      "where e.oid >= 16384 and (e.oid = any($1::pg_catalog.oid[]) "
      "or n.oid = any($2::pg_catalog.oid[])) order by e.oid",
      {as_array(scope.extensions), as_array(schemas)}, "reading the extensions");
  for (int row = 0; row < rows.rows(); ++row) {
    list.push_back({"extension " + rows.str(row, 0),
                    fmt::format("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}",
                                quote_identifier(rows.str(row, 0)), quote_identifier(rows.str(row, 1))),
                    {},
                    /*optional=*/!rows.flag(row, 2)});
  }
}

Structure read_structure(pg::Connection& source, const std::vector<Oid>& tables,
                         const StructureOptions& options) {
  StructureDraft draft{source, options, {}, {}, {}};
  if (draft.options.target_version == 0) draft.options.target_version = source.server_version();
  draft.strange = find_strange(source, draft.options.strangers);
  std::vector<Oid> followed;
  for (const auto& table : draft.options.followed) followed.push_back(table.oid);
  draft.scope = read_scope(source, tables, followed, draft.strange.running);
  leave_out_present(draft);
  look_for_places(draft);
  read_rights(draft);
  read_paths(draft);
  read_schemas_and_extensions(draft);
  read_types(draft);
  read_sequences(draft);
  read_functions(draft);
  read_tables(draft);
  read_sequence_owners(draft);
  read_indexes(draft);
  read_late_constraints(draft);
  read_views(draft);
  read_view_indexes(draft);
  read_rules(draft);
  read_triggers(draft);
  read_policies(draft);
  // Before anything of theirs is evaluated: a materialized view is filled with its owner's rights.
  if (draft.options.owners) read_owners(draft);
  read_comments(draft);
  read_refreshes(draft);
  if (draft.options.privileges) read_privileges(draft);
  return std::move(draft.structure);
}

}  // namespace tailrace::schema
