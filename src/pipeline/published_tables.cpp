#include "pipeline/published_tables.h"

#include <map>

namespace tailrace::pipeline {

source::PublicationSpec publication_spec(const config::Config& config) {
  return {config.publication.names, config.tables, config::makes_publication(config),
          config.publication.via_partition_root, config.target.kind != "postgres"};
}

schema::Catalog catalog(const config::Config& config, pg::Connection& source) {
  using enum schema::Catalog::Labels;
  return schema::Catalog(source, wants_labels(config.types) ? read : leave);
}

std::vector<schema::Catalog::Wanted> wanted_tables(const source::PublicationInfo& publication) {
  std::vector<schema::Catalog::Wanted> out;
  for (const auto& table : publication.tables)
    out.push_back({table.oid, table.columns, table.row_filter, table.membership});
  return out;
}

std::vector<Oid> oids_of(const source::PublicationInfo& publication) {
  std::vector<Oid> out;
  for (const auto& table : publication.tables) out.push_back(table.oid);
  return out;
}

std::vector<Outdated> outdated_tables(const source::PublicationInfo& publication,
                                      const target::Target& target) {
  std::map<Oid, const source::PublishedTable*> published;
  for (const auto& table : publication.tables) published[table.oid] = &table;
  std::vector<Outdated> out;
  for (const auto& record : target.tables()) {
    if (!record.copied && !record.is_held()) continue;
    auto found = published.find(record.oid);
    if (found == published.end()) {
      out.push_back({record.oid, "it is not published any more; what is there stays until it is again"});
    } else if (record.copied) {
      auto since = source::compare_membership(record.membership, found->second->membership);
      if (since == source::Since::otherwise) out.push_back({record.oid, "what is published of it changed"});
      if (since == source::Since::unsure)
        out.push_back(
            {record.oid, "its publication was altered, and changes may not have been published for a while"});
    }
  }
  return out;
}

}  // namespace tailrace::pipeline
