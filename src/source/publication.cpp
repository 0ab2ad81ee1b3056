#include "source/publication.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/copy_anew.h"
#include "base/fnv.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "source/hiding_places.h"
#include "source/replica_identity.h"

namespace tailrace::source {
namespace {

// Tells our publications from other people's, and, by the fingerprint, whether the wish has changed since.
// The server deparses row filters in its own words, so definitions cannot be compared by what it shows.
constexpr std::string_view marker = "managed by tailrace, definition ";

constexpr std::string_view undefined_object = "42704";

std::string fingerprint(std::string_view definition) {
  return fmt::format("{}{:016x}", marker, fnv1a(definition));
}

/// Rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(pg::Connection& connection) : connection_(connection) {
    connection_.query("begin", "starting a transaction");
  }
  ~Transaction() {
    if (!open_) return;
    try {
      connection_.query("rollback", "rolling back");
    } catch (const std::exception& error) {
      // The connection is gone, and with it the transaction, or a stop is requested; what is under way says
      // why.
      log::debug("source", "{}", error.what());
    }
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() {
    open_ = false;
    connection_.query("commit", "committing the publication");
  }

 private:
  pg::Connection& connection_;
  bool open_ = true;
};

std::string comment_on(pg::Connection& connection, const std::string& name) {
  auto row = connection.query(
      "select pg_catalog.obj_description(oid, 'pg_publication') "
      "from pg_catalog.pg_publication where pubname = " +
          quote_literal(name),
      "reading the publication's comment");
  return row.rows() == 0 || row.is_null(0, 0) ? "" : row.str(0, 0);
}

/// What makes a table a member: rows of the catalogs that PostgreSQL replaces whenever the table leaves, joins,
/// or gets another column list or row filter. A partition is a member by its ancestors, too. After a point
/// stands what PostgreSQL writes anew when the table comes into its schema, or the partition to its parent;
/// and, after a letter, with the publication's options: by o, where it publishes all kinds of changes.
std::string membership_sql(bool schemas) {
  std::string by_schema =
      "union all select 's' || s.oid || coalesce('.' || (select d.xmin::pg_catalog.text "
      "from pg_catalog.pg_depend d where "
      "d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.objsubid = 0 and "
      "d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass limit 1), '') from "
      "pg_catalog.pg_publication_namespace s where s.pnpubid = p.oid and s.pnnspid = c.relnamespace ";
  return fmt::format(
      "(select pg_catalog.string_agg(m.id || case when p.pubinsert and p.pubupdate and p.pubdelete and "
      "p.pubtruncate then '.o' || p.xmin::pg_catalog.text else '.n' end, ' ' order by m.id) "
      // Each branch by an index: of ten thousand tables, none may look through the rows of all others.
      "from (select 'r' || r.oid from pg_catalog.pg_publication_rel r where r.prrelid = c.oid and r.prpubid = "
      "p.oid union all select 'r' || r.oid || coalesce('.' || ("
      "select pg_catalog.string_agg(i.xmin::pg_catalog.text, "
      "'.' order by i.inhrelid) from pg_catalog.pg_inherits i where i.inhrelid in (select relid from "
      "pg_catalog.pg_partition_ancestors(c.oid))), '') from pg_catalog.pg_partition_ancestors(c.oid) a "
      "cross join lateral (select r.oid from pg_catalog.pg_publication_rel r where r.prrelid = a.relid and "
      "r.prpubid = p.oid offset 0) r where c.relispartition and a.relid <> c.oid "
      "{}union all select 'p' || p.oid where p.puballtables) m(id))",
      schemas ? by_schema : "");
}

/// The elements of an array of names as text.
std::vector<std::string> names_in(std::string_view array) {
  std::vector<std::string> out;
  for (std::size_t at = 1; at + 1 < array.size(); ++at) {
    bool quoted = array[at] == '"';
    auto& name = out.emplace_back();
    for (at += quoted ? 1 : 0; array[at] != (quoted ? '"' : ',') && at + 1 < array.size(); ++at)
      name += array[at] == '\\' ? array[++at] : array[at];
    if (quoted) ++at;
  }
  return out;
}

std::vector<PublishedTable> read_published_tables(pg::Connection& connection, const std::string& name,
                                                  Filters filters) {
  // Before 15 a publication knew neither columns, filters nor schemas.
  bool detailed = connection.server_version() >= 150000;
  std::string query = fmt::format(
      "select c.oid, t.schemaname, t.tablename, {}, {} from {} t"
      " join pg_catalog.pg_publication p on p.pubname = t.pubname"
      " join pg_catalog.pg_namespace n on n.nspname = t.schemaname"
      " join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.tablename"
      // FOR ALL TABLES has the books of a tailrace that writes into this database, and what it is copying; they
      // are nobody else's.
      " where t.pubname = {} and t.schemaname <> 'tailrace' order by t.schemaname, t.tablename",
      detailed ? "coalesce(t.rowfilter, ''), exists (select 1 from pg_catalog.pg_publication_rel r"
                 " where p.oid = r.prpubid and r.prrelid = c.oid and r.prattrs is not null), t.attnames"
               : "'', false, null",
      membership_sql(detailed),
      detailed ? publication_members_sql(name, filters, connection.server_version())
               : "pg_catalog.pg_publication_tables",
      quote_literal(name));
  auto rows = connection.query(query, "reading the publication's tables");
  auto hidden = hiding_places(connection);
  std::vector<PublishedTable> out;
  for (int i = 0; i < rows.rows(); ++i) {
    if (hidden.contains(rows.str(i, 1))) continue;
    out.push_back(
        {rows.oid(i, 0), rows.str(i, 1), rows.str(i, 2), {}, rows.flag(i, 4), rows.str(i, 3), rows.str(i, 6)});
    if (!rows.is_null(i, 5)) out.back().columns = names_in(rows.get(i, 5));
  }
  return out;
}

/// The tables that a publication names itself, as opposed to the leaves that it then publishes.
std::set<Oid> read_members(pg::Connection& connection, const std::string& name) {
  auto rows = connection.query(
      "select r.prrelid from pg_catalog.pg_publication_rel r "
      "join pg_catalog.pg_publication p on p.oid = r.prpubid"
      " where p.pubname = " +
          quote_literal(name),
      "reading the publication's members");
  std::set<Oid> out;
  for (int i = 0; i < rows.rows(); ++i) out.insert(rows.oid(i, 0));
  return out;
}

/// PostgreSQL accepts a column list or row filter that misses the replica identity, and then refuses the
/// application's next UPDATE. So look before committing.
void check_identity_covered(pg::Connection& connection, const std::string& name) {
  if (connection.server_version() < 150000) return;
  auto rows = connection.query(
      fmt::format(
          "with member as (select r.prrelid as oid, r.prattrs::pg_catalog.int2[] as listed,"
          "   array(select m[1]::pg_catalog.int2 from pg_catalog.regexp_matches(r.prqual::pg_catalog.text, "
          "':varattno (\\d+)', 'g') m) as used"
          "   from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid"
          "   where p.pubname = {} and (r.prattrs is not null or r.prqual is not null)),"
          " identity as (select m.*, c.relreplident, case when c.relreplident = 'f'"
          "   then array(select attnum from pg_catalog.pg_attribute "
          "where attrelid = c.oid and attnum > 0 and not "
          "attisdropped)"
          "   else (select (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1] "
          "from pg_catalog.pg_index i where i.indrelid = c.oid"
          "     and ((c.relreplident = 'd' and i.indisprimary) or (c.relreplident = 'i' and i.indisreplident)) "
          "limit 1)"
          "   end as key from member m join pg_catalog.pg_class c on c.oid = m.oid)"
          " select oid::pg_catalog.regclass::pg_catalog.text,"
          " (select pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' order by attnum) "
          "from pg_catalog.pg_attribute where attrelid = "
          "oid"
          "   and attnum = any(key) and not attnum = any(listed)),"
          " (select pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' order by attnum) "
          "from pg_catalog.pg_attribute where attrelid = "
          "oid"
          "   and attnum = any(used) and not attnum = any(key)) from identity where key is not null",
          quote_literal(name)),
      "checking column lists and row filters");
  for (int i = 0; i < rows.rows(); ++i) {
    if (!rows.is_null(i, 1))
      throw Error(
          Retry::needs_operator,
          fmt::format("the columns chosen for {} miss {} of its replica identity; the server would refuse "
                      "UPDATE and DELETE on it",
                      rows.get(i, 0), rows.get(i, 1)),
          fmt::format("Add {} to the columns of {} in `tables`", rows.get(i, 1), rows.get(i, 0)));
    if (!rows.is_null(i, 2))
      throw Error(
          Retry::needs_operator,
          fmt::format("the where of {} uses {}, which is not part of its replica identity; the server would "
                      "refuse UPDATE and DELETE on it",
                      rows.get(i, 0), rows.get(i, 2)),
          fmt::format("ALTER TABLE {} REPLICA IDENTITY FULL; or filter by key columns only", rows.get(i, 0)));
  }
}

/// It is there, and somebody else's.
std::string give_over(pg::Connection& connection, const std::string& name) {
  connection.query("rollback", "undoing");
  auto owner =
      connection.query(fmt::format("select pg_catalog.quote_ident(current_user) from pg_catalog.pg_publication "
                                   "where pubname = {} and not pg_catalog.pg_has_role(pubowner, 'usage')",
                                   quote_literal(name)),
                       "looking at the publication's owner");
  if (owner.rows() == 0) return "";
  return fmt::format("At the source, as a superuser: ALTER PUBLICATION {} OWNER TO {}; or: ",
                     quote_identifier(name), owner.get(0, 0));
}

Error explain_refusal(pg::Connection& connection, const Error& error, const std::string& name,
                      const std::string& sql) {
  std::string remedy = error.remedy();
  Retry retry = error.retry();
  if (error.sqlstate() == "42501") {
    constexpr std::size_t readable = 1500;
    remedy =
        sql.size() <= readable
            ? "Let a superuser or the tables' owner run it, and set publication.create: off. The SQL: " + sql +
                  ";"
            : "Run `tailrace init` once as a superuser or the tables' owner";
    remedy = give_over(connection, name) + remedy;
  } else if (error.sqlstate() == "25006") {
    connection.query("rollback", "undoing");
    auto standby = connection.query("select pg_catalog.pg_is_in_recovery()", "looking at the server");
    remedy =
        standby.flag(0, 0)
            ? "This server is a standby: make the publication on its primary, by `tailrace init` there"
            : "default_transaction_read_only is on for this database, role or server: take it back for the "
              "first start, or add options=-c%20default_transaction_read_only%3Doff to the source's URL";
    retry = Retry::needs_operator;
  }
  Error out(retry, error.message(), remedy);
  out.with_sqlstate(error.sqlstate());
  return out;
}

std::string unpublished_actions(const PublishedTable& table) {
  std::string missing;
  for (auto [flag, word] : {std::pair(table.insert, "insert"), std::pair(table.update, "update"),
                            std::pair(table.remove, "delete"), std::pair(table.truncate, "truncate")})
    if (!flag) missing += (missing.empty() ? "" : ", ") + std::string(word);
  return missing;
}

void warn_of_flags(const PublicationInfo& info, const PublicationSpec& spec,
                   std::vector<std::string>& warnings) {
  std::map<std::string, std::vector<std::string>> tables;
  for (const auto& table : info.tables) {
    if (auto missing = unpublished_actions(table); !missing.empty())
      tables[missing].push_back(table.schema + "." + table.name);
  }
  for (const auto& [missing, names] : tables) {
    bool all = names.size() == info.tables.size();
    std::string of = all ? ""
                         : fmt::format(" of {}{}", names.front(),
                                       names.size() > 1 ? fmt::format(" and {} more", names.size() - 1) : "");
    warnings.push_back(fmt::format("publication \"{}\" does not publish {}{}: the target will not follow these",
                                   info.name, missing, of));
  }
  if (info.tables.empty())
    warnings.push_back(
        fmt::format("publication \"{}\" publishes no table yet; one is copied when it comes", info.name));
  if (info.via_partition_root != spec.via_partition_root)
    warnings.push_back(
        fmt::format("publication \"{}\" has publish_via_partition_root = {}, which decides how "
                    "partitioned tables arrive",
                    info.name, info.via_partition_root));
}

class Keeper {
 public:
  Keeper(pg::Connection& connection, const PublicationSpec& spec)
      : connection_(connection), spec_(spec), name_(spec.names.at(0)) {}

