#include "target/postgres/mended_rows.h"

#include "target/postgres/bad_change.h"
#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {

void write_mended_rows(ApplySession& session, const TablePlan& plan, const RowRun& run) {
  if (run.entries.empty()) return;
  RowWriter writer(session, plan, run.entries.front().place.transaction->commit_time, /*whoever=*/true);
  auto row = [&](std::size_t entry) {
    return describe(*run.entries.at(entry).change, *run.relation, plan.key);
  };
  try {
    for (std::size_t i = 0; i < run.entries.size(); ++i) {
      session.at_entry(i);
      writer.change(*run.entries[i].change, run.entries[i].commit_lsn);
    }
    session.settle();
  } catch (const ConstraintFailed& failed) {
    throw Error(Retry::needs_operator,
                fmt::format("the target refuses {}: {}", row(failed.entry), server_words(failed.error)),
                "Change there what refuses it, a constraint or a trigger, and ask again");
  } catch (const RowMissing& missing) {
    throw Error(
        Retry::transient,
        fmt::format("somebody else writes to the target: the row of {} went meanwhile", row(missing.entry)),
        "Ask again");
  }
}

}  // namespace tailrace::target::postgres
