#pragma once
// Publication: what the source publishes to us: chosen tables, their columns and row filters.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "model/relation.h"
#include "model/table_selection.h"
#include "pg/connection.h"
#include "source/publication_members.h"

namespace tailrace::source {

struct PublicationSpec {
  std::vector<std::string> names;  ///< one, or, unless `create`, several
  TableSelection tables;
  bool create = true;              ///< false: use what is there and never change it
  bool via_partition_root = true;  ///< partitioned tables under their root's name
  /// Values of generated columns travel too (PostgreSQL 18). Not for a target that computes them itself.
  bool generated_columns = true;
};

/// A permanent user table or partitioned root of the source, whether selected or not.
struct CatalogTable {
  Oid oid = 0;
  std::string schema;
  std::string name;
  bool partitioned = false;
  Oid parent = 0;           ///< of a partition: its direct parent
  std::string persistence;  ///< p permanent, u unlogged
  char kind = 'r';          ///< r table, p partitioned, f foreign

  std::string qualified() const { return schema + "." + name; }
};

struct SelectedTable {
  CatalogTable table;
  std::vector<std::string> columns;  ///< empty: all
  std::string where;
};

/// A member of a publication as the server sees it (pg_publication_tables).
struct PublishedTable {
  Oid oid = 0;
  std::string schema;
  std::string name;
  std::vector<std::string> columns;  ///< the published ones; empty on servers before 15: all
  bool column_list = false;          ///< the publication names columns; false: all, future ones too
  std::string row_filter;            ///< as it was asked for; empty: every row
  std::string membership;            ///< the catalog rows by which it is a member; see Catalog::Wanted
  bool insert = true, update = true, remove = true, truncate = true;  ///< what is published of it
};

/// How a table was a member since its membership was recorded. `otherwise`: not all the time, or with other
/// columns or another filter. `unsure`: the publication itself was altered, so that some kinds of changes may
/// not have been published for a while; one that does not publish all kinds now is not asked that. In which
/// order the publications stand does not matter. Pure.
enum class Since { same, unsure, otherwise };
Since compare_membership(const std::string& recorded, const std::string& now);

struct PublicationInfo {
  std::string name;         ///< of several: "a, b"
  bool all_tables = false;  ///< one of them is
  bool via_partition_root = false;
  bool generated_columns = false;      ///< one of them sends values of such, which only PostgreSQL 18 can
  bool managed = false;                ///< made by tailrace, so it may alter and drop it
  std::vector<PublishedTable> tables;  ///< by schema and name
};

enum class PublicationChange { unchanged, created, altered };

struct PublicationOutcome {
  PublicationChange change = PublicationChange::unchanged;
  PublicationInfo info;
  std::vector<std::string> warnings;  ///< a sentence each
};

/// Every table that could be asked for: tables, partitioned and foreign ones, outside system schemas.
std::vector<CatalogTable> read_catalog_tables(pg::Connection& connection);

/// What the rules select, in schema and name order: partitions only if no selected ancestor stands for them,
/// unlogged and foreign tables never. Pure. An exact pattern that selects nothing is an Error(needs_operator).
std::vector<SelectedTable> select_tables(const std::vector<CatalogTable>& catalog, const PublicationSpec& spec);

/// The rules' patterns that match no table, excluding ones too: a slip of the pen, or tables that are to come.
std::vector<std::string> idle_patterns(const std::vector<CatalogTable>& catalog, const PublicationSpec& spec);

std::optional<PublicationInfo> read_publication(pg::Connection& connection, const std::string& name,
                                                Filters filters = Filters::as_sql);

/// Several as PostgreSQL reads them together: a table with a row filter in each is filtered by either, one
/// without in any is not filtered. Column lists that differ are an Error(needs_operator). nullopt: one does not
/// exist.
std::optional<PublicationInfo> read_publications(pg::Connection& connection,
                                                 const std::vector<std::string>& names,
                                                 Filters filters = Filters::as_sql);
/// The pure part of it: of one or more. `parents`: of partitions; a leaf is no table of its own where its root
/// is.
PublicationInfo merge_publications(const std::vector<PublicationInfo>& publications,
                                   const std::map<Oid, Oid>& parents);

/// Makes the publication say what the spec says, in one transaction: creates it, alters one that tailrace
/// made, or verifies another's. Before the slot, always: see create_slot. Refuses what would make the
/// source's own UPDATE or DELETE fail (row filters or column lists that miss the replica identity). Row filters
/// come back as they are stored.
PublicationOutcome ensure_publication(pg::Connection& connection, const PublicationSpec& spec);

/// Throws the Error by which ensure_publication() would refuse what is there; nothing is made.
void check_publication(pg::Connection& connection, const PublicationSpec& spec);

/// Servers before 18 look for the publications as they were where the stream stands, and end it where one was
/// not there yet. `missing`: one is not there now either.
Error explain_missing(const Error& error, const std::vector<std::string>& names, bool missing);

/// Throws that Error if the slot cannot read on because a publication is younger than where it stands. Asks the
/// server to decode the slot's next transaction, for a while, on `connection`; what that does not tell is left
/// to the stream.
void check_known_to_slot(pg::Connection& connection, const std::string& slot,
                         const std::vector<std::string>& names, bool missing);

/// Drops it if tailrace made it; false when there was none or it is somebody else's.
bool drop_publication(pg::Connection& connection, const std::string& name);

/// CREATE PUBLICATION for these tables, `all_tables` instead of a list if asked. Pure.
std::string create_publication_sql(const PublicationSpec& spec, const std::vector<SelectedTable>& tables,
                                   bool all_tables, int server_version);
/// What stands in the parentheses of WITH or SET, with them. Pure.
std::string publication_options_sql(const PublicationSpec& spec, int server_version);
/// "public.orders (id, total) WHERE (total > 0), ..." for CREATE and ALTER PUBLICATION. Pure.
std::string table_list_sql(const std::vector<SelectedTable>& tables, int server_version);

}  // namespace tailrace::source
