#pragma once
// PostgresTarget: a mirror in another PostgreSQL database. See target.h for the contract. The checkpoint is a
// row of tailrace.checkpoint there, written in the transaction whose data it covers; commits carry a
// replication origin where the user may make one (PostgreSQL documentation: "Replication Progress Tracking").

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/conflict.h"
#include "target/postgres/new_objects.h"
#include "target/postgres/sequence_keeper.h"
#include "target/target.h"

namespace tailrace::target {

/// `copy`: what the target lacks is made like the source's. `expect`: every table must be there.
enum class StructureMode { copy, expect };

/// What becomes of a change that the target refuses. `stop`: the run ends, having applied nothing of its
/// transaction. `quarantine`: it is kept aside, and
enum class OnError { stop, quarantine };
/// `hold`: so are all later changes of its table; `go_on`: only the refused ones are.
enum class AfterQuarantine { hold, go_on };

struct PostgresOptions {
  std::string conninfo;
  std::string subscription;  ///< whose checkpoint and tables these are: several may share a database
  StructureMode structure = StructureMode::copy;
  int connections = 2;  ///< that apply side by side
  bool lz4 = true;      ///< see ApplyOptions
  bool owners = false;
  bool privileges = false;
  bool trust_source = false;
  bool keep_rows = false;  ///< what the tables hold is taken for the source's; nothing will be copied
  bool in_loop = false;    ///< without a replication origin, what is written here would be sent back
  OnError on_error = OnError::stop;
  AfterQuarantine after_quarantine = AfterQuarantine::hold;
  ConflictSettings conflicts = {};
  std::function<void(const schema::StructureOptions&)> found_empty = {};         ///< see OpenOptions
  std::function<void(pg::Connection& target, bool set_up)> before_writing = {};  ///< see OpenOptions
  std::function<void(const std::string& what)> doing = {};                       ///< see OpenOptions
  std::function<void(const std::vector<postgres::NewObject>&)> made = {};        ///< see OpenOptions
};

/// What a start found at the target of its own name, and made there.
struct PostgresTraces {
  bool opened = false;                 ///< the target was open, and had neither checkpoint nor tables
  std::set<std::string> origins = {};  ///< that were there
  std::vector<postgres::NewObject> objects = {};  ///< that it made besides tailrace's own
};

struct Forgotten {
  bool books = false;
  std::set<std::string> origins = {};
};

/// Where the user made the target, he made its sequences.
inline postgres::SequenceOwnership ownership_of_sequences(const PostgresOptions& options) {
  return {options.subscription, options.structure == StructureMode::expect || options.keep_rows};
}

/// Errors: no connection, missing privileges, another tailrace of this name.
std::unique_ptr<Target> open_postgres(const PostgresOptions& options);

/// Sets the target's sequences that belong to these tables exactly as they stand at the source.
postgres::SequencesSet sync_sequences_postgres(const PostgresOptions& options, pg::Connection& source,
                                               const std::vector<Oid>& tables);

/// Removes what the subscription keeps at the target besides the mirrored tables themselves: its bookkeeping
/// (with the schema tailrace, if no other is left) and its origins. Errors: a tailrace of this name runs.
Forgotten forget_postgres(const PostgresOptions& options);

/// Removes what a start left that copied no table whole, and nothing that was there before it; also what it
/// made of the source's structure. The SQL that drops what could not go. Nothing: all is to stay, for it is
/// another run's, or a table is whole. Errors: the target cannot be asked.
std::optional<std::vector<std::string>> take_back_postgres(const PostgresOptions& options,
                                                           const PostgresTraces& traces);

/// Beside a running tailrace too; nothing is written. Nothing: this subscription has none there.
std::optional<Books> read_postgres_books(const PostgresOptions& options);

}  // namespace tailrace::target
