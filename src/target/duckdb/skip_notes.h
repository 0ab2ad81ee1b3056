#pragma once
// SkipNotes: tailrace.skips in the file; made by the first note. See bad_changes.h.

#include <functional>

#include "target/bad_changes.h"
#include "target/duckdb/database.h"

namespace tailrace::target::duckdb {

class SkipNotes : public SkipBook {
 public:
  /// Borrows the session. `durably` runs work in a transaction of its own, `applied` tells the checkpoint.
  SkipNotes(Session& session, std::function<void(const std::function<void()>&)> durably,
            std::function<Lsn()> applied)
      : session_(session), durably_(std::move(durably)), applied_(std::move(applied)) {}

  std::vector<SkipNote> read() override;
  void note(Lsn commit_lsn) override;
  bool take_back(Lsn commit_lsn) override;
  void use(Lsn commit_lsn, const std::string& left_out) override;
  void give_up(Lsn commit_lsn) override;

 private:
  void close(Lsn commit_lsn, const char* state, const std::string& left_out);

  Session& session_;
  std::function<void(const std::function<void()>&)> durably_;
  std::function<Lsn()> applied_;
};

}  // namespace tailrace::target::duckdb
