#pragma once
// Schema changes that reach us through the stream. pgoutput carries no DDL: a table is described anew before
// its next change, and what happened to its existing rows is not said. So a change of definition is followed
// in place only where it is proven that the existing rows are what the plan makes of them; everything else
// copies the table anew, which is always exact.
//
// The proof: the heap's file (relfilenode) changes with every rewrite, but also with TRUNCATE and VACUUM FULL;
// a column's pg_attribute row gets a new version with every ALTER of it, but also with SET NOT NULL. Values
// were rewritten only where both changed.

#include <string>
#include <variant>

#include "model/relation.h"
#include "schema/catalog.h"
#include "target/target.h"

namespace tailrace::pipeline {

struct CopyAnew {
  std::string reason;
};

/// What to do so that a target table prepared for `record` takes rows of `relation`. The catalog shows the
/// source as it is now, which may be later than the stream: where the two disagree, the answer is CopyAnew.
std::variant<target::Evolution, CopyAnew> plan_evolution(const target::TableRecord& record,
                                                         const Relation& relation, schema::Catalog& catalog);

/// True when the table's rows were rewritten by a change of one of its columns since it was recorded
/// (ALTER COLUMN TYPE ... USING, DROP and ADD of the same name): the stream may never say so.
/// `filenode`: the heap's file now.
bool was_rewritten(const target::TableRecord& record, Oid filenode, schema::Catalog& catalog);

}  // namespace tailrace::pipeline
