#pragma once
// SingleCopy: one consistent copy of the selected tables, with neither slot nor publication.

#include <optional>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "base/stop.h"
#include "config/config.h"
#include "pg/connection.h"
#include "pipeline/status.h"
#include "schema/structure.h"
#include "schema/table.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// Borrows what it is given. Not thread-safe.
class SingleCopy {
 public:
  /// Takes a snapshot of the source, and reads under it what there is to copy.
  SingleCopy(const config::Config& config, StatusBoard& board, const StopSignal& stop);

  /// Reads what recreates all of it at a target that has nothing yet, so that this need not wait for the
  /// target.
  void read_structure(const schema::StructureOptions& how);

  /// Returns early when a stop is requested.
  void into(target::Target& target);

 private:
  void note_cluster();
  void wait_until_flushed();
  schema::Structure structure(const std::vector<Oid>& tables, const schema::StructureOptions& how);

  const config::Config& config_;
  StatusBoard& board_;
  const StopSignal& stop_;
  pg::Connection exporter_;
  std::string snapshot_;
  Lsn lsn_;
  Checkpoint checkpoint_;  ///< of a mirror that follows nothing yet
  std::vector<schema::Table> tables_;
  std::vector<Oid> oids_;  ///< of them
  std::optional<schema::Structure> structure_;
  schema::StructureOptions structure_for_;
};

}  // namespace tailrace::pipeline
