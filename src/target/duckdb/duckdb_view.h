#pragma once
// DuckDbView: the mirror as it was when the view was made, in a transaction of its own beside the writer's.

#include "target/duckdb/mirror.h"
#include "target/target.h"

namespace tailrace::target::duckdb {

class DuckDbView : public TargetView {
 public:
  explicit DuckDbView(std::shared_ptr<Database> database);
  ~DuckDbView() override;

  std::optional<Checkpoint> checkpoint() const override { return mirror_->checkpoint(); }
  std::vector<TableRecord> tables() const override;
  std::vector<Shown> shown(Oid table) const override;
  void scan(Oid table, const RowVisitor& visit) override;

 private:
  std::shared_ptr<Database> database_;
  Session session_;
  std::optional<Mirror> mirror_;
};

}  // namespace tailrace::target::duckdb
