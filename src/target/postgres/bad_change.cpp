#include "target/postgres/bad_change.h"

#include <algorithm>
#include <array>

#include "pg/codec/wire.h"
#include "target/bad_changes.h"

namespace tailrace::target::postgres {
namespace {

using pg::codec::Wire;

constexpr std::size_t longest_text = 200;

// PostgreSQL documentation: "PostgreSQL Error Codes". These classes are the connection's or the server's
// trouble, or ours; a trigger may raise any other.
constexpr std::array<std::string_view, 15> not_of_a_change = {
    "08", "25", "26", "28", "34", "3B", "3D", "40", "42P05", "53", "55006", "55P03", "57", "58", "XX"};

Wire wire_of(Oid type) {
  switch (type) {
    case 16: return Wire::boolean;
    case 17: return Wire::bytea;
    case 18: return Wire::character;
    case 19:
    case 25:
    case 1042:
    case 1043: return Wire::text;
    case 20: return Wire::int8;
    case 21: return Wire::int2;
    case 23: return Wire::int4;
    case 26: return Wire::oid;
    case 114: return Wire::json;
    case 3802: return Wire::jsonb;
    case 700: return Wire::float4;
    case 701: return Wire::float8;
    case 1700: return Wire::numeric;
    case 790: return Wire::money;
    case 1082: return Wire::date;
    case 1083: return Wire::time;
    case 1266: return Wire::timetz;
    case 1114: return Wire::timestamp;
    case 1184: return Wire::timestamptz;
    case 1186: return Wire::interval;
    case 2950: return Wire::uuid;
    case 1560:
    case 1562: return Wire::bit;
    case 869: return Wire::inet;
    case 650: return Wire::cidr;
    case 829: return Wire::macaddr;
    case 774: return Wire::macaddr8;
    case 3220: return Wire::pg_lsn;
    default: return Wire::other;
  }
}

std::string clipped(std::string text) {
  if (text.size() <= longest_text) return text;
  std::size_t end = longest_text;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

}  // namespace

bool about_a_change(const Error& error) {
  const std::string& state = error.sqlstate();
  return !state.empty() &&
         std::ranges::none_of(not_of_a_change, [&](std::string_view its) { return state.starts_with(its); });
}

std::string server_words(const Error& error) {
  const std::string& message = error.message();
  auto at = message.find("PostgreSQL refused while ");
  auto colon = at == std::string::npos ? at : message.find(": ", at);
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

bool has_value_text(const RelationColumn& column) {
  return pg::codec::has_binary_form(wire_of(column.type_oid));
}

std::string value_text(const RelationColumn& column, const Value& value) {
  if (value.kind == ValueKind::text) return std::string(value.bytes);
  std::string out;
  Wire wire = wire_of(column.type_oid);
  if (pg::codec::has_binary_form(wire) && pg::codec::append_text_of_binary(wire, value.bytes, out)) return out;
  out = "\\x";
  for (char c : value.bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string describe(const Change& change, const Relation& relation, std::span<const std::size_t> key) {
  const char* what = change.kind == ChangeKind::insert   ? "the INSERT"
                     : change.kind == ChangeKind::update ? "the UPDATE"
                                                         : "the DELETE";
  const TupleData& tuple = change.old_tuple.present() ? change.old_tuple : change.new_tuple;
  std::string names;
  std::string values;
  TupleWalker walker(tuple);
  for (std::size_t i = 0; !walker.done() && i < relation.columns.size(); ++i) {
    Value value = walker.next();
    if (!key.empty() && std::ranges::find(key, i) == key.end()) continue;
    names += (names.empty() ? "" : ", ") + relation.columns[i].name;
    values += values.empty() ? "" : ", ";
    values += value.kind == ValueKind::null        ? "NULL"
              : value.kind == ValueKind::unchanged ? "(unchanged)"
                                                   : clipped(value_text(relation.columns[i], value));
  }
  return fmt::format("{} of ({})=({})", what, clipped(names), clipped(values));
}

Error stop_error(const std::string& what, const std::string& words, const std::string& sqlstate,
                 Lsn commit_lsn) {
  Error error(Retry::needs_operator,
              fmt::format("{} (of the source's transaction at {}): {}", what, commit_lsn.str(), words),
              bad_change_remedy(commit_lsn));
  error.with_sqlstate(sqlstate);
  return error;
}

}  // namespace tailrace::target::postgres
