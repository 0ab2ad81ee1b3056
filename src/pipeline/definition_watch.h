#pragma once
// DefinitionWatch: looks at the source's catalogs now and then, for what the stream never says: tables that
// were created, rows that were rewritten, and new definitions of tables that nobody writes to.

#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "pg/connection.h"
#include "pipeline/applier.h"
#include "schema/catalog.h"
#include "source/publication.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// One thread: the runner's. Opens its connection when it first looks.
class DefinitionWatch {
 public:
  DefinitionWatch(std::string source, source::PublicationSpec spec, target::Target& target);

  /// Only between transactions. Throws RestartFromCheckpoint when tables must be copied.
  void look(Applier& applier);

 private:
  void look_for_new_tables(const source::PublicationInfo& publication);
  void look_for_outdated_tables(const source::PublicationInfo& publication);
  void look_for_rewrites();
  void look_for_definitions(const std::vector<schema::Table>& tables, Lsn position, Applier& applier);

  std::string source_;
  source::PublicationSpec spec_;
  target::Target& target_;
  std::optional<pg::Connection> connection_;
  std::optional<schema::Catalog> catalog_;
  /// A definition that differs from the target's, and the position at which it was seen. It is followed once
  /// the stream has passed that position and it is still the same: no change in an older shape can come then.
  std::map<Oid, std::pair<Relation, Lsn>> seen_;
};

}  // namespace tailrace::pipeline
