#pragma once
// The settings of our sessions, which must not depend on the server's, the database's or the role's
// configuration.

#include <string>
#include <string_view>

namespace tailrace::pg {

/// The server options (`-c name=value ...`) that libpq would send for this connection string: its own, those of
/// the service that it names, or PGOPTIONS.
std::string server_options_of(const std::string& conninfo);

/// True when they say which role the session becomes.
bool choose_role(std::string_view server_options);

/// The same options, with an empty search_path from the first moment of the session on, and, unless they choose
/// one, no other role than the user's: whoever owns a database chooses what its defaults are.
std::string with_pinned_start(const std::string& server_options);

/// The statements that pin the settings on a server of this version (as 150004). `own_role`: the user's options
/// chose the session's role. Else it is the one that the user has been given (ALTER ROLE ... SET role), if any.
std::string pin_session(int server_version, bool own_role);

}  // namespace tailrace::pg
