#include "target/postgres/skip_notes.h"

#include "base/sql_text.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* noting_skips = "noting a transaction to leave out";
constexpr int latest = 20;

std::string close(const std::string& subscription, Lsn commit_lsn, const char* state,
                  const std::string& left_out) {
  return fmt::format(
      "update tailrace.skips set state = '{}', closed_at = pg_catalog.now(), left_out = {} "
      "where subscription = {} and "
      "lsn = '{}'",
      state, quote_literal(left_out), subscription, commit_lsn.str());
}

}  // namespace

SkipNotes::SkipNotes(pg::Connection& books, ApplySession& session, const std::string& subscription)
    : books_(books), session_(session), literal_(quote_literal(subscription)) {}

std::vector<SkipNote> SkipNotes::read() {
  auto rows =
      books_.query(fmt::format("select lsn, state, left_out from tailrace.skips where subscription = {} "
                               "order by state <> 'waiting', lsn desc limit {}",
                               literal_, latest),
                   noting_skips);
  std::vector<SkipNote> out;
  for (int i = 0; i < rows.rows(); ++i) out.push_back({rows.lsn(i, 0), rows.str(i, 1), rows.str(i, 2)});
  return out;
}

void SkipNotes::note(Lsn commit_lsn, Lsn applied) {
  check_skip(commit_lsn, applied);
  books_.query(fmt::format("insert into tailrace.skips (subscription, lsn, state) values ({}, '{}', 'waiting') "
                           "on conflict (subscription, lsn) do update set state = 'waiting'",
                           literal_, commit_lsn.str()),
               noting_skips);
}

bool SkipNotes::take_back(Lsn commit_lsn) {
  auto gone = books_.query(
      fmt::format("delete from tailrace.skips where subscription = {} and lsn = '{}' and state = 'waiting'",
                  literal_, commit_lsn.str()),
      "taking a note back");
  return gone.affected() > 0;
}

void SkipNotes::give_up(Lsn commit_lsn) {
  books_.query(close(literal_, commit_lsn, "unused", ""), noting_skips);
}

void SkipNotes::use(Lsn commit_lsn, const std::string& left_out) {
  session_.direct().query(close(literal_, commit_lsn, "used", left_out), noting_skips);
}

}  // namespace tailrace::target::postgres
