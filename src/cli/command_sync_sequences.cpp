#include <fmt/format.h>

#include "base/printable.h"
#include "cli/command.h"
#include "cli/progress_line.h"
#include "cli/source_access.h"
#include "pg/one_database.h"
#include "pipeline/published_tables.h"
#include "target/open_target.h"

namespace tailrace::cli {

int command_sync_sequences(const Options& options) {
  auto config = load(options, {true, true});
  if (config.target.kind != "postgres")
    throw UsageProblems{
        {{"target", "must be a PostgreSQL database: a DuckDB file has no sequences", "", 0, 0}}};
  auto source = open_source(config);
  {
    auto there = pg::Connection::open(config.target.path, {pg::Mode::sql, config.name});
    pg::refuse_one_database(source, there);
  }
  std::vector<Oid> tables;
  auto spec = pipeline::publication_spec(config);
  if (auto publication = source::read_publications(source, spec.names)) {
    tables = pipeline::oids_of(*publication);
  } else {
    for (const auto& selected : source::select_tables(source::read_catalog_tables(source), spec))
      tables.push_back(selected.table.oid);
  }
  target::OpenOptions mirror;
  mirror.kind = config.target.kind;
  mirror.path = config.target.path;
  mirror.name = config.name;
  mirror.make_structure = config.schema.mode == config::SchemaMode::copy;
  mirror.keep_rows = !config.snapshot.enabled;
  auto outcome = [&] {
    ProgressLine line("setting sequences");
    return target::sync_sequences(mirror, source, tables);
  }();
  fmt::print("{} sequences stand where the source's do\n", outcome.set);
  for (const auto& problem : outcome.problems) fmt::print(stderr, "{}\n", printable(problem));
  return outcome.problems.empty() ? exit_ok : exit_differs;
}

}  // namespace tailrace::cli
