#pragma once
// DuckDbTarget: a mirror in one DuckDB file. See target.h for the contract, docs/types.md for the types.

#include <map>
#include <mutex>
#include <set>

#include "model/type_rules.h"
#include "target/target.h"

namespace tailrace::target {

struct DuckDbOptions {
  std::string file;
  std::int64_t memory_bytes = 0;  ///< DuckDB's own limit; 0 is its default
  bool keep_rows =
      false;  ///< tables that somebody loaded into the file are taken for the source's: see adopt()
  unsigned file_mode = 0600;  ///< of a new file; one that is there keeps its own
  TypeRules types = {};       ///< of columns whose tables are copied from now on
};

/// Opens or creates the file. Errors: another process has it, it is no mirror of ours, full disk.
std::unique_ptr<Target> open_duckdb(const DuckDbOptions& options);

/// Of a file that nobody has open; nothing is written. Nothing: there is no such file, or it follows nothing.
std::optional<Books> read_duckdb_books(const std::string& file);

struct Peeked {
  std::optional<Checkpoint> checkpoint;
  std::vector<TableRecord> tables;  ///< with their names, and whether they are copied
};
/// The same, for a file that is to be a target: throws what opening it would.
Peeked peek_duckdb(const DuckDbOptions& options);

/// Throws what a start would where the settings say otherwise of columns than when they were copied. `read`:
/// gives the tables that are followed; it is asked only where that may be.
void check_duckdb_types(const DuckDbOptions& options, const std::function<std::vector<schema::Table>()>& read);

/// Of a file that was there before: removes what a start left that copied no table whole. What could not go,
/// for people. Nothing: all is to stay, for a table is whole.
std::optional<std::vector<std::string>> take_back_duckdb(const std::string& file);

/// The target for reading only, for a file that no tailrace has open.
std::unique_ptr<TargetView> open_duckdb_view(const DuckDbOptions& options);

}  // namespace tailrace::target
