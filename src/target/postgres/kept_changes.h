#pragma once
// KeptChanges: tailrace.quarantine and tailrace.held at the target: changes that were refused, those that had
// to wait behind them, and the tables that are held. Rows are written in the transaction whose checkpoint
// covers them. One thread.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "model/apply_batch.h"
#include "target/bad_changes.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/bad_change.h"
#include "target/target.h"

namespace tailrace::target::postgres {

class KeptChanges {
 public:
  /// Borrows both connections: `books` for what stands by itself, `session` for the open transaction. Makes the
  /// tables where they are missing.
  KeptChanges(pg::Connection& books, ApplySession& session, const std::string& subscription);

  const std::map<Oid, KeptBack>& all() const { return all_; }
  bool held(Oid table) const;
  /// The table has changes in quarantine.
  bool any_of(Oid table) const;
  /// Whether a change is of a row of which another one is in quarantine: applied now, it would be out of order.
  enum class SameRow { no, yes, cannot_tell };
  /// It cannot be told where rows are named in another way since: by another replica identity, or in another
  /// format.
  SameRow has_row_of(const TableRecord& table, const Relation& relation, const Change& change);

  // In the session's open transaction; settled when they return.
  /// From `from` on; the first one with why it was refused.
  void record(const TableRecord& table, const RowRun& run, std::size_t from, std::size_t to,
              const Refusal* refusal);
  void record_truncate(const TableRecord& table, const Truncate& how, const ChangePlace& place,
                       const Refusal* refusal);
  /// From now on the table's changes are recorded.
  void hold(const TableRecord& table, const std::string& error);
  /// All up to `number`, and the hold.
  void release(Oid table, std::int64_t number);
  /// What was done since the last commit did not happen.
  void forget_uncommitted();
  void committed() { changed_ = false; }

  /// By `books`, in its open transaction: the table is copied anew or forgotten. Returns how many changes.
  std::int64_t remove(Oid table);
  /// Everything of a subscription, with its notes of skips.
  static void remove_all(pg::Connection& connection, const std::string& subscription);

  /// A kept change as it came. Borrowed.
  struct Kept {
    std::int64_t number = 0;
    Lsn commit_lsn;
    std::shared_ptr<const Relation> relation;
    Change change;
    bool restart_identity = false;
  };
  /// In order, as committed.
  void read(const TableRecord& table, const std::function<void(const Kept&)>& visit);

 private:
  struct Shape {
    std::shared_ptr<const Relation> relation;
    std::string json;
  };
  /// What names rows, and how.
  struct RowNames {
    std::set<std::string> keys;  ///< the columns; one, unless they changed
    bool as_text = false;        ///< there are values in text of a type that is not known in binary
    bool as_bytes = false;       ///< there are values in binary of such a type
    std::set<std::string> rows;
    void add(RowNames other);
    bool comparable(const RowNames& other) const;
  };
  static RowNames names_of(const Relation& relation, const Change& change);
  void load();
  const Shape& shape_of(const std::shared_ptr<const Relation>& relation);
  std::shared_ptr<const Relation> relation_of(const TableRecord& table, const std::string& identity,
                                              const std::string& json);
  void insert(const TableRecord& table, const char* operation, const ChangePlace& place, const Shape* shape,
              const Change* change, const Truncate* how, const Refusal* refusal);

  pg::Connection& books_;
  ApplySession& session_;
  std::string literal_;  ///< the subscription, quoted
  std::string insert_sql_;
  std::map<Oid, KeptBack> all_;
  std::map<Oid, Shape> shapes_;   ///< the last one of each table
  std::map<Oid, RowNames> rows_;  ///< of the changes, by table; read when first asked for
  std::int64_t number_ = 0;       ///< the last one given
  bool changed_ = false;          ///< by the open transaction
};

}  // namespace tailrace::target::postgres
