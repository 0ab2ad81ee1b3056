#pragma once
// ChosenTypes: what the user says of tables that are copied already (see TypeRules), beside what he said then.

#include <vector>

#include "schema/table.h"
#include "target/duckdb/mirror.h"

namespace tailrace::target::duckdb {

/// Throws Error where a column would be of another type if its table were copied now. It names all of them.
void refuse_other_types(const Mirror& mirror, const std::vector<schema::Table>& followed);
/// The tables of which nothing changes but what is done with a value that does not fit.
std::vector<MirrorTable> with_other_misfits(const Mirror& mirror, const std::vector<schema::Table>& followed);

}  // namespace tailrace::target::duckdb
