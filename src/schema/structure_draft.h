#pragma once
// StructureDraft: a Structure while it is being read. Internal to the room: read_structure() passes it from one
// reader to the next, each of which adds the statements for its kind of object.

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "schema/structure.h"

namespace tailrace::schema {

/// The catalogs, by the OIDs that every version gives them.
namespace catalog_oid {
inline constexpr Oid type = 1247, proc = 1255, relation = 1259, attrdef = 2604, constraint = 2606,
                     language = 2612, oper = 2617, rewrite = 2618, trigger = 2620, name_space = 2615,
                     extension = 3079, policy = 3256, partitioned = 3350, statistics = 3381, collation = 3456,
                     range = 3541;
}

/// An object of the source as pg_depend speaks of it.
struct Object {
  Oid catalog = 0;
  Oid oid = 0;
  auto operator<=>(const Object&) const = default;
};

/// What is copied: the objects, each kind in the order of creation.
struct Scope {
  std::vector<Oid> followed;  ///< tables that the target has, and the partitions below them
  std::vector<Oid> tables;    ///< the selected ones and the partitions below them, without what extensions own
  std::vector<Oid> types;     ///< enums, domains, ranges, free-standing composite types
  std::vector<Oid> functions;
  std::vector<Oid> collations;
  std::vector<Oid> sequences;   ///< without those of identity columns
  std::vector<Oid> views;       ///< also materialized ones
  std::vector<Oid> extensions;  ///< that one of the objects needs
  std::set<Object> late;        ///< types and functions that need a view, so that they come after it
  std::set<Object> left_out;    ///< need a table that is not selected, or something else that is not copied
  std::set<Oid> on_left_out;    ///< foreign keys, indexes, triggers, policies and rules that do

  bool has_table(Oid oid) const;
  bool is_followed(Oid oid) const;
};

/// What of the source leans on something that is somebody else's at the target, by its name there.
struct Strange {
  std::vector<Oid> functions;
  std::vector<Oid> operators;
  std::vector<Oid> relations;
  std::vector<Oid> types;
  std::vector<Oid> running;  ///< types of which each value runs something of theirs there
};

struct StructureDraft {
  pg::Connection& source;
  StructureOptions options;
  Scope scope;
  Structure structure;
  std::set<Object> made;             ///< has a statement: so may have a comment, an owner, privileges
  std::set<Object> untrusted = {};   ///< what must not run, see read_rights(); a range: its subtype_diff
  std::set<Object> cannot_run = {};  ///< what would fail where it runs, see read_paths()
  Strange strange = {};
  std::map<Oid, std::string> refused = {};  ///< tables with a key that must not run: why
  std::map<Oid, std::string> paths = {};    ///< functions that need a search_path, and which: SQL
  std::set<Oid> not_everybodys = {};        ///< functions and types from whose use PUBLIC is kept
  std::set<std::string> trusted = {};       ///< roles whose code may run with the rights of the target's
  std::set<std::string> stronger = {};      ///< roles that may do more at the target than at the source
  /// Roles whose objects run with rights at the target that are no more than theirs at the source.
  std::set<std::string> keep_their_own = {};
  bool evaluates = true;  ///< there is anything of evaluated_places()

  int from() const { return source.server_version(); }
  int to() const { return options.target_version; }
  /// Both servers know what came with this version.
  bool both_since(int version) const { return from() >= version && to() >= version; }
  /// The list for a type or a function.
  std::vector<Statement>& list_for(Object object);
  bool must_not_run(Oid catalog, Oid object) const;
  /// The role of the source whose rights at the target are no more than it has there, by its name; or empty.
  std::string acts_as() const;
  /// SQL for a condition: what this role, an expression of type oid, owns must not run with the target's
  /// rights.
  std::string untrusted_owner(std::string_view owner) const;
  /// "; REVOKE ..." for what is made: it is not more open than at the source, whatever the target's default
  /// privileges say. `kind` as in pg_default_acl.
  std::string keep_closed(char kind, std::string_view name, Oid object = 0) const;
};

/// What of the source leans on what others have at the target.
Strange find_strange(pg::Connection& source, const Strangers& strangers);
/// The objects to copy. Warns of what is left out; that includes what needs one of the `types`, but for tables.
Scope read_scope(pg::Connection& source, const std::vector<Oid>& tables, const std::vector<Oid>& followed,
                 const std::vector<Oid>& types);

/// Takes out of the scope what stays out by StructureOptions::leaves_out.
void leave_out_present(StructureDraft& draft);

/// Whether there is anything of which to ask what it runs: plain tables have nothing, and to plan the two
/// questions takes longer than all others of a small structure.
void look_for_places(StructureDraft& draft);
/// What of the source must not run at the target, and warns of it.
void read_rights(StructureDraft& draft);
/// Which functions that the target itself will call need a search_path of their own, and what cannot be made
/// since theirs cannot be known or trusted. Warns of both.
void read_paths(StructureDraft& draft);
void read_schemas_and_extensions(StructureDraft& draft);
void read_types(StructureDraft& draft);
void read_sequences(StructureDraft& draft);
void read_sequence_owners(StructureDraft& draft);
void read_functions(StructureDraft& draft);
void read_tables(StructureDraft& draft);
void read_indexes(StructureDraft& draft);
void read_late_constraints(StructureDraft& draft);
void read_views(StructureDraft& draft);
void read_view_indexes(StructureDraft& draft);
void read_rules(StructureDraft& draft);
void read_triggers(StructureDraft& draft);
void read_policies(StructureDraft& draft);
void read_refreshes(StructureDraft& draft);
void read_comments(StructureDraft& draft);
void read_owners(StructureDraft& draft);
void read_privileges(StructureDraft& draft);

/// SQL for where the target itself evaluates something of the source's; see there. $1: tables, $2: views, $3:
/// types; `owners`, an expression: whether they come along, which leaves out some.
std::string evaluated_places(int version, std::string_view owners);

/// SQL: what of `places`, as evaluated_places() has them, must not run. What roles $4 own may call what such
/// roles own. Anybody else's may call what is harmless, whoever has written it. A view counts with what it
/// reads; a materialized one, if $5, does not, for it is filled with its owner's rights.
/// Nobody's may call or use what is `strange`; a column tells whether it would.
std::string what_must_not_run(std::string_view places, const Strange& strange = {});
/// What a row of it is about, for people.
std::string name_of_place(const pg::Result& rows, int row);

/// "{1,2}", as a parameter of type oid[].
std::string as_array(const std::vector<Oid>& oids);

/// The WITH list of storage parameters: SQL for an expression over the text[] `array`; null when there are
/// none.
std::string storage_options(std::string_view array, std::string_view prefix, int target_version);

/// SQL for an expression over pg_sequence `s`: " INCREMENT BY 1 MINVALUE ...".
extern const std::string_view sequence_options;

/// Throws an Error: `what` uses `feature`, which the target has only from `version` (as 15) on.
[[noreturn]] void refuse(std::string_view what, std::string_view feature, int version, int target_version);

}  // namespace tailrace::schema