  PublicationOutcome ensure() {
    if (!spec_.create) return adopt();
    auto out = keep();
    if (out.info.tables.empty())
      out.warnings.emplace_back("`tables` selects no table of the source yet; one is copied when it comes");
    else if (auto idle = idle_patterns(catalog_, spec_); !idle.empty())
      out.warnings.push_back(fmt::format("no table of the source matches {}", fmt::join(idle, ", ")));
    return out;
  }

  void check() {
    if (!spec_.create) {
      adopt();
      return;
    }
    auto existing = read_publication(connection_, name_);
    catalog_ = read_catalog_tables(connection_);
    wanted_ = select_tables(catalog_, spec_);
    if (existing && !existing->managed) verify_foreign(std::move(*existing));
  }

 private:
  PublicationOutcome keep() {
    auto existing = read_publication(connection_, name_, Filters::as_stored);
    catalog_ = read_catalog_tables(connection_);
    wanted_ = select_tables(catalog_, spec_);
    if (existing && !existing->managed) return verify_foreign(std::move(*existing));
    bool everything = existing ? existing->all_tables : may_publish_everything();
    bool all_tables = everything && spec_.tables.everything();
    return write(existing, all_tables);
  }

  bool may_publish_everything() {
    if (!spec_.tables.everything()) return false;
    return connection_
        .query("select pg_catalog.current_setting('is_superuser') = 'on'", "reading our privileges")
        .flag(0, 0);
  }

