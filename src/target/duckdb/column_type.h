#pragma once
// ColumnType: what a PostgreSQL column becomes in DuckDB, and in which form its values arrive. docs/types.md
// is the table of it. Immutable values, safe to share between threads.

#include <duckdb.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/type_rules.h"
#include "pg/codec/wire.h"
#include "schema/table.h"

namespace tailrace::target::duckdb {

using PgWire = pg::codec::Wire;

/// How values are laid out in a DuckDB vector.
enum class Codec : std::uint8_t {
  boolean,
  int16,
  int32,
  int64,
  uint32,  ///< oid, xid, cid
  uint64,  ///< xid8
  float32,
  float64,  ///< also of a numeric, where the user wants that
  decimal,
  any_decimal,  ///< of a numeric whose values have any number of digits after the point
  date,
  time,
  timetz,
  timestamp,
  timestamptz,
  interval,
  uuid,
  blob,
  text,  ///< any VARCHAR, also PostgreSQL's exact text of a type that DuckDB lacks
  json,
  list,
  enumeration,  ///< of an enum, where the user wants that
};

/// Of an enum, in its order. DuckDB stores places in it.
class EnumLabels {
 public:
  explicit EnumLabels(std::vector<std::string> labels);
  const std::vector<std::string>& all() const { return all_; }
  std::optional<std::uint32_t> find(std::string_view label) const;
  /// Bytes of a place in a DuckDB vector.
  int width() const { return all_.size() <= 0xFF ? 1 : all_.size() <= 0xFFFF ? 2 : 4; }

 private:
  std::vector<std::string> all_;
  std::unordered_map<std::string_view, std::uint32_t> places_;  ///< views of all_
};

struct ColumnType {
  Codec codec = Codec::text;
  std::string sql = "VARCHAR";  ///< DuckDB type: "DECIMAL(12,2)", "INTEGER[]"
  std::uint8_t precision = 0;   ///< of a decimal
  std::uint8_t scale = 0;       ///< of a decimal
  std::shared_ptr<const ColumnType>
      element;         ///< of a PostgreSQL array, also of one widened to text: the scalar
  int dimensions = 0;  ///< of a list: nesting depth, at least 1
  std::shared_ptr<const EnumLabels> labels = {};  ///< of an enumeration
  bool binary_readable = false;                   ///< the writer takes PostgreSQL's binary format too
  PgWire wire = PgWire::other;                    ///< what arrives; survives widening
  std::string note;                               ///< why it is text, for people; not part of what a type is

  /// For people: an enum may have thousands of labels.
  std::string shown() const { return codec == Codec::enumeration ? "ENUM" : sql; }
  /// Same type; notes do not count.
  bool operator==(const ColumnType& other) const;
};

/// The DuckDB type of a column, by pg_attribute's typmod and attndims. Domains become their base type.
ColumnType map_column(const schema::Type& type, std::int32_t typmod, int dimensions);

/// The same, where the user says what it is to become; nothing where it cannot be that.
std::optional<ColumnType> map_column(const schema::Type& type, std::int32_t typmod, int dimensions,
                                     const ChosenType& chosen);
/// A value keeps its number, but not how many zeros its text ends with: what becomes text is to be copied anew.
bool keeps_number_only(const ColumnType& type);

/// The VARCHAR that holds the exact text of everything that `type` may receive.
ColumnType widen_to_text(const ColumnType& type);

/// A compact form for the target's metadata: "decimal(12,2)<numeric", "list(2)<array<int32<int4". The note is
/// not kept.
std::string serialize(const ColumnType& type);
/// Empty when `text` is not what serialize writes.
std::optional<ColumnType> parse_column_type(std::string_view text);

/// Of a scalar that is no decimal and no enumeration; empty for what no column is made of.
std::string_view sql_name(duckdb_type type);

/// The caller destroys it.
duckdb_logical_type make_logical_type(const ColumnType& type);

}  // namespace tailrace::target::duckdb
