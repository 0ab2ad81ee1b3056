#pragma once
// TableDefinition: what a source table is, read from the catalogs. Types are resolved through domains.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "model/relation.h"
#include "schema/storage.h"

namespace tailrace::schema {

/// A type as pg_type has it. `kind`: b base, c composite, d domain, e enum, p pseudo, r range, m multirange.
struct Type {
  Oid oid = 0;
  std::string schema;
  std::string name;  ///< pg_type.typname: int4, _text, my_enum
  char kind = 'b';
  std::shared_ptr<const Type> element;   ///< of a true array (typcategory A), else null
  std::shared_ptr<const Type> base;      ///< of a domain, else null
  std::int32_t base_typmod = -1;         ///< of a domain: what it applies to its base
  int base_dimensions = 0;               ///< of a domain over an array: its typndims
  bool builtin = false;                  ///< lives in pg_catalog
  std::vector<std::string> labels = {};  ///< of an enum, in its order; where they were asked for
};

struct Column {
  std::int16_t attnum = 0;
  std::string name;
  std::shared_ptr<const Type> type;
  std::int32_t typmod = -1;
  int dimensions = 0;  ///< declared array dimensions (pg_attribute.attndims)
  bool not_null = false;
  bool is_key = false;        ///< part of the replica identity
  bool generated = false;     ///< COPY takes it from a query only
  bool distinct = false;      ///< by PostgreSQL's statistics, (nearly) every row has another value
  std::uint32_t version = 0;  ///< xmin of its pg_attribute row: another one means that it was altered
};

struct Table {
  Oid oid = 0;
  std::string schema;
  std::string name;
  ReplicaIdentity identity = ReplicaIdentity::by_default;
  std::vector<Column> columns;  ///< published columns, in attnum order
  std::string row_filter;       ///< the publication's WHERE, empty if none
  std::string membership;       ///< how it is in the publication, see Catalog::Wanted
  bool partitioned = false;     ///< a partitioned root, published as itself
  bool partition = false;       ///< of another table
  Oid filenode = 0;             ///< of its heap as the snapshot sees it; 0 for a partitioned root
  Storage storage;              ///< as the snapshot sees it
  std::int64_t estimated_rows = -1;
  std::int64_t bytes = 0;

  std::string qualified() const { return schema + "." + name; }
  bool has_key() const;
};

}  // namespace tailrace::schema
