#include "target/postgres/replay.h"

#include "target/postgres/names.h"

#include <algorithm>
#include <map>
#include <utility>

#include "target/postgres/emptying.h"
#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {
namespace {

// So that a refusal is of a change whose bytes are still in hand.
constexpr std::size_t settle_after = 100;

/// A change of an older definition would leave new columns as the target fills them.
bool same_columns(const TableRecord& table, const Relation& relation) {
  return std::ranges::equal(table.columns, relation.columns, [](const auto& now, const auto& then) {
    return now.name == then.name && now.type_oid == then.type_oid && now.typmod == then.typmod;
  });
}

[[noreturn]] void refused(const TableRecord& table, std::int64_t number, const std::string& what,
                          Lsn commit_lsn, const std::string& words) {
  throw Error(
      Retry::needs_operator,
      fmt::format("change {} in quarantine of {}, {} (of the source's transaction at {}), is refused: {}",
                  number, table.qualified(), what, commit_lsn.str(), words),
      "Nothing was replayed. Mend the target and replay again, or drop what is kept of the table with "
      "--discard, or copy it anew with 'tailrace run --recopy'");
}

class Replay {
 public:
  Replay(ApplySession& session, const TableRecord& table) : session_(session), table_(table) {}

  void add(const KeptChanges::Kept& kept, const TablePlan& plan) {
    sent_.push_back({kept.number, kept.commit_lsn, describe(kept.change, *kept.relation, plan.key)});
    session_.at_entry(static_cast<std::size_t>(kept.number));
    // Whoever mended the target wrote its rows, or deleted what was in the way.
    RowWriter(session_, plan, {}, /*whoever=*/true).change(kept.change, kept.commit_lsn);
    if (sent_.size() >= settle_after) settle();
  }

  void settle() {
    try {
      session_.settle();
    } catch (const ConstraintFailed& failed) {
      if (failed.table != table_.oid) throw Error(failed.error);
      name(failed.entry, server_words(failed.error));
    } catch (const RowMissing& missing) {
      name(missing.entry, "the target does not have that row");
    }
    sent_.clear();
  }

 private:
  struct Sent {
    std::int64_t number = 0;
    Lsn commit_lsn;
    std::string what;
  };

  [[noreturn]] void name(std::size_t entry, const std::string& words) {
    auto found = std::ranges::find(sent_, static_cast<std::int64_t>(entry), &Sent::number);
    TAILRACE_CHECK(found != sent_.end());
    refused(table_, found->number, found->what, found->commit_lsn, words);
  }

  ApplySession& session_;
  const TableRecord& table_;
  std::vector<Sent> sent_;
};

}  // namespace

ReplayCount replay_kept(
    ApplySession& session, KeptChanges& kept, const TableRecord& table,
    const std::function<const TablePlan&(const std::shared_ptr<const Relation>&)>& plan_for) {
  ReplayCount out;
  Replay replay(session, table);
  std::shared_ptr<const Relation> relation;
  kept.read(table, [&](const KeptChanges::Kept& change) {
    ++out.changes;
    out.last_number = change.number;
    if (change.change.kind == ChangeKind::truncate) {
      replay.settle();
      auto there = own_table(session.direct(), table);
      try {
        empty_tables(session.direct(), {{{there.sql_name(), there.kind == 'p'}}}, change.restart_identity);
      } catch (const Error& error) {
        if (!about_a_change(error)) throw;
        refused(table, change.number, "the TRUNCATE", change.commit_lsn, server_words(error));
      }
      return;
    }
    if (!same_columns(table, *change.relation)) {
      refused(table, change.number, describe(change.change, *change.relation, {}), change.commit_lsn,
              "the table changed its definition since");
    }
    // A new plan asks the target, which would wait for what was sent.
    if (std::exchange(relation, change.relation) != change.relation) replay.settle();
    replay.add(change, plan_for(change.relation));
  });
  replay.settle();
  // What was put off to the commit speaks up now, while it can be undone and said.
  try {
    session.direct().query("set constraints all immediate", "checking constraints");
  } catch (const Error& error) {
    if (!about_a_change(error)) throw;
    throw Error(Retry::needs_operator,
                fmt::format("the changes in quarantine of {} are refused as a whole: {}", table.qualified(),
                            server_words(error)),
                "Nothing was replayed. Mend the target and replay again");
  }
  return out;
}

}  // namespace tailrace::target::postgres
