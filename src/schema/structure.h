#pragma once
// Structure: the SQL that recreates tables, and what belongs to them, at a PostgreSQL of another version. It is
// read from the catalogs, because pg_dump refuses a server that is newer than itself.

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"
#include "schema/role_rights.h"
#include "schema/strangers.h"

namespace tailrace::schema {

struct Statement {
  std::string what;  ///< for people: "table public.orders"
  std::string sql;
  /// Roles that it speaks of. If the target has none of them, the statement is left out with a warning.
  std::vector<std::string> roles = {};
  /// A nicety, such as a storage setting: a target that refuses it causes a warning and no Error.
  bool optional = false;
  Oid table = 0;  ///< of an index or a table: the source's table whose rows it is of; of a partition: its root
  std::string partition = {};  ///< what makes one, or alters it: its name
  std::string index = {};      ///< what makes one: its name
  std::string relation = {};   ///< the table that it alters or adds to, by its name, where that is noted
  std::string refused = {};    ///< why a table or partition is not to be made
};

/// A type, function, collation, view or sequence, and what tells whether another of its name is the same.
struct NamedObject {
  Oid catalog = 0;         ///< pg_type, pg_proc, pg_collation or pg_class
  std::string name;        ///< as the type regtype, regprocedure, regcollation or regclass shows and reads it
  std::string definition;  ///< of a type: see type_definition(); of a relation its relkind
  std::vector<std::string> made_of = {};  ///< of a type: the names of others that it has in it
  bool stays_out = false;                 ///< is not made, even if it is not there
};

/// SQL for the definition of a type, the row `t` of pg_type: of an enum its labels, as literals.
std::string type_definition();

/// In the order of their use. Inside of a list the order is a good one, yet what needs what is not worked out:
/// run_structure() tries again what came too early.
struct Structure {
  std::vector<Statement>
      before_data;  ///< schemas, extensions, types, sequences, functions, tables without keys
  /// Indexes, PRIMARY KEY, UNIQUE and EXCLUDE of what holds rows. Each stands alone: they may run in parallel.
  std::vector<Statement> indexes;
  /// The indexes of partitioned tables, which only tie those of the partitions together, then constraints,
  /// views, triggers, policies, comments, filled materialized views, and owners and privileges if wanted.
  std::vector<Statement> after_data;
  std::set<std::string> roles;      ///< that owners and privileges name
  std::vector<std::string> forced;  ///< tables that bind their owner too by their policies, for people
};

/// A table that the target has already.
struct FollowedTable {
  struct Column {
    std::int16_t attnum = 0;
    std::string name = {};
    Oid type = 0;
    std::int32_t typmod = -1;
    auto operator<=>(const Column&) const = default;
  };
  Oid oid = 0;
  std::string name = {};  ///< there, quoted; empty: what is made cannot inherit from it
  /// Of the source's table, as the target's is now: what is made inherits from it only if it is still so.
  std::set<Column> columns = {};
};

struct StructureOptions {
  bool owners = false;
  bool privileges = false;
  int target_version = 0;  ///< as 150004; 0: that of the source
  /// All may run with the rights of the target's role. Else what the target evaluates by itself is left out, or
  /// made so that it does not run, unless its owner's rights are as good or it calls nothing of users.
  bool trust_source = false;
  std::string target_role;  ///< that makes everything
  bool target_superuser = true;
  RoleRights target_rights = {};
  /// To whom the target's default privileges would open what is made, quoted, by the kind of object
  /// (pg_default_acl).
  std::map<char, std::vector<std::string>> opened_to;
  /// Schemas of the target in which somebody may make things who has fewer rights than its role.
  std::vector<std::string> open_schemas = {};
  /// What others have at the target: it may be used under its name, but not so that it runs.
  Strangers strangers = {};

  /// Tables that are at the target already, so that what needs them can be made there.
  std::vector<FollowedTable> followed = {};
  /// The tables themselves are there too: what may not be a key is told of a partition that has it.
  bool are_there = false;
  /// For each of the objects whether it stays out of the structure, as the target has it.
  std::function<std::vector<bool>(const std::vector<NamedObject>&)> leaves_out = {};

  /// What is read for a target that has nothing.
  bool same_for_empty_target(const StructureOptions& other) const {
    return owners == other.owners && privileges == other.privileges && target_version == other.target_version &&
           trust_source == other.trust_source && target_role == other.target_role &&
           target_superuser == other.target_superuser && target_rights == other.target_rights &&
           opened_to == other.opened_to && open_schemas == other.open_schemas && strangers == other.strangers;
  }
};

/// Reads what recreates `tables` and what belongs to them. A partitioned table brings its whole tree; every
/// schema with one of these tables brings its types, functions, views, sequences and collations, and what these
/// need from elsewhere. A view or function that needs a table that is not selected is left out with a warning.
/// The connection is in a REPEATABLE READ transaction, so that all of it is of one moment; search_path is
/// empty, as Connection::open leaves it. Throws Error when the target's version lacks what a table or an index
/// is made of.
Structure read_structure(pg::Connection& source, const std::vector<Oid>& tables,
                         const StructureOptions& options);
/// The same of a source that the caller need not know.
using ReadStructure = std::function<Structure(const std::vector<Oid>& tables, const StructureOptions& options)>;

/// `left_out`: what names something that nothing of these makes, in most cases from within a function
/// that leans on search_path, is left out with a warning. For what is made beside rows that are there.
enum class Missing { refused, left_out };

/// Runs the statements in one transaction of its own, in rounds: one that fails because something does not
/// exist yet is tried again in the next. Throws Error, with nothing left behind, when a round brings nothing
/// forward or when a statement fails for another reason. `then`: in the same transaction, at its end.
void run_structure(pg::Connection& target, const std::vector<Statement>& statements,
                   Missing missing = Missing::refused, const std::function<void()>& then = {});

}  // namespace tailrace::schema
