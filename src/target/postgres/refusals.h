#pragma once
// Refusals: what becomes of a change that the target refuses: it ends the run, or goes into quarantine. Finds
// out which change it is. In the session's open transaction; one thread.

#include <map>
#include <string>
#include <vector>

#include "target/postgres/careful_run.h"
#include "target/postgres/conflict_handling.h"
#include "target/postgres/kept_changes.h"
#include "target/postgres/postgres_target.h"

namespace tailrace::target::postgres {

class Refusals {
 public:
  /// Borrows them.
  Refusals(ApplySession& session, KeptChanges& kept, ConflictHandling& conflicts,
           const PostgresOptions& options)
      : session_(session),
        kept_(kept),
        conflicts_(conflicts),
        on_error_(options.on_error),
        after_(options.after_quarantine) {}

  /// Applies what the target takes. Throws Error where a refusal ends the run.
  void apply(const TableRecord& table, const TablePlan& plan, const RowRun& run);
  void truncate(const std::vector<const TableRecord*>& tables, const Truncate& how, const ChangePlace& place);

 private:
  std::size_t waits_from(const TableRecord& table, const RowRun& run, std::size_t from);
  bool too_many(const TableRecord& table) const;
  void hold(const TableRecord& table, const std::string& error);
  void keep_back(const TableRecord& table, const std::string& error);
  void truncate_together(const std::vector<const TableRecord*>& tables, const Truncate& how,
                         const ChangePlace& place);

  ApplySession& session_;
  KeptChanges& kept_;
  ConflictHandling& conflicts_;
  OnError on_error_;
  AfterQuarantine after_;
};

}  // namespace tailrace::target::postgres
