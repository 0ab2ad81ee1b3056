#include "pipeline/raw_text.h"

#include "pg/codec/utf8.h"

namespace tailrace::pipeline {
namespace {

constexpr const char* remedy =
    "Mend the value at the source, or leave the column out (columns: in the configuration)";

void check(const Relation& relation, const TupleData& tuple, Lsn commit_lsn) {
  if (!tuple.present()) return;
  TupleWalker columns(tuple);
  for (std::size_t i = 0; !columns.done(); ++i) {
    auto value = columns.next();
    if (value.kind != ValueKind::text || pg::codec::is_valid_utf8(value.bytes)) continue;
    throw target::TableRefused(
        relation.oid,
        fmt::format(
            "the source's encoding is SQL_ASCII, and a value of column {} of {} in its transaction at {} is "
            "not UTF-8",
            i < relation.columns.size() ? relation.columns[i].name : "?", relation.qualified(),
            commit_lsn.str()),
        remedy);
  }
}

}  // namespace

void check_text(const Relation& relation, const Change& change, Lsn commit_lsn) {
  check(relation, change.new_tuple, commit_lsn);
  check(relation, change.old_tuple, commit_lsn);
}

void check_text(Oid table, std::string_view qualified_name, std::string_view copy_row) {
  if (pg::codec::is_valid_utf8(copy_row)) return;
  auto row = copy_row.substr(0, copy_row.find('\t'));
  throw target::TableRefused(
      table,
      fmt::format(
          "the source's encoding is SQL_ASCII, and the row of {} that begins with '{}' holds a value that is "
          "not UTF-8",
          qualified_name, pg::codec::is_valid_utf8(row) ? row.substr(0, 60) : "?"),
      remedy);
}

}  // namespace tailrace::pipeline
