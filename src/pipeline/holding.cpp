#include "pipeline/holding.h"

#include <algorithm>

#include "base/log.h"

namespace tailrace::pipeline {
namespace {

void hold(const config::Config& config, target::Target& target, const target::Target::NamedTable& table,
          const target::TableRefused& refused) {
  if (config.on_schema_error == config::OnSchemaError::stop) throw as_error(refused);
  auto name = table.schema + "." + table.name;
  auto remedy = refused.remedy();
  while (remedy.ends_with('.')) remedy.pop_back();
  // The way out is told again at each start, and by the status.
  target.hold(table, remedy.empty() ? refused.reason() : fmt::format("{}. {}", refused.reason(), remedy));
  std::string first = remedy.empty() ? "" : remedy + (remedy.ends_with(';') ? " Then " : "; then ");
  log::write(
      log::Level::warn, "hold",
      fmt::format("{} is held: {}. Its changes are left out, the other tables go on. {}'tailrace run --recopy "
                  "{}' copies it anew",
                  name, refused.reason(), first, name),
      {{"table", name}, {"remedy", remedy}});
}

}  // namespace

Error as_error(const target::TableRefused& refused) {
  return {Retry::needs_operator, refused.reason(), refused.remedy()};
}

void hold_table(const config::Config& config, target::Target& target, const schema::Table& table,
                const target::TableRefused& refused) {
  hold(config, target, {table.oid, table.schema, table.name}, refused);
}

void hold_table(const config::Config& config, target::Target& target, const target::TableRefused& refused) {
  auto records = target.tables();
  auto record = std::ranges::find(records, refused.table(), &target::TableRecord::oid);
  // Nothing is asked of a target for a table that is held: it would be refused without end.
  if (record == records.end() || record->is_held()) throw as_error(refused);
  hold(config, target, {record->oid, record->schema, record->name}, refused);
}

void tell_and_try_held(target::Target& target, bool copies) {
  for (const auto& record : target.tables()) {
    if (!record.is_held()) continue;
    if (!record.copied_at.valid() && copies) {
      target.mark_for_copy(record.oid, "it was never copied whole, because " + record.held);
      continue;
    }
    auto name = record.qualified();
    log::write(
        log::Level::warn, "hold",
        fmt::format("{} is held: {}. 'tailrace run --recopy {}' copies it anew", name, record.held, name),
        {{"table", name}});
  }
}

}  // namespace tailrace::pipeline
