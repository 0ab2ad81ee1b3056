#include "target/open_target.h"

#include "target/duckdb/duckdb_target.h"
#include "target/postgres/postgres_target.h"

namespace tailrace::target {

std::unique_ptr<Target> open(const OpenOptions& options) {
  if (options.kind == "duckdb") return open_duckdb({options.path, options.memory_bytes});
  TAILRACE_CHECK(options.kind == "postgres");
  return open_postgres({options.path, options.name,
                        options.make_structure ? StructureMode::copy : StructureMode::expect, options.owners,
                        options.privileges, options.keep_rows, options.in_loop, options.conflicts});
}

bool forget(const OpenOptions& options) {
  if (options.kind != "postgres") return false;
  return forget_postgres({options.path, options.name});
}

}  // namespace tailrace::target
