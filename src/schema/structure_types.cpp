#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

void read_collations(StructureDraft& draft) {
  int from = draft.from();
  auto rows = draft.source.query(
      fmt::format("select c.oid, n.nspname, c.collname, c.collprovider, c.collcollate, c.collctype, "
                  "c.collisdeterministic, {}, {} from pg_catalog.pg_collation c "
                  "join pg_catalog.pg_namespace n on n.oid = c.collnamespace "
                  "where c.oid = any($1::pg_catalog.oid[]) order by 1",
                  from >= 170000   ? "c.colllocale"
                  : from >= 150000 ? "c.colliculocale"
                                   : "c.collcollate",
                  from >= 160000 ? "c.collicurules" : "null"),
      {as_array(draft.scope.collations)}, "reading the collations");
  for (int row = 0; row < rows.rows(); ++row) {
    std::string what = "collation " + rows.str(row, 1) + "." + rows.str(row, 2);
    std::string sql = fmt::format("CREATE COLLATION {} (", quote_qualified(rows.get(row, 1), rows.get(row, 2)));
    char provider = rows.get(row, 3)[0];
    if (provider == 'b' && draft.to() < 170000) refuse(what, "the provider \"builtin\"", 17, draft.to());
    if (provider == 'c') {
      sql += fmt::format("PROVIDER = libc, LC_COLLATE = {}, LC_CTYPE = {}", quote_literal(rows.get(row, 4)),
                         quote_literal(rows.get(row, 5)));
    } else {
      sql += fmt::format("PROVIDER = {}, LOCALE = {}", provider == 'i' ? "icu" : "builtin",
                         quote_literal(rows.get(row, 7)));
    }
    if (!rows.flag(row, 6)) sql += ", DETERMINISTIC = false";
    if (!rows.is_null(row, 8)) {
      if (draft.to() < 160000) refuse(what, "rules of its own", 16, draft.to());
      sql += ", RULES = " + quote_literal(rows.get(row, 8));
    }
    draft.made.insert({catalog_oid::collation, rows.oid(row, 0)});
    draft.structure.before_data.push_back({what, sql + ")"});
  }
}

/// A type of the list, and where its statement goes.
struct Listed {
  Object object;
  std::string name;
  std::string what;
};

Listed listed(StructureDraft& draft, const pg::Result& rows, int row, std::string_view kind) {
  Object object{catalog_oid::type, rows.oid(row, 0)};
  draft.made.insert(object);
  return {object, quote_qualified(rows.get(row, 1), rows.get(row, 2)),
          fmt::format("{} {}.{}", kind, rows.get(row, 1), rows.get(row, 2))};
}

void read_enums(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select t.oid, n.nspname, t.typname, (select "
      "pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' "
      "order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = t.oid) "
      "from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace "
      "where t.oid = any($1::pg_catalog.oid[]) and t.typtype = 'e' order by 1",
      {as_array(draft.scope.types)}, "reading the enums");
  for (int row = 0; row < rows.rows(); ++row) {
    auto type = listed(draft, rows, row, "enum");
    draft.list_for(type.object)
        .push_back({type.what, fmt::format("CREATE TYPE {} AS ENUM ({}){}", type.name, rows.get(row, 3),
                                           draft.keep_closed('T', type.name, type.object.oid))});
  }
}

void read_composites(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select t.oid, n.nspname, t.typname, (select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || "
      "' ' || "
      "pg_catalog.format_type(a.atttypid, a.atttypmod) || pg_catalog.repeat('[]', a.attndims - 1) || case when "
      "a.attcollation <> at.typcollation then "
      "' COLLATE ' || a.attcollation::pg_catalog.regcollation::pg_catalog.text "
      "else '' end, ', ' order by a.attnum) "
      "from pg_catalog.pg_attribute a join pg_catalog.pg_type at on at.oid = a.atttypid "
      "where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), t.typrelid "
      "from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace "
      "where t.oid = any($1::pg_catalog.oid[]) and t.typtype = 'c' order by 1",
      {as_array(draft.scope.types)}, "reading the composite types");
  for (int row = 0; row < rows.rows(); ++row) {
    auto type = listed(draft, rows, row, "type");
    draft.made.insert({catalog_oid::relation, rows.oid(row, 4)});  // what its attributes' comments speak of
    draft.list_for(type.object)
        .push_back({type.what, fmt::format("CREATE TYPE {} AS ({}){}", type.name, rows.get(row, 3),
                                           draft.keep_closed('T', type.name, type.object.oid))});
  }
}

/// Ranges without their subtype_diff, domains without their default.
std::vector<Oid> types_that_must_not_run(const StructureDraft& draft) {
  std::vector<Oid> out;
  for (const auto* objects : {&draft.untrusted, &draft.cannot_run}) {
    for (auto object : *objects) {
      if (object.catalog == catalog_oid::type) out.push_back(object.oid);
    }
  }
  return out;
}