  PublicationOutcome write(const std::optional<PublicationInfo>& existing, bool all_tables) {
    int version = connection_.server_version();
    std::string create = create_publication_sql(spec_, wanted_, all_tables, version);
    std::string name = quote_identifier(name_);
    std::string mark = fingerprint(create);
    if (existing && comment_on(connection_, name_) == mark && (all_tables || members_as_wanted()))
      return {PublicationChange::unchanged, *existing, {}};
    std::string sql = create;
    if (existing && existing->all_tables == all_tables) {
      // Whoever looks later cannot tell an option that is set as it was from one that was another for a while.
      sql.clear();
      if (!options_as_wanted())
        sql = fmt::format("ALTER PUBLICATION {} SET {}", name, publication_options_sql(spec_, version));
      if (!all_tables) sql += set_members_sql(sql.empty() ? "" : "; ", name, version);
    } else if (existing) {
      // A list cannot become FOR ALL TABLES or the reverse. In one transaction no change falls between the two.
      sql = fmt::format("DROP PUBLICATION {}; {}", name, create);
    }
    Transaction transaction(connection_);
    try {
      if (!sql.empty())
        connection_.query(sql, existing ? "altering the publication" : "creating the publication");
    } catch (const Error& error) {
      throw explain_refusal(connection_, error, name_, sql);
    }
    check_identity_covered(connection_, name_);
    connection_.query(fmt::format("COMMENT ON PUBLICATION {} IS {}", name, quote_literal(mark)),
                      "marking the publication");
    transaction.commit();
    PublicationOutcome out{existing ? PublicationChange::altered : PublicationChange::created, reread(), {}};
    warn_of_refused(existing, out);
    return out;
  }

