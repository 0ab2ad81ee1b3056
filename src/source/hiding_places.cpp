#include "source/hiding_places.h"

#include "pg/copy_stream.h"
#include "schema/own_books.h"

namespace tailrace::source {
namespace {

constexpr Oid oid_type = 26;
constexpr const char* purpose = "looking for tables that another tailrace fills";

/// By COPY, which runs nothing of whoever owns the books.
std::string places_in_books(pg::Connection& connection) {
  connection.query("copy tailrace.hiding_places (place) to stdout", purpose);
  pg::CopyStream stream(connection, purpose);
  std::string out = "{";
  std::string_view line;
  while (stream.next_blocking(line)) {
    line.remove_suffix(1);
    out += out.size() > 1 ? "," : "";
    out += line;
  }
  return out + "}";
}

}  // namespace

std::set<std::string> hiding_places(pg::Connection& connection) {
  auto books = schema::look_at_book(connection, "hiding_places", "{place}", oid_type);
  if (!books.there) return {};
  // Whoever may not read them knows that they name a schema after the one that a table is moved to. What a
  // stranger's say, or what a stranger may have written into them, is nobody's: he may hide what is his own,
  // which he could as well drop.
  auto rows =
      books.believed && books.readable && !books.shared
          ? connection.query(
                "select nspname from pg_catalog.pg_namespace where oid = any($1::pg_catalog.oid[])",
                {places_in_books(connection)}, purpose)
          : connection.query(
                "select p.nspname from pg_catalog.pg_namespace p join pg_catalog.pg_namespace n "
                "on p.nspname ~ ('^tailrace_copy_' || n.oid || '(_[0-9]+)?$') "
                "join pg_catalog.pg_namespace b on b.nspname = 'tailrace' "
                "join pg_catalog.pg_roles r on r.oid = p.nspowner where r.rolsuper or r.oid = b.nspowner",
                purpose);
  std::set<std::string> out;
  for (int row = 0; row < rows.rows(); ++row) out.insert(rows.str(row, 0));
  return out;
}

}  // namespace tailrace::source
