#pragma once
// Bookkeeping: the schema `tailrace` of the target database, in which every subscription keeps its checkpoint,
// what it knows of its tables, and the structure that is still to be made.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "pg/connection.h"
#include "schema/structure.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// Borrows the connection; writes take part in its transaction.
class Bookkeeping {
 public:
  /// Makes the books where there are none. `subscription` names whose rows these are.
  Bookkeeping(pg::Connection& connection, std::string subscription);

  /// Refuses a second tailrace of the same subscription, for as long as the connection lives; then brings books
  /// of an earlier format up to date. Before anything is read or written.
  void lock();

  std::optional<Checkpoint> read_checkpoint();
  /// Tables whose copy was not ended.
  std::int64_t count_unfinished();
  std::map<Oid, TableRecord> read_tables();

  void put_table(const TableRecord& record);
  void remove_table(Oid table);
  /// No table counts as copied, nor as held.
  void forget_copies();
  /// Everything of the subscription.
  void remove_all();
  /// All but the position may change too.
  void put_checkpoint(const Checkpoint& checkpoint);
  /// $1: LSN, $2: commit time in microseconds since 2000.
  std::string advance_sql() const;

  /// What is to be done after the data, in order.
  struct Pending {
    std::int64_t number = 0;
    bool parallel = false;  ///< independent of the others that are
    schema::Statement statement;
  };
  /// All of it, numbered after what is noted already.
  std::vector<Pending> number(const schema::Structure& structure);
  /// Strikes off what was noted of the same objects before.
  schema::Statement instead_of_earlier(const std::vector<Pending>& pending) const;
  /// Strikes off what is of these tables: by their identities at the target, and by their names what was noted
  /// without one.
  void forget_pending(const std::vector<Oid>& tables,
                      const std::vector<std::pair<std::string, std::string>>& names);
  /// Notes what is to be done later; to be run in the transaction that does what comes first.
  schema::Statement note(const Pending& pending) const;
  std::vector<Pending> read_pending();
  /// Which tables they are of, once these are made; in the same transaction.
  void identify_pending();
  /// The numbers of what is of a table, or refers to one, under the name of which the target has something else
  /// by now, with that name.
  std::map<std::int64_t, std::string> of_others();
  schema::Statement done(const Pending& pending) const;

 private:
  pg::Connection& connection_;
  std::string subscription_;
  std::string literal_;
};

}  // namespace tailrace::target::postgres
