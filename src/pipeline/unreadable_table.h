#pragma once
// UnreadableTable: what the source's user lacks to read a table that is to be copied.

#include <string>

#include "schema/table.h"

namespace tailrace::pipeline {

/// The GRANT; empty where that is not what is missing, or cannot be found out. `source`: a connection string.
std::string grant_to_read(const std::string& source, Oid table) noexcept;

}  // namespace tailrace::pipeline
