#pragma once
// Config: everything a user can set, as plain structs with their defaults. Filled from YAML
// (config_reader.h) and from the command line, then completed and judged by validation.h.

#include <chrono>
#include <cstdint>
#include <string>

#include "base/log.h"
#include "model/conflict.h"
#include "model/table_selection.h"

namespace tailrace::config {

using Milliseconds = std::chrono::milliseconds;

enum class Binary { automatic, on, off };

/// Which of the source's changes are followed: all, or only those that were made there, and did not come by
/// replication themselves.
enum class Origin { any, none };

/// `duckdb:FILE`, or a PostgreSQL URL.
struct Target {
  std::string kind;  ///< "duckdb", "postgres"
  std::string
      path;  ///< as the user wrote it: a file without the scheme, or a connection string with its secrets

  bool given() const { return !kind.empty(); }
  /// For people: without secrets.
  std::string url() const;
};

/// What a PostgreSQL target lacks: `copy` makes it like the source's, `expect` takes it as an error.
enum class Schema { copy, expect };

struct Slot {
  std::string name;       ///< empty: derived from Config::name
  bool create = true;     ///< false: it must exist
  bool failover = false;  ///< PostgreSQL 17+: synchronised to standbys
};

struct Publication {
  std::string name;                ///< empty: derived from Config::name
  bool create = true;              ///< false: an existing one is used as it is and never altered
  bool via_partition_root = true;  ///< partitioned tables appear as their root; false: as their leaves
};

struct Snapshot {
  bool enabled = true;  ///< false: follow from now on, copy nothing
  int readers = 4;      ///< parallel connections that copy
};

/// Bytes. 0 in a part means: derived from `memory` by complete().
struct Limits {
  std::uint64_t memory = 512ULL << 20;  ///< what the whole process should stay under
  std::uint64_t queue = 0;              ///< decoded changes between reader and runner
  std::uint64_t batch = 0;              ///< changes of one target commit before a huge transaction is chunked
  std::uint64_t duckdb_memory = 0;      ///< DuckDB's memory_limit
};

struct Intervals {
  Milliseconds status{5'000};  ///< feedback to the server at the latest
};

struct Connect {
  Milliseconds timeout{10'000};
  Milliseconds backoff_min{200};
  Milliseconds backoff_max{30'000};
};

using Conflicts = ConflictSettings;

struct Log {
  log::Level level = log::Level::info;
  log::Format format = log::Format::text;
};

struct Config {
  std::string name = "tailrace";
  std::string source;  ///< a connection string with its secrets: pg::redact before it is shown
  Target target;
  Slot slot;
  Publication publication;
  TableSelection tables;
  Origin origin = Origin::any;
  Schema schema = Schema::copy;
  Binary binary = Binary::automatic;
  bool streaming = true;  ///< receive large transactions before they commit (pgoutput's `streaming`)
  std::string spool;      ///< directory for what is received of transactions still in progress; empty: see
                          ///< spool_directory()
  Snapshot snapshot;
  Limits limits;
  Intervals intervals;
  Connect connect;
  Conflicts conflicts;
  Log log;
  std::string control_socket;  ///< empty: derived from the target
};

std::string_view to_string(Binary binary);
std::string_view to_string(Origin origin);
std::string_view to_string(Schema schema);
std::string_view to_string(log::Level level);
std::string_view to_string(log::Format format);

}  // namespace tailrace::config
