#include "pg/server_place.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <memory>

namespace tailrace::pg {
namespace {

using Options = std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)>;

std::string value(const PQconninfoOption* options, std::string_view keyword) {
  for (const auto* option = options; option != nullptr && option->keyword != nullptr; ++option)
    if (keyword == option->keyword && option->val != nullptr) return option->val;
  return "";
}

}  // namespace

std::string server_place(const std::string& conninfo) {
  Options given(PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  if (!given) return "";
  Options defaults(PQconndefaults(), &PQconninfoFree);
  auto of = [&](std::string_view keyword) {
    auto said = value(given.get(), keyword);
    return said.empty() ? value(defaults.get(), keyword) : said;
  };
  std::string host = value(given.get(), "host");
  if (host.empty()) host = of("hostaddr");
  if (host.empty()) host = of("host");
  std::ranges::transform(host, host.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (host.empty() || host == "127.0.0.1" || host == "::1") host = "localhost";
  auto port = of("port");
  auto database = of("dbname");
  if (database.empty()) database = of("user");
  return fmt::format("{}:{}/{}", host, port.empty() ? "5432" : port, database);
}

}  // namespace tailrace::pg
