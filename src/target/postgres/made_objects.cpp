#include "target/postgres/made_objects.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/target_table.h"
#include "target/target.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* looking = "looking for what the target has";
constexpr const char* taking_notes = "noting what was made at the target";
constexpr Oid type_catalog = 1247;
constexpr Oid function_catalog = 1255;
constexpr Oid relation_catalog = 1259;

constexpr std::string_view identity_of =
    "case {0} when 1247 then pg_catalog.to_regtype({1})::pg_catalog.oid when 1255 then "
    "pg_catalog.to_regprocedure({1})::pg_catalog.oid "
    "when 3456 then pg_catalog.to_regcollation({1})::pg_catalog.oid "
    "else pg_catalog.to_regclass({1})::pg_catalog.oid end";

std::string quoted(const std::string& name) {
  return quote_literal(name);
}

}  // namespace

MadeObjects::MadeObjects(pg::Connection& connection, const std::string& subscription, bool books)
    : connection_(connection), literal_(quote_literal(subscription)), books_(books) {}

std::vector<bool> MadeObjects::present(const std::vector<schema::NamedObject>& objects,
                                       const schema::Strangers& strangers, const Wanted& wanted) {
  for (const auto& [type, _] : strangers.running)
    other_.insert_or_assign(type, fmt::format("with code of others, which would run with the rights of the "
                                              "target's superuser. {}",
                                              schema::what_to_do_about_strangers));
  std::vector<bool> out;
  for (const auto& object : objects) {
    auto name = quoted(object.name);
    auto identity = fmt::format(fmt::runtime(identity_of), object.catalog, name);
    std::string definition = "''";
    if (object.catalog == type_catalog) {
      definition = fmt::format("(select {} from pg_catalog.pg_type t where t.oid = pg_catalog.to_regtype({}))",
                               schema::type_definition(), name);
    } else if (object.catalog == function_catalog) {
      definition = fmt::format(
          "(select pg_catalog.md5(prosrc) from pg_catalog.pg_proc where oid = pg_catalog.to_regprocedure({}))",
          name);
    } else if (object.catalog == relation_catalog) {
      definition = fmt::format(
          "(select relkind::pg_catalog.text from pg_catalog.pg_class "
          "where oid = pg_catalog.to_regclass({}))",
          name);
    }
    auto ours = books_ ? fmt::format(
                             "exists (select from tailrace.made m where m.subscription = {} and "
                             "m.catalog = {} and m.oid = i.oid)",
                             literal_, object.catalog)
                       : "false";
    auto there =
        look(fmt::format("select i.oid, {}, {} from (select {} as oid) i", definition, ours, identity));
    out.push_back(there && !there->is_null(0, 0));
    if (!out.back()) {
      if (!object.stays_out && wanted(object)) {
        wanted_.push_back(object);
      } else {
        out.back() = true;
      }
      continue;
    }
    if (there->str(0, 1) == object.definition) continue;
    if (object.catalog == relation_catalog || object.catalog == function_catalog) {
      log::warn("schema", "the target has something else under the name of the source's {}, and keeps it",
                object.name);
      continue;
    }
    auto source_labels = labels(object.definition);
    auto labels_there = labels(there->str(0, 1));
    bool has_all = !source_labels.empty() && std::ranges::all_of(source_labels, [&](const auto& label) {
      return std::ranges::find(labels_there, label) != labels_there.end();
    });
    if (has_all) continue;
    if (!source_labels.empty() && !labels_there.empty() && there->flag(0, 2)) {
      add_labels(object.name, object.definition, labels_there);
    } else {
      other_.emplace(object.name, there->str(0, 1));
    }
  }
  spread_differences(objects);
  return out;
}

/// What has another type in it is another.
void MadeObjects::spread_differences(const std::vector<schema::NamedObject>& objects) {
  for (bool more = !other_.empty(); more;) {
    more = false;
    for (const auto& object : objects) {
      if (other_.contains(object.name)) continue;
      auto part = std::ranges::find_if(object.made_of, [&](const auto& name) { return other_.contains(name); });
      if (part == object.made_of.end()) continue;
      other_.emplace(object.name, fmt::format("with {} in it, {}", *part, other_.at(*part)));
      more = true;
    }
  }
}

/// Nothing where a function's argument is of a type that the target does not have: servers before 16 refuse to
/// look for it then.
std::optional<pg::Result> MadeObjects::look(const std::string& sql) {
  try {
    return connection_.query(sql, looking);
  } catch (const Error& error) {
    if (error.sqlstate() != "42704" && error.sqlstate() != "3F000") throw;
    return std::nullopt;
  }
}

/// Of an enum's definition; nothing of another's.
std::vector<std::string> MadeObjects::labels(const std::string& definition) {
  std::vector<std::string> out;
  if (!definition.starts_with('\'') && !definition.starts_with(" E'")) return out;
  auto rows = connection_.query(
      fmt::format("select pg_catalog.unnest(array[{}]::pg_catalog.text[])", definition), looking);
  for (int i = 0; i < rows.rows(); ++i) out.push_back(rows.str(i, 0));
  return out;
}

