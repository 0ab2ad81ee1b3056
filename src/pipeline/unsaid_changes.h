#pragma once
// UnsaidChanges: what happened to a table's rows without a word in the stream, told from where they were and
// are (schema::Storage). What is not proven to be harmless copies the table anew.

#include <optional>
#include <string>
#include <vector>

#include "schema/table.h"
#include "target/target.h"

namespace tailrace::pipeline {

struct Unsaid {
  /// Rows came or went: only a copy has them.
  std::optional<std::string> reason;
  /// As far as can be told now; a TRUNCATE that the stream has yet to bring would be harmless.
  bool may_be_said = false;
  /// Leaves that were not there. Harmless if they began empty, as leaves.
  std::vector<Oid> newcomers;
};

/// `truncated_by`: the source transaction of the last TRUNCATE of the table that the stream brought. Pure.
Unsaid unsaid_changes(const target::TableRecord& record, const schema::Table& now,
                      std::optional<Xid> truncated_by);

/// What to record of a table whose rows are what the stream says. The columns stay as recorded. Pure.
std::string storage_to_record(const target::TableRecord& record, const schema::Storage& now);

/// What to record of a partitioned table once rows of this leaf came; nothing: it is known, or all is unknown.
/// Pure.
std::optional<std::string> storage_with_leaf(const target::TableRecord& record, Oid leaf);

/// True where the rows may have been rewritten by an ALTER TABLE. Pure.
bool may_be_rewritten(const target::TableRecord& record, Oid filenode, Oid toast);

/// True where the rows lie in another file than they did, for whatever reason. What older rows have in a column
/// that was added since is not known then: VACUUM FULL and CLUSTER write it into them, and the catalogs forget
/// it. Pure.
bool has_other_file(const target::TableRecord& record, Oid filenode);

}  // namespace tailrace::pipeline
