#include "target/open_target.h"

#include "target/duckdb/duckdb_target.h"

namespace tailrace::target {

std::unique_ptr<Target> open(const std::string& kind, const std::string& path, std::int64_t memory_bytes) {
  TAILRACE_CHECK(kind == "duckdb");
  return open_duckdb({path, memory_bytes});
}

}  // namespace tailrace::target
