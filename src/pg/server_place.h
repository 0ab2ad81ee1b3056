#pragma once
// Which database a connection string leads to, without asking it.

#include <string>

namespace tailrace::pg {

/// "db:5432/shop": the same for every way of writing the same address, with libpq's defaults; the names of this
/// host's loopback count as one. Empty: libpq cannot read the string. No secret is in it.
std::string server_place(const std::string& conninfo);

}  // namespace tailrace::pg
