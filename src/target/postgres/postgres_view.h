#pragma once
// PostgresView: what one transaction sees of the target.

#include <map>
#include <string>

#include "pg/connection.h"
#include "target/target.h"

namespace tailrace::target::postgres {

class PostgresView : public TargetView {
 public:
  /// `trusts`: the target's tables are queried whatever code of others that runs.
  PostgresView(const std::string& conninfo, const std::string& subscription, bool trusts);

  std::optional<Checkpoint> checkpoint() const override { return checkpoint_; }
  std::vector<TableRecord> tables() const override;
  void scan(Oid table, const RowVisitor& visit) override;
  std::optional<QueryableTable> queryable(Oid table) override;

 private:
  const bool trusts_;
  pg::Connection connection_;
  std::optional<Checkpoint> checkpoint_;
  std::map<Oid, TableRecord> tables_;
};

}  // namespace tailrace::target::postgres