void read_ranges(StructureDraft& draft) {
  bool multiranges = draft.both_since(140000);
  auto rows = draft.source.query(
      fmt::format(
          "select t.oid, n.nspname, t.typname, 'SUBTYPE = ' || pg_catalog.format_type(r.rngsubtype, null) || "
          "', SUBTYPE_OPCLASS = ' || pg_catalog.quote_ident(cn.nspname) || '.' || "
          "pg_catalog.quote_ident(c.opcname) || "
          "case when r.rngcollation <> s.typcollation then ', COLLATION = ' || "
          "r.rngcollation::pg_catalog.regcollation::pg_catalog.text else '' end || "
          "case when r.rngsubdiff <> 0 and r.rngtypid <> all('{}'::pg_catalog.oid[]) then ', SUBTYPE_DIFF = ' "
          "|| "
          "r.rngsubdiff::pg_catalog.text else '' end || {}, "
          "case when r.rngcanonical <> 0 then ', CANONICAL = ' || r.rngcanonical::pg_catalog.text else '' end "
          "from pg_catalog.pg_range r join pg_catalog.pg_type t on t.oid = r.rngtypid "
          "join pg_catalog.pg_namespace n on n.oid = t.typnamespace "
          "join pg_catalog.pg_type s on s.oid = r.rngsubtype "
          "join pg_catalog.pg_opclass c on c.oid = r.rngsubopc "
          "join pg_catalog.pg_namespace cn on cn.oid = c.opcnamespace "
          "where t.oid = any($1::pg_catalog.oid[]) order by 1",
          as_array(types_that_must_not_run(draft)),
          multiranges
              ? "(select ', MULTIRANGE_TYPE_NAME = ' || pg_catalog.quote_ident(mn.nspname) || '.' || "
                "pg_catalog.quote_ident(m.typname) from pg_catalog.pg_type m join pg_catalog.pg_namespace mn "
                "on mn.oid = m.typnamespace where m.oid = r.rngmultitypid)"
              : "''"),
      {as_array(draft.scope.types)}, "reading the range types");
  for (int row = 0; row < rows.rows(); ++row) {
    auto type = listed(draft, rows, row, "range type");
    auto& list = draft.list_for(type.object);
    // A canonical function takes the type that it belongs to, so the type is announced first.
    if (!rows.get(row, 4).empty()) list.push_back({"announcement of " + type.what, "CREATE TYPE " + type.name});
    list.push_back(
        {type.what, fmt::format("CREATE TYPE {} AS RANGE ({}{}){}", type.name, rows.get(row, 3),
                                rows.get(row, 4), draft.keep_closed('T', type.name, type.object.oid))});
  }
}

void read_domains(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select t.oid, n.nspname, t.typname, pg_catalog.format_type(t.typbasetype, t.typtypmod) || "
      "pg_catalog.repeat('[]', t.typndims - 1) || "
      "case when t.typcollation <> b.typcollation then ' COLLATE ' || "
      "t.typcollation::pg_catalog.regcollation::pg_catalog.text "
      "else '' end || case when t.oid = any($2::pg_catalog.oid[]) then '' "
      "when t.typdefaultbin is not null then ' DEFAULT "
      "' || "
      "pg_catalog.pg_get_expr(t.typdefaultbin, 'pg_catalog.pg_type'::pg_catalog.regclass) "
      "when t.typdefault is not null then ' DEFAULT ' || pg_catalog.quote_literal(t.typdefault) else '' end, "
      "t.typnotnull from pg_catalog.pg_type t "
      "join pg_catalog.pg_namespace n on n.oid = t.typnamespace join pg_catalog.pg_type b on b.oid = "
      "t.typbasetype "
      "where t.oid = any($1::pg_catalog.oid[]) and t.typtype = 'd' order by 1",
      {as_array(draft.scope.types), as_array(types_that_must_not_run(draft))}, "reading the domains");
  auto checks = draft.source.query(
      "select contypid, oid, conname, contype, pg_catalog.pg_get_constraintdef(oid), convalidated "
      "from pg_catalog.pg_constraint where contypid = any($1::pg_catalog.oid[]) order by contypid, conname",
      {as_array(draft.scope.types)}, "reading the constraints of the domains");
  for (int row = 0; row < rows.rows(); ++row) {
    auto type = listed(draft, rows, row, "domain");
    std::string sql = fmt::format("CREATE DOMAIN {} AS {}", type.name, rows.get(row, 3));
    // From 17 on NOT NULL is a constraint with a name.
    std::string not_null = rows.flag(row, 4) ? " NOT NULL" : "";
    std::string constraints;
    for (int at = 0; at < checks.rows(); ++at) {
      if (checks.oid(at, 0) != type.object.oid) continue;
      if (draft.must_not_run(catalog_oid::constraint, checks.oid(at, 1))) continue;
      auto definition = fmt::format("CONSTRAINT {} {}", quote_identifier(checks.get(at, 2)), checks.get(at, 4));
      bool is_not_null = checks.get(at, 3) == "n";
      if (!is_not_null || draft.to() >= 170000) draft.made.insert({catalog_oid::constraint, checks.oid(at, 1)});
      if (is_not_null) {
        not_null = fmt::format(" CONSTRAINT {} NOT NULL", quote_identifier(checks.get(at, 2)));
      } else if (checks.flag(at, 5)) {
        constraints += " " + definition;
      } else {
        draft.structure.after_data.push_back({"constraint " + checks.str(at, 2) + " of " + type.what,
                                              fmt::format("ALTER DOMAIN {} ADD {}", type.name, definition)});
      }
    }
    draft.list_for(type.object)
        .push_back({type.what, fmt::format("{}{}{}{}", sql, not_null, constraints,
                                           draft.keep_closed('T', type.name, type.object.oid))});
  }
}

}  // namespace

void read_types(StructureDraft& draft) {
  read_collations(draft);
  read_enums(draft);
  read_ranges(draft);
  read_composites(draft);
  read_domains(draft);
}

}  // namespace tailrace::schema
