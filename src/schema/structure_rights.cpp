#include "base/log.h"
#include "base/sql_text.h"
#include "schema/role_rights.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

/// Where the target itself evaluates something while tailrace writes or makes things there: each a row of the
/// catalog, its object, the owner at the source, and the expression as a tree (pg_node_tree), in which ":funcid
/// 1" calls function 1.
constexpr std::string_view places = R"(
select 2606::pg_catalog.oid as c, k.oid as o, coalesce(r.relowner, t.typowner)
  as owner, k.conbin::pg_catalog.text as tree
from pg_catalog.pg_constraint k left join pg_catalog.pg_class r on r.oid = k.conrelid
left join pg_catalog.pg_type t on t.oid = k.contypid
where k.contype = 'c' and (k.conrelid = any($1) or k.contypid = any($3))
union all select 2604, d.oid, r.relowner, d.adbin::pg_catalog.text from pg_catalog.pg_attrdef d
join pg_catalog.pg_class r on r.oid = d.adrelid where d.adrelid = any($1)
union all select 1247, t.oid, t.typowner, t.typdefaultbin::pg_catalog.text from pg_catalog.pg_type t
where t.oid = any($3) and t.typdefaultbin is not null
union all select 1247, t.oid, t.typowner, ':funcid ' || r.rngsubdiff::pg_catalog.oid
  from pg_catalog.pg_range r
join pg_catalog.pg_type t on t.oid = r.rngtypid where t.oid = any($3) and r.rngsubdiff <> 0
union all select 3541, t.oid, t.typowner, ':funcid ' || r.rngcanonical::pg_catalog.oid
  from pg_catalog.pg_range r
join pg_catalog.pg_type t on t.oid = r.rngtypid where t.oid = any($3) and r.rngcanonical <> 0
union all select 1259, i.indexrelid, r.relowner,
  pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)
from pg_catalog.pg_index i join pg_catalog.pg_class r on r.oid = i.indrelid
where (i.indrelid = any($1) or i.indrelid = any($2)) and (i.indexprs is not null or i.indpred is not null)
union all select 3350, p.partrelid, r.relowner, p.partexprs::pg_catalog.text
  from pg_catalog.pg_partitioned_table p
join pg_catalog.pg_class r on r.oid = p.partrelid where p.partrelid = any($1) and p.partexprs is not null
union all select 2618, w.oid, r.relowner,
  pg_catalog.concat(w.ev_qual::pg_catalog.text, w.ev_action::pg_catalog.text)
from pg_catalog.pg_rewrite w join pg_catalog.pg_class r on r.oid = w.ev_class
  where case when w.rulename = '_RETURN'
  then r.relkind = 'm' and r.relispopulated and r.oid = any($2) and not {}::pg_catalog.bool
  else w.ev_enabled in ('A', 'R') and (r.oid = any($1) or r.oid = any($2)) end
union all select 2620, g.oid, r.relowner, pg_catalog.concat(g.tgqual::pg_catalog.text, ' :funcid ', g.tgfoid)
from pg_catalog.pg_trigger g join pg_catalog.pg_class r on r.oid = g.tgrelid
where r.oid = any($1) and g.tgenabled in ('A', 'R') and (not g.tgisinternal or g.tgparentid <> 0
  and not exists (select
  from pg_catalog.pg_constraint k where k.oid = g.tgconstraint and k.contype <> 't')))";

constexpr std::string_view statistics_places = R"(
union all select 3381, s.oid, r.relowner, s.stxexprs::pg_catalog.text from pg_catalog.pg_statistic_ext s
join pg_catalog.pg_class r on r.oid = s.stxrelid where s.stxrelid = any($1) and s.stxexprs is not null)";

constexpr const char* what_to_do =
    "Set schema.trust_source: on if whoever may change the schema at the source is trusted with these rights; "
    "connect to the target as a role of the same name that is no superuser; or make the table at the target by "
    "hand";

/// By the server, with the rights of its owner, who has no more of them at the target.
bool runs_as_owner(const StructureDraft& draft, const pg::Result& rows, int row) {
  if (rows.flag(row, 5) && superusers(draft.options.target_rights).contains(rows.str(row, 3))) return false;
  return draft.options.owners && rows.oid(row, 0) == catalog_oid::rewrite &&
         rows.get(row, 4).starts_with("contents of materialized view") &&
         draft.keep_their_own.contains(rows.str(row, 3));
}

void warn_of(const std::string& names) {
  if (names.empty()) return;
  log::warn("schema",
            "left out of the target's structure, or made so that it does not run, for the target's user has "
            "rights that its owner does not have: {}. See \"Whose code runs\" in docs/postgres-target.md; "
            "schema.trust_source: on makes all of it as at the source",
            names);
}

void warn_of_strange(const std::string& names) {
  if (names.empty()) return;
  log::warn(
      "schema",
      "left out of the target's structure, or made so that it does not run, for what somebody else has at "
      "the target under the names that it uses would run with the rights of the target's user: {}. {}",
      names, what_to_do_about_strangers);
}

void warn_of_stronger(const StructureDraft& draft) {
  std::string names;
  for (const auto& role : draft.stronger) names += (names.empty() ? "" : ", ") + quote_identifier(role);
  log::warn(
      "schema",
      "schema.owners: what these roles own at the source stays the target user's, for the roles of their "
      "names at the target may do more there (attributes, memberships): {}. Give both the same rights, or "
      "set schema.trust_source: on",
      names);
}

}  // namespace

