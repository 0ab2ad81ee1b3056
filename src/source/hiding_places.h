#pragma once
// HidingPlaces: where a tailrace that writes into the source's database fills tables out of sight.

#include <set>
#include <string>

#include "pg/connection.h"

namespace tailrace::source {

/// The names of those schemas, which are nobody else's data. A name alone says nothing: its books do.
std::set<std::string> hiding_places(pg::Connection& connection);

}  // namespace tailrace::source
