#pragma once
// RawText: what comes of a source whose encoding is SQL_ASCII, for a target that takes UTF-8 only. Such a
// source holds whatever bytes it was given; what is no UTF-8 cannot be told from anything, so its table is
// refused.

#include <string_view>

#include "model/change_batch.h"
#include "model/relation.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// Throws TableRefused where a value that came as text is not UTF-8.
void check_text(const Relation& relation, const Change& change, Lsn commit_lsn);
/// The same, for a row of a COPY in text format.
void check_text(Oid table, std::string_view qualified_name, std::string_view copy_row);

}  // namespace tailrace::pipeline
