#include "source/replica_identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/printable.h"

namespace tailrace::source {

WithoutIdentity without_identity(pg::Connection& connection, const std::vector<Oid>& tables) {
  // The leaves of a partitioned table decide, whatever its root says.
  auto rows = connection.query(
      fmt::format(
          "with recursive part as (select pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]) as oid "
          "union select i.inhrelid from pg_catalog.pg_inherits i join part p on i.inhparent = p.oid "
          "join pg_catalog.pg_class c on c.oid = i.inhrelid and c.relispartition) "
          "select c.oid::pg_catalog.regclass::pg_catalog.text, exists (select from pg_catalog.pg_index i where "
          "i.indrelid = c.oid and i.indisprimary and not i.indimmediate) from part "
          "join pg_catalog.pg_class c using (oid) "
          "where c.relkind = 'r' and c.relreplident <> 'f' and not exists (select from pg_catalog.pg_index i "
          "where i.indrelid = c.oid and i.indisvalid and i.indimmediate and "
          "(c.relreplident = 'd' and i.indisprimary or c.relreplident = 'i' and i.indisreplident)) order by 1",
          fmt::join(tables, ",")),
      "reading replica identities");
  WithoutIdentity out;
  for (int row = 0; row < rows.rows(); ++row)
    (rows.flag(row, 1) ? out.deferrable : out.bare).push_back(rows.str(row, 0));
  return out;
}

std::string tell_refused(const WithoutIdentity& tables) {
  if (tables.none()) return {};
  auto names = tables.bare;
  names.insert(names.end(), tables.deferrable.begin(), tables.deferrable.end());
  return fmt::format(
      "the source refuses UPDATE and DELETE of {} from now on (INSERT works), because a published table "
      "without a key that is checked at once has no replica identity: give {} one, or ALTER TABLE ... "
      "REPLICA IDENTITY FULL, or leave {} out of `tables`",
      some_of(names), names.size() == 1 ? "it" : "them", names.size() == 1 ? "it" : "them");
}

}  // namespace tailrace::source
