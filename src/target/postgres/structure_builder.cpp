#include "target/postgres/structure_builder.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/sql_text.h"
#include "schema/structure.h"

namespace tailrace::target::postgres {
namespace {

// Building an index keeps a core busy, and so does each of the target's own parallel workers.
constexpr std::size_t builders = 2;
// Beside other builds, workers for a small table cost more than they bring: half as much again for 40 MB.
constexpr const char* settings = "set min_parallel_table_scan_size = '128MB'";

}  // namespace

void check_roles(pg::Connection& connection, const std::set<std::string>& roles) {
  std::string missing;
  for (const auto& role : roles) {
    auto there = connection.query("select from pg_catalog.pg_roles where rolname = $1", {role},
                                  "looking for the target's roles");
    if (there.rows() == 0) missing += (missing.empty() ? "" : ", ") + quote_identifier(role);
  }
  if (missing.empty()) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("the target lacks roles that own what is copied, or have privileges on it: {}", missing),
      "CREATE ROLE them there (pg_dumpall --roles-only at the source shows how), or set schema.owners and "
      "schema.privileges to off");
}

void build_pending(pg::Connection& connection, Bookkeeping& books, const std::string& conninfo,
                   const std::string& subscription, const StopSignal& stop) {
  auto pending = books.read_pending();
  if (pending.empty()) return;
  std::vector<Bookkeeping::Pending> indexes;
  std::vector<schema::Statement> rest;
  for (auto& entry : pending) {
    if (entry.parallel) {
      indexes.push_back(std::move(entry));
    } else {
      rest.push_back(entry.statement);
      rest.push_back(books.done(entry));
    }
  }
  log::info("target", "making {} indexes and keys, then {} other things", indexes.size(), rest.size() / 2);
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failed;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(builders, indexes.size()); ++i) {
      threads.emplace_back([&] {
        try {
          auto own = pg::Connection::open(conninfo, {pg::Mode::sql, subscription + " structure"});
          own.leave_on(stop);
          own.query(settings, "preparing to make indexes");
          for (auto at = next++; at < indexes.size() && !stop.requested(); at = next++)
            schema::run_structure(own, {indexes[at].statement, books.done(indexes[at])});
        } catch (const StopRequested&) {
          return;
        } catch (...) {
          next = indexes.size();
          std::lock_guard lock(mutex);
          if (!failed) failed = std::current_exception();
        }
      });
    }
  }
  if (failed) std::rethrow_exception(failed);
  if (!stop.requested() && !rest.empty()) schema::run_structure(connection, rest);
}

}  // namespace tailrace::target::postgres
