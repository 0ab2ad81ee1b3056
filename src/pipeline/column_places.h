#pragma once
// Which columns of the table the stream means. A description in the stream names columns, but not their
// numbers (attnum), by which alone a column is the same one as before: a name can go and come back as another
// column, and two can trade names. The catalogs have the numbers, but of now, which may be later.
//
// What is certain: the stream's order is that of the numbers, numbers only grow, and none comes back. So a
// column that was recorded and is there now was there all the time.

#include <cstdint>
#include <optional>
#include <vector>

#include "model/relation.h"
#include "schema/catalog.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// The numbers of the relation's columns, in its order, or nothing where more than one answer is possible.
/// `now` may be any state of the table after the one described. Pure.
std::optional<std::vector<std::int16_t>> place_columns(const target::TableRecord& record,
                                                       const Relation& relation,
                                                       const schema::Catalog::Shape& now);

}  // namespace tailrace::pipeline
