#include "target/duckdb/chosen_types.h"

#include <algorithm>

namespace tailrace::target::duckdb {
namespace {

/// Visits the columns of which the file knows, as they are there and as they would be now. What was altered at
/// the source meanwhile comes by the stream.
template <typename Visit>
void compare(const Mirror& mirror, MirrorTable& known, const schema::Table& table, const Visit& visit) {
  for (const auto& column : table.columns) {
    auto there = std::ranges::find_if(known.columns, [&](const auto& one) {
      return one.source.attnum == column.attnum && one.source.type_oid == column.type->oid &&
             one.source.typmod == column.typmod;
    });
    if (there == known.columns.end()) continue;
    MirrorColumn now = *there;
    mirror.set_type(now, table.schema, table.name, *column.type, column.typmod, column.dimensions);
    visit(*there, now);
  }
}

const MirrorTable* copied(const Mirror& mirror, const schema::Table& table) {
  auto found = mirror.tables().find(table.oid);
  return found != mirror.tables().end() && found->second.copied ? &found->second : nullptr;
}

std::string shown(const MirrorColumn& column) {
  return column.chosen.empty() ? "nothing of it" : column.chosen;
}

}  // namespace

void refuse_other_types(const Mirror& mirror, const std::vector<schema::Table>& followed) {
  std::string columns;
  std::string command;
  for (const auto& table : followed) {
    const auto* there = copied(mirror, table);
    if (there == nullptr) continue;
    MirrorTable known = *there;
    bool differs = false;
    compare(mirror, known, table, [&](const auto& before, const auto& now) {
      if (now.chosen == before.chosen) return;
      differs = true;
      columns += fmt::format("{}{}.{} (then {}, now {})", columns.empty() ? "" : ", ", table.qualified(),
                             before.source.name, shown(before), shown(now));
    });
    if (differs) command += " --recopy " + table.qualified();
  }
  if (columns.empty()) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("these columns were copied as other types than types: says now: {}", columns),
      fmt::format("Nothing was written. Copy them anew: 'tailrace run{}' with the other options; or take "
                  "back what types: says",
                  command));
}

std::vector<MirrorTable> with_other_misfits(const Mirror& mirror, const std::vector<schema::Table>& followed) {
  std::vector<MirrorTable> out;
  for (const auto& table : followed) {
    const auto* there = copied(mirror, table);
    if (there == nullptr) continue;
    MirrorTable known = *there;
    bool differs = false;
    compare(mirror, known, table, [&](auto& before, const auto& now) {
      differs |= std::exchange(before.misfit_is_error, now.misfit_is_error) != now.misfit_is_error;
    });
    if (differs) out.push_back(std::move(known));
  }
  return out;
}

}  // namespace tailrace::target::duckdb
