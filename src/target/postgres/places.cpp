#include "target/postgres/places.h"

#include "base/sql_text.h"
#include "target/postgres/books_rights.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* making = "making a schema for tables that wait";

}  // namespace

Place make_place(pg::Connection& connection, const std::string& wanted) {
  Place out{0, wanted};
  for (int next = 1;; ++next) {
    auto taken = connection.query(
        fmt::format("select from pg_catalog.pg_namespace where nspname = {}", quote_literal(out.name)), making);
    if (taken.rows() == 0) break;
    out.name = fmt::format("{}_{}", wanted, next);
  }
  auto made = connection.query(
      fmt::format("create schema {}; select oid from pg_catalog.pg_namespace where nspname = {}",
                  quote_identifier(out.name), quote_literal(out.name)),
      making);
  out.schema = made.oid(0, 0);
  close_schema(connection, out.name);
  return out;
}

}  // namespace tailrace::target::postgres
