#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {

void read_sequences(StructureDraft& draft) {
  auto rows = draft.source.query(
      fmt::format(
          "select c.oid, n.nspname, c.relname, ' AS ' || pg_catalog.format_type(s.seqtypid, null) || {}, "
          "c.relpersistence = 'u' from pg_catalog.pg_sequence s "
          "join pg_catalog.pg_class c on c.oid = s.seqrelid "
          "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "where c.oid = any($1::pg_catalog.oid[]) order by 1",
          sequence_options),
      {as_array(draft.scope.sequences)}, "reading the sequences");
  for (int row = 0; row < rows.rows(); ++row) {
    draft.made.insert({catalog_oid::relation, rows.oid(row, 0)});
    bool unlogged = rows.flag(row, 4) && draft.to() >= 150000;
    std::string name = quote_qualified(rows.get(row, 1), rows.get(row, 2));
    draft.structure.before_data.push_back(
        {.what = "sequence " + rows.str(row, 1) + "." + rows.str(row, 2),
         .sql = fmt::format("CREATE {}SEQUENCE {}{}{}", unlogged ? "UNLOGGED " : "", name, rows.get(row, 3),
                            draft.keep_closed('S', name)),
         .relation = name});
  }
}

void read_sequence_owners(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select n.nspname, c.relname, tn.nspname, t.relname, a.attname from pg_catalog.pg_depend d "
      "join pg_catalog.pg_class c on c.oid = d.objid join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "join pg_catalog.pg_class t on t.oid = d.refobjid join pg_catalog.pg_namespace tn on tn.oid = "
      "t.relnamespace "
      "join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid "
      "where d.classid = 1259 and d.refclassid = 1259 and d.deptype = 'a' and c.relkind = 'S' "
      "and d.objid = any($1::pg_catalog.oid[]) and d.refobjid = any($2::pg_catalog.oid[]) order by d.objid",
      {as_array(draft.scope.sequences), as_array(draft.scope.tables)}, "reading the owners of the sequences");
  for (int row = 0; row < rows.rows(); ++row) {
    draft.structure.before_data.push_back(
        {"owner of sequence " + rows.str(row, 0) + "." + rows.str(row, 1),
         fmt::format("ALTER SEQUENCE {} OWNED BY {}.{}", quote_qualified(rows.get(row, 0), rows.get(row, 1)),
                     quote_qualified(rows.get(row, 2), rows.get(row, 3)), quote_identifier(rows.get(row, 4)))});
  }
}

}  // namespace tailrace::schema
