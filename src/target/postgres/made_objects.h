#pragma once
// MadeObjects: the types, functions, views, sequences, triggers, policies and foreign keys of the target that
// tailrace made there, and what the target has besides under the source's names. One is ours because the books
// have its object identifier: then it may follow the source's. Another is used, if it is the same; else the
// tables that need it are named.

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pg/connection.h"
#include "schema/structure.h"
#include "schema/table.h"

namespace tailrace::target::postgres {

/// Borrows the connection; nobody else's transaction is open on it when it is called.
class MadeObjects {
 public:
  /// `books`: the target has tailrace's; without them nothing there is ours, and only present() can be asked.
  MadeObjects(pg::Connection& connection, const std::string& subscription, bool books = true);

  /// For StructureOptions::leaves_out. An enum that is ours gets the labels that the source's has gained, at
  /// once: what is in them can be used only after a commit. Notes what is to be made and what differs, until
  /// forget(). `wanted`: whether one that is not there is to be made.
  using Wanted = std::function<bool(const schema::NamedObject&)>;
  std::vector<bool> present(const std::vector<schema::NamedObject>& objects, const schema::Strangers& strangers,
                            const Wanted& wanted);
  /// SQL that notes what present() said is to be made; for the transaction that makes it.
  std::vector<schema::Statement> notes() const;
  /// The identities of what has been made since; `all_made`: what is not there by now will not be made.
  void identify(bool all_made);
  void forget();
  /// What gave way; and: what the source has no more of it is nobody's now.
  std::set<std::string> to_make_again();
  void forget_to_make_again();
  /// Since the last heed(), and not in a transaction that was rolled back.
  bool gave_way() const { return gave_way_; }
  void heed() { gave_way_ = false; }
  void rolled_back() { gave_way_ = !to_make_again().empty(); }

  /// Why the target's type of that name cannot take the source's values; nothing if it can, or is not there.
  std::optional<std::string> differs(const schema::Type& type) const;

  /// A statement that makes a trigger, a policy or a constraint, with the note of which one that is.
  schema::Statement noting(schema::Statement statement) const;

  /// Drops what is ours and stands in the way of an alteration of the column, in the open transaction of
  /// `session`: triggers, policies, views, those that need them, and where the column `goes` foreign keys to
  /// it. They are made again by the next following of structure, as far as the source still has them. Throws
  /// TableRefused naming a view that is not ours. False: there was nothing.
  bool make_way(pg::Connection& session, Oid source_table, Oid relation, const std::string& column, bool goes);

 private:
  bool drop_guards_of(pg::Connection& session, Oid relation, const std::string& column, bool goes);
  bool drop_views_on(pg::Connection& session, Oid source_table, Oid relation, const std::string& column);
  void add_labels(const std::string& type, const std::string& source, const std::vector<std::string>& there);
  void spread_differences(const std::vector<schema::NamedObject>& objects);
  std::optional<pg::Result> look(const std::string& sql);
  std::vector<std::string> labels(const std::string& definition);

  pg::Connection& connection_;
  std::string literal_;
  bool books_;
  bool gave_way_ = false;
  std::vector<schema::NamedObject> wanted_;
  std::map<std::string, std::string> other_;  ///< by name: what a type is at the target
};

}  // namespace tailrace::target::postgres
