#pragma once
// Catalog: reads table definitions from a source's system catalogs, as the connection's transaction sees them.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pg/connection.h"
#include "schema/table.h"

namespace tailrace::schema {

/// Borrows the connection. Not thread-safe. Types are read once and kept, but those of enums with their labels.
class Catalog {
 public:
  /// Whether the labels of enums are read too: another query.
  enum class Labels { leave, read };
  explicit Catalog(pg::Connection& connection, Labels labels = Labels::leave)
      : connection_(connection), labels_(labels) {}

  /// What to read of which table.
  struct Wanted {
    Oid oid = 0;
    std::vector<std::string> columns;  ///< empty: all that a publication would send
    std::string row_filter;            ///< SQL, empty for every row
    /// Another one means that what is published of the table changed, or that it was not published for a while.
    std::string membership;
  };
  /// What a copy needs, or only what tells one definition from another: measuring a table costs the server much
  /// more than reading what it is.
  enum class Detail { measured, definition };
  /// The definitions, in the order asked for; a table that is not there (any more) is left out.
  std::vector<Table> tables(const std::vector<Wanted>& wanted, Detail detail = Detail::measured);

  /// A type that does not exist (any more) comes back as an unknown one, whose values are taken as text.
  std::shared_ptr<const Type> type(Oid oid);

  /// A live column, as it is now.
  struct Attribute {
    std::string name;
    Oid type_oid = 0;
    int dimensions = 0;
    std::uint32_t version = 0;  ///< see schema::Column
    bool generated = false;
    std::optional<std::string> missing_value;  ///< what rows from before its ADD have (attmissingval), as text
  };
  /// A table as the catalogs show it at one moment.
  struct Shape {
    Oid filenode = 0;                 ///< 0: partitioned, or gone
    Oid toast = 0;                    ///< see Heap
    std::int16_t highest_attnum = 0;  ///< ever given to one of its columns; 0: the table is gone
    std::map<std::int16_t, Attribute> columns;
  };
  Shape shape(Oid table);

  /// Which of these leaves of a partitioned table can hold no row that was there before they were its leaves:
  /// they have the file that they began with, and are empty or were created as partitions.
  std::set<Oid> began_empty(Oid root, const std::vector<Oid>& leaves);

  /// A table that holds rows itself.
  struct Leaf {
    std::string schema;
    std::string name;
    std::int64_t pages = 0;
    bool large_rows = false;  ///< nearly all of it is TOAST: rows may be of any size
    Oid oid = 0;
  };
  /// Where the rows of each of these are, the largest first: in a partitioned table's leaves, else in the table
  /// itself. What is gone has none.
  std::map<Oid, std::vector<Leaf>> leaves(const std::vector<Table>& tables);

 private:
  std::vector<Table> read_tables(const std::vector<Wanted>& wanted, Detail detail);
  void read_columns(const std::vector<Wanted>& wanted, std::vector<Table>& tables, Detail detail);
  void read_leaves(std::vector<Table>& tables);
  void load_types(const std::vector<Oid>& oids);
  void load_labels(const std::map<Oid, std::shared_ptr<Type>>& enums);
  void forget_labels();

  pg::Connection& connection_;
  Labels labels_;
  std::map<Oid, std::shared_ptr<const Type>> types_;
};

}  // namespace tailrace::schema
