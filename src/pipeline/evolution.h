#pragma once
// Schema changes that reach us through the stream. pgoutput carries no DDL: a table is described anew before
// its next change, and what happened to its existing rows is not said. So a change of definition is followed
// in place only where it is proven that the existing rows are what the plan makes of them; everything else
// copies the table anew, which is always exact.
//
// The proof, for the columns: column_places.h. For the values: the heap changes with every rewrite
// (unsaid_changes.h), but not only then; a column's pg_attribute row gets a new version with every ALTER of it,
// but also with SET NOT NULL. Values were rewritten only where both changed.

#include <optional>
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
/// source as it is now, which may be later than the stream: what that leaves open is CopyAnew.
std::variant<target::Evolution, CopyAnew> plan_evolution(const target::TableRecord& record,
                                                         const Relation& relation, schema::Catalog& catalog);

/// The same for a table as the catalogs show it, once the stream has passed that state.
std::variant<target::Evolution, CopyAnew> plan_evolution(const target::TableRecord& record,
                                                         const schema::Table& table, schema::Catalog& catalog);

/// Why the table has other rows than the stream can ever tell, if the catalogs prove so: its rows were
/// rewritten by a change of one of its columns (ALTER COLUMN TYPE ... USING), or a column was dropped and
/// another one added under its name. Pure.
std::optional<std::string> reason_to_copy(const target::TableRecord& record, const schema::Table& table);

/// Whether both say the same of the table, its rows and its names. Pure.
bool is_same(const target::TableRecord& one, const target::TableRecord& other);

/// The table as the stream would describe it. Pure.
Relation describe(const schema::Table& table);

}  // namespace tailrace::pipeline
