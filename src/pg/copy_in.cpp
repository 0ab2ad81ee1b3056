#include "pg/copy_in.h"

#include <libpq-fe.h>

namespace tailrace::pg {
namespace {

/// Reads all results that are left; the first failure among them wins.
Result drain(pg_conn* connection) {
  Result out(nullptr);
  while (pg_result* next = PQgetResult(connection)) {
    Result result(next);
    bool failed = PQresultStatus(next) == PGRES_FATAL_ERROR;
    if (out.raw() == nullptr || (failed && PQresultStatus(out.raw()) != PGRES_FATAL_ERROR))
      out = std::move(result);
    if (PQstatus(connection) == CONNECTION_BAD) break;
  }
  return out;
}

}  // namespace

CopyIn::CopyIn(Connection& connection, const std::string& sql, std::string_view purpose)
    : connection_(connection), purpose_(purpose) {
  auto result = connection.query(sql, purpose);
  if (PQresultStatus(result.raw()) != PGRES_COPY_IN)
    throw Error(Retry::fatal, fmt::format("PostgreSQL takes no rows while {}", purpose));
}

CopyIn::~CopyIn() {
  if (!open_) return;
  if (PQputCopyEnd(connection_.raw(), "given up") == 1) drain(connection_.raw());
}

void CopyIn::write(std::string_view bytes) {
  if (PQputCopyData(connection_.raw(), bytes.data(), static_cast<int>(bytes.size())) == 1) return;
  // The server may have ended the copy with an error that says more than "the connection is gone".
  open_ = false;
  Result said = drain(connection_.raw());
  throw make_error(connection_.raw(), said.raw(), purpose_);
}

std::int64_t CopyIn::finish() {
  open_ = false;
  if (PQputCopyEnd(connection_.raw(), nullptr) != 1) throw make_error(connection_.raw(), nullptr, purpose_);
  Result result = drain(connection_.raw());
  if (result.raw() == nullptr || PQresultStatus(result.raw()) != PGRES_COMMAND_OK)
    throw make_error(connection_.raw(), result.raw(), purpose_);
  return result.affected();
}

}  // namespace tailrace::pg
