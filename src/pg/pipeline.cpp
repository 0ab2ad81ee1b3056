#include "pg/pipeline.h"

#include <libpq-fe.h>

#include <optional>

#include "base/pulse.h"

namespace tailrace::pg {

Pipeline::Pipeline(Connection& connection) : connection_(connection) {
  if (PQenterPipelineMode(connection.raw()) != 1)
    throw make_error(connection.raw(), nullptr, "entering pipeline mode");
}

Pipeline::~Pipeline() {
  leave();
}

/// Whatever was not waited for is read and dropped, so that the connection is of use again.
void Pipeline::leave() noexcept {
  if (PQexitPipelineMode(connection_.raw()) == 1) return;
  if (PQpipelineSync(connection_.raw()) != 1) return;
  Waiting waiting;
  int nothing_in_a_row = 0;
  while (PQstatus(connection_.raw()) == CONNECTION_OK && nothing_in_a_row < 2) {
    pg_result* next = PQgetResult(connection_.raw());
    if (next == nullptr) {
      ++nothing_in_a_row;
      continue;
    }
    nothing_in_a_row = 0;
    bool end = PQresultStatus(next) == PGRES_PIPELINE_SYNC;
    PQclear(next);
    if (end) break;
  }
  PQexitPipelineMode(connection_.raw());
}

void Pipeline::check_sent(bool sent) {
  if (!sent) throw make_error(connection_.raw(), nullptr, "sending statements");
  ++sent_;
}

void Pipeline::prepare(const std::string& name, const std::string& sql) {
  check_sent(PQsendPrepare(connection_.raw(), name.c_str(), sql.c_str(), 0, nullptr) == 1);
}

void Pipeline::execute(const std::string& name, const std::vector<Parameter>& parameters) {
  values_.clear();
  lengths_.clear();
  formats_.clear();
  for (const auto& parameter : parameters) {
    values_.push_back(parameter.data);
    lengths_.push_back(parameter.size);
    formats_.push_back(parameter.binary ? 1 : 0);
  }
  check_sent(PQsendQueryPrepared(connection_.raw(), name.c_str(), static_cast<int>(parameters.size()),
                                 values_.data(), lengths_.data(), formats_.data(), 0) == 1);
}

void Pipeline::query(const std::string& sql) {
  check_sent(PQsendQueryParams(connection_.raw(), sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) == 1);
}

void Pipeline::wait(std::string_view purpose, const Visitor& visit) {
  if (PQpipelineSync(connection_.raw()) != 1) throw make_error(connection_.raw(), nullptr, purpose);
  std::size_t count = std::exchange(sent_, 0);
  Waiting waiting;
  std::optional<Failed> failed;
  // Each statement has one result and then nothing; the sync has a result of its own.
  for (std::size_t statement = 0; statement <= count; ++statement) {
    pg_result* next = PQgetResult(connection_.raw());
    if (next == nullptr) throw make_error(connection_.raw(), nullptr, purpose);
    Result result(next);
    auto status = PQresultStatus(next);
    if (statement == count) {
      if (status != PGRES_PIPELINE_SYNC) throw make_error(connection_.raw(), next, purpose);
      break;
    }
    if (status == PGRES_FATAL_ERROR) {
      if (PQstatus(connection_.raw()) == CONNECTION_BAD ||
          PQresultErrorField(next, PG_DIAG_SQLSTATE) == nullptr)
        throw make_error(connection_.raw(), next, purpose);
      if (!failed) failed = Failed{statement, make_error(connection_.raw(), next, purpose)};
    } else if (status != PGRES_PIPELINE_ABORTED && visit && !failed) {
      visit(statement, result);
    }
    if (pg_result* rest = PQgetResult(connection_.raw())) {
      Result more(rest);
      throw make_error(connection_.raw(), rest, purpose);
    }
  }
  if (failed) throw std::move(*failed);
}

}  // namespace tailrace::pg
