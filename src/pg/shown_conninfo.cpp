#include "pg/shown_conninfo.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <cctype>
#include <memory>
#include <string_view>

#include "pg/connection.h"

namespace tailrace::pg {
namespace {

bool stands_before(std::string_view keyword) {
  return keyword == "user" || keyword == "host" || keyword == "port" || keyword == "dbname";
}

std::string as_in_a_url(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("-_.~/:,").contains(c);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

std::string shown_conninfo(const std::string& conninfo) {
  std::string out = redact(conninfo);
  std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
      PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  // What cannot be read may be a part of a password.
  if (!options || !out.starts_with("postgres://")) return out;
  char separator = '?';
  for (const auto* option = options.get(); option->keyword != nullptr; ++option) {
    // libpq marks what is not to be shown with a star.
    bool secret = std::string_view(option->dispchar).contains('*');
    if (option->val == nullptr || secret || stands_before(option->keyword)) continue;
    out += fmt::format("{}{}={}", separator, option->keyword, as_in_a_url(option->val));
    separator = '&';
  }
  return out;
}

}  // namespace tailrace::pg
