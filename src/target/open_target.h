#pragma once
// The one place that knows every kind of target by name.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "model/conflict.h"
#include "target/postgres/sequence_keeper.h"
#include "target/target.h"

namespace tailrace::target {

struct OpenOptions {
  std::string kind;               ///< duckdb, postgres; the configuration has judged it
  std::string path;               ///< a file, or a connection string with its secrets
  std::string name;               ///< of the mirror: several may share a PostgreSQL target
  std::int64_t memory_bytes = 0;  ///< DuckDB's own limit
  unsigned file_mode = 0600;      ///< of a new DuckDB file
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
  /// Told what is going on where that takes long, and how far it is; from the calling thread of whatever does.
  std::function<void(const std::string& what)> doing = {};
};

std::unique_ptr<Target> open(const OpenOptions& options);

/// Sets the sequences of a PostgreSQL target that belong to these tables exactly as they stand at the source,
/// also beside a running tailrace.
postgres::SequencesSet sync_sequences(const OpenOptions& options, pg::Connection& source,
                                      const std::vector<Oid>& tables);

/// What a mirror has that nothing runs on; nothing is written. Nothing: it follows nothing there. Error: the
/// target cannot be asked.
std::optional<Checkpoint> read_checkpoint(const OpenOptions& options);

/// Removes what tailrace keeps at a target that is not its own (a PostgreSQL database), besides the mirrored
/// tables. False if there was nothing.
bool forget(const OpenOptions& options);

}  // namespace tailrace::target
