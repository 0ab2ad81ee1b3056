#pragma once
// Config: everything a user can set, as plain structs with their defaults. Filled from YAML
// (config_reader.h) and from the command line, then completed and judged by validation.h.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/lsn.h"
#include "config/listen_address.h"
#include "model/conflict.h"
#include "model/table_selection.h"
#include "model/type_rules.h"

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
enum class SchemaMode { copy, expect };

struct Schema {
  SchemaMode mode = SchemaMode::copy;
  bool owners = false;        ///< what is made gets the source's owners
  bool privileges = false;    ///< and its privileges
  bool trust_source = false;  ///< and all of its code runs with the rights of the target's user
};

/// Of a PostgreSQL target.
struct Sequences {
  std::optional<bool> enabled;  ///< empty: see keeps_sequences()
  std::int64_t margin = 1000;   ///< increments ahead of the source
  Milliseconds interval{10'000};
};

/// What becomes of a change that a PostgreSQL target refuses.
enum class OnError { stop, quarantine };
/// In quarantine: all later changes of its table too, or it alone.
enum class ThenBad { hold, go_on };

/// What becomes of a table that the target refuses: it is held and the others go on, or the run ends.
enum class OnSchemaError { hold, stop };

struct Quarantine {
  ThenBad then = ThenBad::hold;
};

struct Slot {
  std::string name;            ///< empty: derived from Config::name
  bool create = true;          ///< false: it must exist
  bool failover = false;       ///< PostgreSQL 17+: synchronised to standbys
  bool acknowledge = true;     ///< false: it is never told what the target has, and holds back all WAL
  std::uint64_t wal_room = 0;  ///< for how much WAL the source's disk has room; 0: not known
};

struct Publication {
  std::vector<std::string> names;  ///< empty: derived from Config::name
  std::optional<bool> create;  ///< false: existing ones are used as they are; empty: see makes_publication()
  bool via_partition_root = true;  ///< partitioned tables appear as their root; false: as their leaves
};

struct Snapshot {
  bool enabled = true;  ///< false: follow from now on, copy nothing
  int readers = 4;      ///< parallel connections that copy
};

/// What wide values that are applied set-wise are compressed with, where nobody has set it at the target.
enum class ToastCompression { lz4, server };

struct Apply {
  int connections = 2;  ///< to a PostgreSQL target, that apply transactions side by side
  ToastCompression toast_compression = ToastCompression::lz4;
};

/// Bytes. 0 in a part means: derived from `memory` by complete().
struct Limits {
  std::uint64_t memory = 512ULL << 20;  ///< what the whole process should stay under
  std::uint64_t queue = 0;              ///< decoded changes between reader and runner
  std::uint64_t batch = 0;              ///< changes of one target commit before a huge transaction is chunked
  std::uint64_t duckdb_memory = 0;      ///< DuckDB's memory_limit
  /// Of WAL: a start that is behind by more reads it through functions, not from a walsender. 0: never.
  std::uint64_t backlog = 16ULL << 20;
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
  TypeRules types;  ///< of a DuckDB file; later ones win
  Schema schema;
  Sequences sequences;
  OnError on_error = OnError::stop;
  OnSchemaError on_schema_error = OnSchemaError::hold;
  Quarantine quarantine;
  Binary binary = Binary::automatic;
  bool streaming = true;  ///< receive large transactions before they commit (pgoutput's `streaming`)
  std::string spool;      ///< directory for what is received of transactions still in progress; empty: see
                          ///< spool_directory()
  Snapshot snapshot;
  std::optional<Lsn> start_lsn;  ///< with snapshot.enabled off: the rows at the target are as of this position
  Apply apply;
  Limits limits;
  Intervals intervals;
  Connect connect;
  Conflicts conflicts;
  Log log;
  /// Permissions of a new DuckDB file; one that exists keeps its own. `nullopt`: its owner's alone.
  std::optional<unsigned> file_mode;
  std::string control_socket;         ///< empty: derived from the target
  std::optional<ListenAddress> http;  ///< where `run` serves those who watch it; empty: nowhere
};

/// Of several publications, each is somebody else's.
inline bool makes_publication(const Config& config) {
  return config.publication.create.value_or(config.publication.names.size() <= 1);
}
/// For people: "a, b".
std::string publication_names(const Config& config);

/// Where two databases follow each other, each would drive the other's on and on: then only when asked for.
inline bool keeps_sequences(const Config& config) {
  return config.target.kind == "postgres" && config.sequences.enabled.value_or(config.origin == Origin::any);
}

std::string_view to_string(Binary binary);
std::string_view to_string(Origin origin);
std::string_view to_string(SchemaMode mode);
std::string_view to_string(OnError on_error);
std::string_view to_string(ThenBad then);
std::string_view to_string(OnSchemaError on_schema_error);
std::string_view to_string(ToastCompression compression);
std::string_view to_string(ChosenType::Misfit misfit);
std::string_view to_string(log::Level level);
std::string_view to_string(log::Format format);

}  // namespace tailrace::config
