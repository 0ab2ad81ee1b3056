#pragma once
// ConnectFailure: what a server's words say when it lets nobody in, which have no code yet.

#include <string>
#include <string_view>

namespace tailrace::pg {

struct ConnectingAs {
  std::string user;
  std::string database;
};

/// Empty where nothing is known.
std::string connect_remedy(std::string_view message, const ConnectingAs& as);

/// False: somebody must change something first.
bool connect_may_succeed_later(std::string_view message);

}  // namespace tailrace::pg
