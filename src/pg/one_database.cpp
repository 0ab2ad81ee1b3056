#include "pg/one_database.h"

#include <random>

namespace tailrace::pg {
namespace {

constexpr const char* purpose = "comparing source and target";

/// A transaction that holds a lock, so that a pooler leaves its server connection to us meanwhile.
class LockedMeanwhile {
 public:
  LockedMeanwhile(Connection& connection, std::int64_t key) : connection_(connection) {
    connection_.query("begin", purpose);
    try {
      got_ = connection_
                 .query(fmt::format("select pg_catalog.pg_try_advisory_xact_lock({}::pg_catalog.int8)", key),
                        purpose)
                 .flag(0, 0);
    } catch (...) {
      leave();
      throw;
    }
  }
  LockedMeanwhile(const LockedMeanwhile&) = delete;
  LockedMeanwhile& operator=(const LockedMeanwhile&) = delete;
  ~LockedMeanwhile() { leave(); }

  bool got() const { return got_; }

 private:
  void leave() noexcept {
    try {
      connection_.query("rollback", purpose);
    } catch (const std::exception&) {
      // The connection is lost, and the lock with it; the next statement says so.
      got_ = false;
    }
  }

  Connection& connection_;
  bool got_ = false;
};

bool sees(Connection& connection, std::int64_t key) {
  auto bits = static_cast<std::uint64_t>(key);
  return connection
      .query(
          fmt::format("select exists (select from pg_catalog.pg_locks l where l.locktype = 'advisory' "
                      "and l.classid = {}::pg_catalog.oid and l.objid = {}::pg_catalog.oid and l.objsubid = 1 "
                      "and l.granted and l.database = (select d.oid from pg_catalog.pg_database d "
                      "where d.datname = pg_catalog.current_database()))",
                      bits >> 32, bits & 0xffffffff),
          purpose)
      .flag(0, 0);
}

bool same_database(Connection& source, Connection& target) {
  std::random_device random;
  // Somebody may hold a lock of the very number, so a number that is free before and taken after is asked for.
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto key = static_cast<std::int64_t>(std::uint64_t{random()} << 32 | random());
    if (sees(target, key)) continue;
    LockedMeanwhile locked(source, key);
    if (locked.got()) return sees(target, key);
  }
  throw Error(Retry::transient, "the source gave no advisory lock to tell it apart from the target");
}

struct Server {
  std::string identifier;
  std::int64_t timeline = 0;
  bool standby = false;
};

Server server_of(Connection& connection) {
  auto row = connection.query(
      "select s.system_identifier::pg_catalog.text, c.timeline_id, pg_catalog.pg_is_in_recovery() "
      "from pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c",
      purpose);
  return {row.str(0, 0), row.i64(0, 1), row.flag(0, 2)};
}

/// A promoted copy of the source's server has a timeline of its own, and so have its standbys.
bool is_standby_of(Connection& target, Connection& source) {
  if (!target.query("select pg_catalog.pg_is_in_recovery()", purpose).flag(0, 0)) return false;
  try {
    auto here = server_of(source);
    auto there = server_of(target);
    return here.identifier == there.identifier && here.timeline == there.timeline && !here.standby;
  } catch (const Error& error) {
    // Not everybody may ask, where somebody revoked it; that a standby takes no writes is told at the first
    // one.
    if (error.sqlstate() != "42501") throw;
    return false;
  }
}

}  // namespace

void refuse_one_database(Connection& source, Connection& target) {
  if (same_database(source, target)) {
    throw Error(
        Retry::needs_operator, "source and target are the same database: it would follow itself",
        "Name another database as the target. Nothing was written, and nothing there is in the way: do not "
        "empty its tables");
  }
  if (is_standby_of(target, source)) {
    throw Error(Retry::needs_operator,
                "the target is a standby of the source: it has everything already, and takes no other writes",
                "Name another database as the target, or promote that standby first");
  }
}

}  // namespace tailrace::pg