void MadeObjects::add_labels(const std::string& type, const std::string& source,
                             const std::vector<std::string>& there) {
  auto wanted = labels(source);
  std::set<std::string> has(there.begin(), there.end());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (has.contains(wanted[i])) continue;
    std::string place;
    if (i > 0) {
      place = " after " + quote_literal(wanted[i - 1]);
    } else if (!there.empty()) {
      place = " before " + quote_literal(there.front());
    }
    try {
      connection_.query(
          fmt::format("alter type {} add value if not exists {}{}", type, quote_literal(wanted[i]), place),
          fmt::format("giving the target's enum {} its new label", type));
    } catch (const Error& error) {
      if (error.retry() == Retry::transient) throw;
      // Whoever needs it says so.
      log::warn("schema", "{}", error.message());
      other_.insert_or_assign(type, fmt::format("without {}", quote_literal(wanted[i])));
      return;
    }
    has.insert(wanted[i]);
    log::info("schema", "the target's enum {} got the source's new label {}", type, quote_literal(wanted[i]));
  }
}

std::vector<schema::Statement> MadeObjects::notes() const {
  std::vector<schema::Statement> out;
  for (const auto& object : wanted_) {
    // Whose the others are is never asked.
    if (object.catalog != type_catalog && object.catalog != relation_catalog) continue;
    out.push_back(
        {"tailrace's notes",
         fmt::format(
             "insert into tailrace.made values ({}, {}, {}, 0, false) on conflict (subscription, catalog, "
             "name) do update set oid = 0, again = false",
             literal_, object.catalog, quoted(object.name))});
  }
  return out;
}

void MadeObjects::identify(bool all_made) {
  connection_.query(fmt::format("update tailrace.made m set oid = coalesce(case m.catalog when {} then "
                                "pg_catalog.to_regtype(m.name)::pg_catalog.oid "
                                "else pg_catalog.to_regclass(m.name)::pg_catalog.oid end, 0) "
                                "where subscription = {} and oid = 0 and not again",
                                type_catalog, literal_),
                    taking_notes);
  if (!all_made) return;
  connection_.query(
      fmt::format("delete from tailrace.made where subscription = {} and oid = 0 and not again", literal_),
      taking_notes);
}

void MadeObjects::forget() {
  wanted_.clear();
  other_.clear();
}

std::set<std::string> MadeObjects::to_make_again() {
  std::set<std::string> out;
  auto rows = connection_.query(
      fmt::format("select name from tailrace.made where subscription = {} and again", literal_), looking);
  for (int i = 0; i < rows.rows(); ++i) out.insert(rows.str(i, 0));
  return out;
}

void MadeObjects::forget_to_make_again() {
  connection_.query(fmt::format("delete from tailrace.made where subscription = {} and again", literal_),
                    taking_notes);
}

std::optional<std::string> MadeObjects::differs(const schema::Type& type) const {
  if (type.builtin) return std::nullopt;
  if (type.element) return differs(*type.element);
  auto found = other_.find(quote_qualified(type.schema, type.name));
  // As regtype shows it, only what needs quotes has them.
  if (found == other_.end()) {
    found = std::ranges::find_if(
        other_, [&](const auto& other) { return other.first == type.schema + "." + type.name; });
  }
  if (found == other_.end()) return std::nullopt;
  return fmt::format("the type {} is another at the target ({})", found->first, found->second);
}

schema::Statement MadeObjects::noting(schema::Statement statement) const {
  bool known = std::ranges::any_of(std::array{"trigger ", "policy ", "constraint "},
                                   [&](const char* kind) { return statement.what.starts_with(kind); });
  if (!known || statement.relation.empty()) return statement;
  statement.sql += fmt::format(
      ";\ninsert into tailrace.made (subscription, catalog, name, oid) select {0}, o.catalog, {1}, o.oid from ("
      "select 2620::pg_catalog.oid as catalog, oid, 'trigger ' || tgname as what, tgrelid as relation "
      "from pg_catalog.pg_trigger union all "
      "select 3256, oid, 'policy ' || polname, polrelid from pg_catalog.pg_policy union all "
      "select 2606, oid, 'constraint ' || conname, conrelid from pg_catalog.pg_constraint) o "
      "join pg_catalog.pg_class c on c.oid = o.relation "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "where o.relation = pg_catalog.to_regclass({2}) "
      "and o.what || ' of ' || n.nspname || '.' || c.relname = {1} "
      "on conflict (subscription, catalog, name) do update set oid = excluded.oid, again = false",
      literal_, quoted(statement.what), quoted(statement.relation));
  return statement;
}

