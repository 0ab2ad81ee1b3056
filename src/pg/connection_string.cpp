#include "pg/connection_string.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <cctype>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace tailrace::pg {
namespace {

using Options = std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)>;

Options parsed(const std::string& conninfo) {
  Options out(PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  TAILRACE_CHECK(out != nullptr);
  return out;
}

std::string encoded(std::string_view text, std::string_view plain = "") {
  std::string out;
  for (char c : text) {
    bool is_plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("-._~").contains(c) ||
                    plain.contains(c);
    out += is_plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

bool holds_password(const std::string& conninfo) {
  auto options = parsed(conninfo);
  for (const auto* option = options.get(); option->keyword != nullptr; ++option) {
    if (std::string_view(option->keyword) == "password" && option->val != nullptr) return true;
  }
  return false;
}

std::string without_password(const std::string& conninfo) {
  auto options = parsed(conninfo);
  std::string user;
  std::string host;
  std::string port;
  std::string database;
  std::string others;
  for (const auto* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    std::string_view keyword = option->keyword;
    std::string_view value = option->val;
    // Several hosts, a folder of sockets and an address in brackets stand behind the question mark.
    bool plain_host = value.find_first_of(",/:[") == std::string_view::npos;
    if (keyword == "password") continue;
    if (keyword == "user") {
      user = encoded(value) + "@";
    } else if (keyword == "host" && plain_host) {
      host = encoded(value);
    } else if (keyword == "port" && !value.contains(',')) {
      port = ":" + encoded(value);
    } else if (keyword == "dbname") {
      database = encoded(value);
    } else {
      others += fmt::format("{}{}={}", others.empty() ? "?" : "&", keyword, encoded(value, ",/:"));
    }
  }
  // A port without a host before it is not read.
  if (host.empty() && !port.empty()) {
    others += fmt::format("{}port={}", others.empty() ? "?" : "&", port.substr(1));
    port.clear();
  }
  return fmt::format("postgres://{}{}{}/{}{}", user, host, port, database, others);
}

}  // namespace tailrace::pg
