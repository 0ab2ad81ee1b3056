#pragma once
// HttpGuard: which requests are none of a page's business. Pure. Internal to this room.

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <string_view>

namespace tailrace::serve {

bool is_loopback(const sockaddr_storage& address);

/// Whether a server that only this machine reaches may answer for this Host. A page from elsewhere, whose name
/// was made to mean 127.0.0.1, lets a browser ask us; its name stands here then. (DNS rebinding)
bool is_local_host(std::string_view host_header);

/// Where a request's head ends, after its empty line; npos: it is not whole.
std::size_t end_of_head(std::string_view received);

/// Without what no page here makes use of, and what costs: httplib matches a Range by a regular expression,
/// which needs a thousand times its length of the stack; and compressing takes longer than sending.
std::string without_useless_headers(std::string_view head);

}  // namespace tailrace::serve
