#include "source/publication_members.h"

#include <fmt/format.h>

#include "base/sql_text.h"

namespace tailrace::source {
namespace {

/// Of the columns that are published where the publication names none; generated ones by its option, from 18
/// on.
const char* whole_columns(int server_version) {
  if (server_version < 160000) return "true";
  if (server_version < 180000) return "a.attgenerated = ''";
  return "(a.attgenerated = '' or a.attgenerated = 's' and p.pubgencols = 's')";
}

}  // namespace

// As pg_get_publication_tables() of the server does it: a schema's and all tables as far as they can be
// published, a partitioned table by its leaves unless it is published via the root, a partition only where no
// ancestor stands for it. Columns and filter are those of the table's own entry, unless it is published whole.
std::string publication_members_sql(const std::string& name, Filters filters, int server_version) {
  return fmt::format(
      "(with recursive p as (select * from pg_catalog.pg_publication where pubname = {0}), "
      "listed (oid, kind, part) as (select c.oid, c.relkind, c.relispartition from p, pg_catalog.pg_class c "
      "where c.oid in (select r.prrelid from pg_catalog.pg_publication_rel r where r.prpubid in (select oid "
      "from p)) "
      "or c.relkind in ('r', 'p') and c.relpersistence = 'p' and c.oid >= 16384 "
      "and (p.puballtables and not (p.pubviaroot and c.relispartition) or c.relnamespace in "
      "(select s.pnnspid from pg_catalog.pg_publication_namespace s where s.pnpubid in (select oid from p)))), "
      "below (oid, kind) as (select l.oid, l.kind from listed l, p where l.kind = 'p' and not p.pubviaroot "
      "and not p.puballtables union select c.oid, c.relkind from below b "
      "join pg_catalog.pg_inherits i on i.inhparent = b.oid join pg_catalog.pg_class c on c.oid = i.inhrelid "
      "where b.kind = 'p'), "
      "above (oid, ancestor) as (select l.oid, i.inhparent from listed l "
      "join pg_catalog.pg_inherits i on i.inhrelid = l.oid where l.part union select u.oid, i.inhparent "
      "from above u join pg_catalog.pg_class c on c.oid = u.ancestor and c.relispartition "
      "join pg_catalog.pg_inherits i on i.inhrelid = c.oid), "
      "member (oid) as (select l.oid from p cross join listed l left join (select distinct u.oid from above u "
      "join listed a on a.oid = u.ancestor) s on s.oid = l.oid "
      "where case when p.pubviaroot then s.oid is null else l.kind <> 'p' end "
      "union select oid from below where kind <> 'p') "
      "select p.pubname, n.nspname as schemaname, c.relname as tablename, "
      "(select pg_catalog.array_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute a "
      "where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
      "and case when r.prattrs is null then {1} else a.attnum = any(r.prattrs::pg_catalog.int2[]) end) "
      "as attnames, {2} as rowfilter "
      "from p cross join member m join pg_catalog.pg_class c on c.oid = m.oid "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "left join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid "
      "and not p.puballtables and not exists (select from pg_catalog.pg_publication_namespace s "
      "where s.pnpubid = p.oid and s.pnnspid = c.relnamespace))",
      quote_literal(name), whole_columns(server_version),
      filters == Filters::as_sql ? "pg_catalog.pg_get_expr(r.prqual, r.prrelid)" : "r.prqual::pg_catalog.text");
}

}  // namespace tailrace::source
