#include "pipeline/copy_done.h"

#include <set>
#include <utility>

namespace tailrace::pipeline {

void note_copied(const std::vector<schema::Table>& tables, Lsn snapshot,
                 std::chrono::steady_clock::time_point began, StatusBoard& board) {
  std::set<std::pair<std::string, std::string>> names;
  for (const auto& table : tables) names.emplace(table.schema, table.name);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  board.update([&](Status& status) {
    CopyDone done{0, 0, 0, took.count(), snapshot};
    for (const auto& table : status.tables) {
      if (table.state != TableState::copied || !names.contains({table.schema, table.name})) continue;
      ++done.tables;
      done.rows += table.rows_copied;
      done.bytes += table.bytes_copied;
    }
    if (done.tables > 0) status.copied = done;
  });
}

}  // namespace tailrace::pipeline