  /// Of the tables that are new in it: that the source's applications hit this is worse than any trouble here.
  void warn_of_refused(const std::optional<PublicationInfo>& before, PublicationOutcome& now) {
    std::set<Oid> known;
    if (before) {
      for (const auto& table : before->tables) known.insert(table.oid);
    }
    std::vector<Oid> added;
    for (const auto& table : now.info.tables) {
      if (!known.contains(table.oid)) added.push_back(table.oid);
    }
    if (added.empty()) return;
    if (auto told = tell_refused(without_identity(connection_, added)); !told.empty())
      now.warnings.push_back(std::move(told));
  }

  /// SET TABLE takes no empty list.
  std::string set_members_sql(std::string between, const std::string& name, int version) {
    if (!wanted_.empty())
      return fmt::format("{}ALTER PUBLICATION {} SET TABLE {}", between, name,
                         table_list_sql(wanted_, version));
    auto members = read_members(connection_, name_);
    std::string sql;
    for (const auto& table : catalog_) {
      if (!members.contains(table.oid)) continue;
      sql += fmt::format("{}ALTER PUBLICATION {} DROP TABLE ONLY {}", between, name,
                         quote_qualified(table.schema, table.name));
      between = "; ";
    }
    return sql;
  }

  /// See publication_options_sql().
  bool options_as_wanted() {
    bool generated = connection_.server_version() >= 180000 && spec_.generated_columns;
    auto row = connection_.query(
        fmt::format("select pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot = {}{} from "
                    "pg_catalog.pg_publication where pubname = {}",
                    spec_.via_partition_root, generated ? " and pubgencols = 's'" : "", quote_literal(name_)),
        "reading the publication's options");
    return row.rows() > 0 && row.flag(0, 0);
  }

