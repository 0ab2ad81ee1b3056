#pragma once
// The one place that knows every kind of target by name.

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/conflict.h"
#include "model/type_rules.h"
#include "target/duckdb/duckdb_target.h"
#include "target/postgres/postgres_target.h"
#include "target/target.h"

namespace tailrace::target {

struct OpenOptions {
  std::string kind;               ///< duckdb, postgres; the configuration has judged it
  std::string path;               ///< a file, or a connection string with its secrets
  std::string name;               ///< of the mirror: several may share a PostgreSQL target
  std::int64_t memory_bytes = 0;  ///< DuckDB's own limit
  unsigned file_mode = 0600;      ///< of a new DuckDB file
  TypeRules types = {};           ///< of a DuckDB file
  bool make_structure = true;  ///< PostgreSQL: what is missing is made like the source's; else it must be there
  int connections = 2;         ///< PostgreSQL: that apply side by side
  bool lz4 = true;             ///< PostgreSQL: for wide values that are applied, where nobody chose
  bool owners = false;         ///< with owners
  bool privileges = false;     ///< with privileges
  bool trust_source = false;   ///< its code may run with the rights of the target's role
  /// Rows that the target's tables have already are taken for the source's. Nothing is copied then.
  bool keep_rows = false;
  bool in_loop = false;     ///< PostgreSQL: somebody follows the target, and must know what came from here
  bool quarantine = false;  ///< PostgreSQL: changes that are refused are kept aside; else they stop the run
  bool hold = true;         ///< and all later changes of their table with them
  ConflictSettings conflicts = {};  ///< PostgreSQL
  /// PostgreSQL: called while open() goes on, once it is known that the target has no tables yet, of which the
  /// structure is to be made.
  std::function<void(const schema::StructureOptions&)> found_empty = {};
  /// PostgreSQL: called with the first connection to the target, before anything is written there; what it
  /// throws, open() throws. `set_up`: this mirror has a checkpoint there.
  std::function<void(pg::Connection& target, bool set_up)> before_writing = {};
  /// PostgreSQL: told what the open transaction made at the target besides tailrace's own; it may come to
  /// nothing.
  std::function<void(const std::vector<postgres::NewObject>&)> made = {};
  /// Told what is going on where that takes long, and how far it is; from the calling thread of whatever does.
  std::function<void(const std::string& what)> doing = {};
};

std::unique_ptr<Target> open(const OpenOptions& options);

/// What the first start would refuse at a PostgreSQL target that has nothing of this mirror; nothing is
/// written. `coming`: see Target::check_rows(). Errors are thrown only where one end cannot be asked.
std::vector<Error> foresee_refusals(const OpenOptions& options, pg::Connection& target,
                                    const std::vector<schema::Table>& tables, const std::set<Oid>& coming,
                                    const schema::ReadStructure& read);

/// Sets the sequences of a PostgreSQL target that belong to these tables exactly as they stand at the source,
/// also beside a running tailrace.
postgres::SequencesSet sync_sequences(const OpenOptions& options, pg::Connection& source,
                                      const std::vector<Oid>& tables);

/// What a mirror has that nothing runs on; nothing is written. Nothing: it follows nothing there. Error: the
/// target cannot be asked.
std::optional<Books> read_books(const OpenOptions& options);

/// What a DuckDB file holds that nobody has open; nothing is written. Error: it cannot be used as a target.
Peeked peek(const OpenOptions& options);

/// Throws what a start would where types: says otherwise than the DuckDB file, which nobody has open. `read`:
/// gives the tables that are followed.
void check_chosen_types(const OpenOptions& options, const std::function<std::vector<schema::Table>()>& read);

/// Removes what tailrace keeps at a target that is not its own (a PostgreSQL database), besides the mirrored
/// tables.
Forgotten forget(const OpenOptions& options);

/// Removes what a start made at the target that copied no table whole, with nobody else at work there:
/// `traces` for PostgreSQL. The words, or SQL, for what could not go. Nothing: all is to stay.
std::optional<std::vector<std::string>> take_back(const OpenOptions& options, const PostgresTraces& traces);

}  // namespace tailrace::target