bool MadeObjects::make_way(pg::Connection& session, Oid source_table, Oid relation, const std::string& column,
                           bool goes) {
  bool guards = drop_guards_of(session, relation, column, goes);
  return drop_views_on(session, source_table, relation, column) || guards;
}

/// A partition's go with their root's.
bool MadeObjects::drop_guards_of(pg::Connection& session, Oid relation, const std::string& column, bool goes) {
  auto rows = session.query(
      fmt::format(
          "with altered as (select attrelid, attnum from pg_catalog.pg_attribute where attrelid = {0} "
          "and attname = {1}), leaning as (select d.classid, d.objid from pg_catalog.pg_depend d "
          "join altered a on d.refclassid = 1259 and d.refobjid = a.attrelid and d.refobjsubid = a.attnum) "
          "select m.catalog, m.name, o.drop from ("
          "select l.classid, l.objid, pg_catalog.format('drop trigger %I on %s', t.tgname, "
          "t.tgrelid::pg_catalog.regclass) as drop from leaning l join pg_catalog.pg_trigger t "
          "on l.classid = 2620 and t.oid = l.objid where t.tgparentid = 0 union "
          "select l.classid, l.objid, pg_catalog.format('drop policy %I on %s', p.polname, "
          "p.polrelid::pg_catalog.regclass) from leaning l join pg_catalog.pg_policy p "
          "on l.classid = 3256 and p.oid = l.objid union "
          "select 2606, k.oid, pg_catalog.format('alter table %s drop constraint %I', "
          "k.conrelid::pg_catalog.regclass, k.conname) from altered a join pg_catalog.pg_constraint k "
          "on {2} and k.contype = 'f' and k.confrelid = a.attrelid and a.attnum = any(k.confkey) "
          "and k.conparentid = 0) o join tailrace.made m on m.subscription = {3} and m.catalog = o.classid "
          "and m.oid = o.objid",
          relation, quote_literal(column), goes, literal_),
      looking);
  for (int i = 0; i < rows.rows(); ++i) {
    session.query(rows.str(i, 2), "removing what is in the way");
    session.query(
        fmt::format("update tailrace.made set oid = 0, again = true where subscription = {} and catalog = {} "
                    "and name = {}",
                    literal_, rows.oid(i, 0), quote_literal(rows.get(i, 1))),
        taking_notes);
    log::info("schema", "the target's {} gave way to a change of a column", rows.get(i, 1));
  }
  gave_way_ |= rows.rows() > 0;
  return rows.rows() > 0;
}

bool MadeObjects::drop_views_on(pg::Connection& session, Oid source_table, Oid relation,
                                const std::string& column) {
  auto rows = session.query(
      fmt::format(
          "with recursive needing as ("
          "select r.ev_class as oid, 1 as depth from pg_catalog.pg_depend d join pg_catalog.pg_rewrite r "
          "on d.classid = 2618 and r.oid = d.objid "
          "join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid "
          "where d.refclassid = 1259 and d.refobjid = {0} and a.attname = {1} and r.ev_class <> {0} "
          "union select r.ev_class, n.depth + 1 from needing n join pg_catalog.pg_depend d on d.refclassid = "
          "1259 "
          "and d.refobjid = n.oid join pg_catalog.pg_rewrite r on d.classid = 2618 and r.oid = d.objid "
          "where r.ev_class <> n.oid) "
          "select c.oid::pg_catalog.regclass::pg_catalog.text, c.relkind, m.oid is not null "
          "from (select oid, pg_catalog.max(depth) as depth from needing group by oid) n "
          "join pg_catalog.pg_class c on c.oid = n.oid left join tailrace.made m on m.subscription = {2} "
          "and m.catalog = 1259 and m.oid = c.oid order by n.depth desc",
          relation, quote_literal(column), literal_),
      looking);
  if (rows.rows() == 0) return false;
  for (int i = 0; i < rows.rows(); ++i) {
    if (rows.flag(i, 2)) continue;
    throw TableRefused(
        source_table,
        fmt::format("column {} cannot change at the target as it does at the source, because the "
                    "target's view {} uses it",
                    column, rows.get(i, 0)),
        fmt::format("DROP VIEW {} there", rows.get(i, 0)));
  }
  gave_way_ = true;
  for (int i = 0; i < rows.rows(); ++i) {
    bool materialized = rows.get(i, 1) == "m";
    session.query(fmt::format("drop {} {}", materialized ? "materialized view" : "view", rows.get(i, 0)),
                  "removing a view that is in the way");
    session.query(fmt::format("update tailrace.made set oid = 0, again = true where subscription = {} and "
                              "catalog = 1259 and name = {}",
                              literal_, quote_literal(rows.get(i, 0))),
                  taking_notes);
    log::info("schema", "the target's view {} gave way to a change of a column", rows.get(i, 0));
  }
  return true;
}

}  // namespace tailrace::target::postgres