  bool members_as_wanted() {
    std::set<Oid> wanted;
    for (const SelectedTable& selected : wanted_) wanted.insert(selected.table.oid);
    return wanted == read_members(connection_, name_);
  }

  PublicationInfo reread() {
    auto info = read_publication(connection_, name_, Filters::as_stored);
    TAILRACE_CHECK(info.has_value());
    return std::move(*info);
  }

  /// publication.create is off: what it publishes is what there is.
  PublicationOutcome adopt() {
    auto info = read_publications(connection_, spec_.names, Filters::as_stored);
    if (!info) refuse_missing();
    PublicationOutcome out{PublicationChange::unchanged, std::move(*info), {}};
    warn_of_flags(out.info, spec_, out.warnings);
    if (!out.info.tables.empty() && std::ranges::none_of(out.info.tables, [&](const PublishedTable& table) {
          return spec_.tables.selects(table.schema, table.name);
        }))
      throw Error(Retry::needs_operator,
                  fmt::format("publication \"{}\" publishes none of the selected tables", out.info.name),
                  fmt::format("ALTER PUBLICATION {} ADD TABLE ...;", quote_identifier(name_)));
    return out;
  }

  [[noreturn]] void refuse_missing() {
    for (const auto& name : spec_.names) {
      if (read_publication(connection_, name)) continue;
      throw Error(Retry::needs_operator, fmt::format("there is no publication \"{}\" on the source", name),
                  fmt::format("CREATE PUBLICATION {} FOR TABLE ...; or set publication.create: on",
                              quote_identifier(name)));
    }
    throw Error(Retry::transient, "a publication was dropped and made again at this moment");
  }

  /// A publication of this name that somebody else made: used, if it is enough, and never altered.
  PublicationOutcome verify_foreign(PublicationInfo info) {
    std::string name = quote_identifier(name_);
    std::string own = "Give this mirror another one: --publication NAME";
    std::set<Oid> published;
    for (const PublishedTable& table : info.tables) published.insert(table.oid);
    std::vector<SelectedTable> missing;
    for (const SelectedTable& selected : wanted_) {
      if (!selected.columns.empty() || !selected.where.empty())
        throw Error(
            Retry::needs_operator,
            fmt::format("publication \"{}\" was not made by tailrace, so the columns or where of {} cannot be "
                        "put into it",
                        name_, selected.table.qualified()),
            own);
      if (!published.contains(selected.table.oid) && !leaf_published(selected.table, published))
        missing.push_back(selected);
    }
    if (!missing.empty())
      throw Error(
          Retry::needs_operator,
          fmt::format("publication \"{}\", which tailrace did not make, lacks {} of the selected tables, among "
                      "them {}",
                      name_, missing.size(), missing.front().table.qualified()),
          fmt::format("ALTER PUBLICATION {} ADD TABLE {}; {}", name,
                      missing.size() <= 20 ? table_list_sql(missing, connection_.server_version()) : "...",
                      own));
    PublicationOutcome out{PublicationChange::unchanged, std::move(info), {}};
    warn_of_flags(out.info, spec_, out.warnings);
    return out;
  }