std::string evaluated_places(int version, std::string_view owners) {
  return fmt::format(places, owners) + std::string(version >= 140000 ? statistics_places : "");
}

bool StructureDraft::must_not_run(Oid catalog, Oid object) const {
  return untrusted.contains({catalog, object}) || cannot_run.contains({catalog, object});
}

std::string StructureDraft::untrusted_owner(std::string_view owner) const {
  if (options.trust_source) return "false";
  return fmt::format(
      "(not exists (select from pg_catalog.pg_roles tr where tr.oid = {} and (tr.rolsuper or "
      "tr.rolname = any({}::pg_catalog.text[]))))",
      owner, quote_literal(as_text_array(keep_their_own)));
}

std::string StructureDraft::acts_as() const {
  bool fewer = !options.target_superuser && !stronger.contains(options.target_role);
  return fewer ? options.target_role : "";
}

namespace {

/// Holds the roles of the source against those of their names at the target.
void read_roles(StructureDraft& draft) {
  auto here = read_role_rights(draft.source);
  const auto& there = draft.options.target_rights;
  draft.stronger = stronger_there(here, there);
  draft.trusted = superusers(here);
  if (draft.options.owners) {
    auto powerful = superusers(there);
    for (const auto& [role, _] : here) {
      if (!draft.stronger.contains(role)) draft.keep_their_own.insert(role);
      // It owns what is made, and could change it: in a superuser's sessions.
      if (draft.options.target_superuser && there.contains(role) && !powerful.contains(role))
        draft.trusted.erase(role);
    }
    if (!draft.stronger.empty()) warn_of_stronger(draft);
  }
  if (auto ours = draft.acts_as(); !ours.empty()) {
    draft.trusted.insert(ours);
    draft.keep_their_own.insert(ours);
  }
}

}  // namespace

void look_for_places(StructureDraft& draft) {
  auto any = draft.source.query(
      fmt::format("select exists (select from ({}) place)", evaluated_places(draft.from(), "false")),
      {as_array(draft.scope.tables), as_array(draft.scope.views), as_array(draft.scope.types)},
      "looking for what the structure evaluates");
  draft.evaluates = any.flag(0, 0);
}

void read_rights(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select p.oid from pg_catalog.pg_proc p where p.oid = any($1::pg_catalog.oid[]) and p.proacl is not null "
      "and not exists (select from pg_catalog.aclexplode(p.proacl) a where a.grantee = 0) "
      "union all select t.oid from pg_catalog.pg_type t where t.oid = any($2::pg_catalog.oid[]) "
      "and t.typacl is not null and not exists (select from pg_catalog.aclexplode(t.typacl) a where a.grantee "
      "= 0)",
      {as_array(draft.scope.functions), as_array(draft.scope.types)}, "reading what is not everybody's");
  for (int row = 0; row < rows.rows(); ++row) draft.not_everybodys.insert(rows.oid(row, 0));
  if (draft.options.trust_source) return;
  read_roles(draft);
  if (!draft.evaluates) return;
  rows = draft.source.query(what_must_not_run(evaluated_places(draft.from(), "$5"), draft.strange),
                            {as_array(draft.scope.tables), as_array(draft.scope.views),
                             as_array(draft.scope.types), as_text_array(draft.trusted), "false"},
                            "reading whose code the structure runs");
  std::string names;
  std::string strange;
  for (int row = 0; row < rows.rows(); ++row) {
    if (runs_as_owner(draft, rows, row)) continue;
    if (rows.oid(row, 0) == catalog_oid::partitioned || rows.oid(row, 0) == catalog_oid::range) {
      auto why = fmt::format("the {} of {} calls {}, which would run with the rights of the target's user{}",
                             rows.get(row, 4), rows.get(row, 3), rows.get(row, 2),
                             rows.flag(row, 5) ? ", for somebody else has that name there" : "");
      bool told_of_table = draft.options.are_there || rows.flag(row, 5);
      if (told_of_table && rows.oid(row, 0) == catalog_oid::partitioned) {
        draft.refused.emplace(rows.oid(row, 1), why);
        continue;
      }
      throw Error(Retry::needs_operator, why, what_to_do);
    }
    draft.untrusted.insert({rows.oid(row, 0), rows.oid(row, 1)});
    auto& list = rows.flag(row, 5) ? strange : names;
    list += (list.empty() ? "" : ", ") + name_of_place(rows, row);
  }
  warn_of(names);
  warn_of_strange(strange);
}

std::string StructureDraft::keep_closed(char kind, std::string_view name, Oid object) const {
  std::string from;
  if (not_everybodys.contains(object)) from = "PUBLIC";
  if (auto opened = options.opened_to.find(kind); opened != options.opened_to.end()) {
    for (const auto& role : opened->second) {
      if (role != from) from += (from.empty() ? "" : ", ") + role;
    }
  }
  if (from.empty()) return {};
  std::string_view word = kind == 'f'   ? "ROUTINE"
                          : kind == 'T' ? "TYPE"
                          : kind == 'S' ? "SEQUENCE"
                          : kind == 'n' ? "SCHEMA"
                                        : "TABLE";
  return fmt::format("; REVOKE ALL ON {} {} FROM {} CASCADE", word, name, from);
}

}  // namespace tailrace::schema
