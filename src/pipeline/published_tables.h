#pragma once
// What is wanted of the publication, and what it says of tables, compared with what the target has of them.

#include <vector>

#include "config/config.h"
#include "schema/catalog.h"
#include "source/publication.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// Of the source; it reads what the settings need.
schema::Catalog catalog(const config::Config& config, pg::Connection& source);

source::PublicationSpec publication_spec(const config::Config& config);

std::vector<schema::Catalog::Wanted> wanted_tables(const source::PublicationInfo& publication);

std::vector<Oid> oids_of(const source::PublicationInfo& publication);

/// Tables that were copied and must be copied anew, for the stream did not bring all that they have now: what
/// is published of them is another thing than it was (a changed row filter, a longer column list), or they are
/// not published (should they come back, their changes are missing).
struct Outdated {
  Oid table = 0;
  std::string reason;
};
std::vector<Outdated> outdated_tables(const source::PublicationInfo& publication, const target::Target& target);

}  // namespace tailrace::pipeline