  /// A root is there by its leaves when the publication does not publish via the root.
  bool leaf_published(const CatalogTable& root, const std::set<Oid>& published) const {
    return root.partitioned && std::ranges::any_of(catalog_, [&](const CatalogTable& table) {
             return table.parent == root.oid &&
                    (published.contains(table.oid) || leaf_published(table, published));
           });
  }

  pg::Connection& connection_;
  const PublicationSpec& spec_;
  const std::string& name_;  ///< the one that is ours to make
  std::vector<CatalogTable> catalog_;
  std::vector<SelectedTable> wanted_;
};

}  // namespace

std::optional<PublicationInfo> read_publication(pg::Connection& connection, const std::string& name,
                                                Filters filters) {
  auto row = connection.query(
      fmt::format("select puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, {} "
                  "from pg_catalog.pg_publication where pubname = {}",
                  connection.server_version() >= 180000 ? "pubgencols <> 'n'" : "false", quote_literal(name)),
      "reading the publication");
  if (row.rows() == 0) return std::nullopt;
  PublicationInfo info;
  info.name = name;
  info.all_tables = row.flag(0, 0);
  info.via_partition_root = row.flag(0, 5);
  info.generated_columns = row.flag(0, 6);
  info.managed = comment_on(connection, name).starts_with(marker);
  info.tables = read_published_tables(connection, name, filters);
  for (auto& table : info.tables) {
    table.insert = row.flag(0, 1);
    table.update = row.flag(0, 2);
    table.remove = row.flag(0, 3);
    table.truncate = row.flag(0, 4);
  }
  return info;
}

PublicationOutcome ensure_publication(pg::Connection& connection, const PublicationSpec& spec) {
  return Keeper(connection, spec).ensure();
}

void check_publication(pg::Connection& connection, const PublicationSpec& spec) {
  Keeper(connection, spec).check();
}

Error explain_missing(const Error& error, const std::vector<std::string>& names, bool missing) {
  std::string name = fmt::format("{}", fmt::join(names, ", "));
  Error out(Retry::needs_operator,
            missing ? fmt::format("publication \"{}\" does not exist any more", name)
                    : fmt::format(
                          "publication \"{}\" was dropped and made again; a server before PostgreSQL 18 cannot "
                          "send what was changed before that",
                          name),
            fmt::format("The changes since it was dropped cannot be had. {}", copy_all_anew));
  out.with_sqlstate(error.sqlstate());
  return out;
}

void check_known_to_slot(pg::Connection& connection, const std::string& slot,
                         const std::vector<std::string>& names, bool missing) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ",") + quote_identifier(name);
  try {
    connection.query("set statement_timeout = '10s'", "looking for the publication in the slot's past");
    connection.query(
        fmt::format(
            "select pg_catalog.count(*) from pg_catalog.pg_logical_slot_peek_binary_changes({}, null, 1, "
            "'proto_version', '1', 'publication_names', {})",
            quote_literal(slot), quote_literal(list)),
        "looking for the publication in the slot's past");
  } catch (const Error& error) {
    if (error.sqlstate() == undefined_object) throw explain_missing(error, names, missing);
    log::debug("source", "whether the slot knows the publication is not known: {}", error.what());
  }
}

bool drop_publication(pg::Connection& connection, const std::string& name) {
  if (!comment_on(connection, name).starts_with(marker)) return false;
  connection.query("DROP PUBLICATION IF EXISTS " + quote_identifier(name), "dropping the publication");
  return true;
}

}  // namespace tailrace::source
