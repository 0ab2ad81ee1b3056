#pragma once
// The settings of our sessions, which must not depend on the server's, the database's or the role's
// configuration.

#include <string>

namespace tailrace::pg {

/// The server options (`-c name=value ...`) that libpq would send for this connection string: its own, those of
/// the service that it names, or PGOPTIONS.
std::string server_options_of(const std::string& conninfo);

/// The same, with an empty search_path from the first moment of the session on: whoever owns a database chooses
/// what its default is.
std::string with_empty_path(const std::string& server_options);

/// The statements that pin the settings on a server of this version (as 150004).
std::string pin_session(int server_version);

}  // namespace tailrace::pg
