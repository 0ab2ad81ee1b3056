#include "target/duckdb/skip_notes.h"

#include <algorithm>

#include "base/sql_text.h"

namespace tailrace::target::duckdb {
namespace {

constexpr const char* purpose = "noting a transaction to leave out";
constexpr int latest = 20;

constexpr const char* create = R"(
CREATE TABLE IF NOT EXISTS tailrace.skips (
  lsn VARCHAR NOT NULL, lsn_value UBIGINT NOT NULL, state VARCHAR NOT NULL,
  noted_at TIMESTAMP WITH TIME ZONE NOT NULL, left_out VARCHAR NOT NULL);
)";

}  // namespace

std::vector<SkipNote> SkipNotes::read() {
  auto there = read_text(session_,
                         "SELECT count(*)::VARCHAR FROM duckdb_tables() WHERE schema_name = 'tailrace' "
                         "AND table_name = 'skips' AND database_name = current_database()");
  std::vector<SkipNote> out;
  if (there[0][0] == "0") return out;
  for (const auto& line :
       read_text(session_, fmt::format("SELECT lsn, state, left_out FROM tailrace.skips "
                                       "ORDER BY state <> 'waiting', lsn_value DESC LIMIT {}",
                                       latest))) {
    out.push_back({Lsn::parse(line[0]).value(), line[1], line[2]});
  }
  return out;
}

void SkipNotes::note(Lsn commit_lsn) {
  check_skip(commit_lsn, applied_());
  durably_([&] {
    session_.query(fmt::format("{}DELETE FROM tailrace.skips WHERE lsn_value = {};"
                               "INSERT INTO tailrace.skips VALUES ({}, {}, 'waiting', now(), '')",
                               create, commit_lsn.value, quote_literal(commit_lsn.str()), commit_lsn.value),
                   purpose);
  });
}

bool SkipNotes::take_back(Lsn commit_lsn) {
  auto waits = [&](const SkipNote& note) { return note.commit_lsn == commit_lsn && note.state == "waiting"; };
  if (std::ranges::none_of(read(), waits)) return false;
  durably_([&] {
    session_.query(
        fmt::format("DELETE FROM tailrace.skips WHERE lsn_value = {} AND state = 'waiting'", commit_lsn.value),
        "taking a note back");
  });
  return true;
}

void SkipNotes::close(Lsn commit_lsn, const char* state, const std::string& left_out) {
  session_.query(fmt::format("UPDATE tailrace.skips SET state = '{}', left_out = {} WHERE lsn_value = {}",
                             state, quote_literal(left_out), commit_lsn.value),
                 purpose);
}

void SkipNotes::use(Lsn commit_lsn, const std::string& left_out) {
  close(commit_lsn, "used", left_out);
}

void SkipNotes::give_up(Lsn commit_lsn) {
  durably_([&] { close(commit_lsn, "unused", ""); });
}

}  // namespace tailrace::target::duckdb
