#include "target/duckdb/column_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/sql_text.h"
#include "pg/codec/array_codec.h"
#include "pg/codec/numeric_codec.h"
#include "pg/codec/utf8.h"

namespace tailrace::target::duckdb {

namespace {

struct CodecName {
  Codec codec;
  std::string_view name;
  std::string_view sql;
  duckdb_type type;
};

// In the order of the enumerators. Decimals, lists and enumerations make their SQL and logical type themselves.
constexpr std::array codec_names = {
    CodecName{Codec::boolean, "boolean", "BOOLEAN", DUCKDB_TYPE_BOOLEAN},
    CodecName{Codec::int16, "int16", "SMALLINT", DUCKDB_TYPE_SMALLINT},
    CodecName{Codec::int32, "int32", "INTEGER", DUCKDB_TYPE_INTEGER},
    CodecName{Codec::int64, "int64", "BIGINT", DUCKDB_TYPE_BIGINT},
    CodecName{Codec::uint32, "uint32", "UINTEGER", DUCKDB_TYPE_UINTEGER},
    CodecName{Codec::uint64, "uint64", "UBIGINT", DUCKDB_TYPE_UBIGINT},
    CodecName{Codec::float32, "float32", "FLOAT", DUCKDB_TYPE_FLOAT},
    CodecName{Codec::float64, "float64", "DOUBLE", DUCKDB_TYPE_DOUBLE},
    CodecName{Codec::decimal, "decimal", "", DUCKDB_TYPE_DECIMAL},
    CodecName{Codec::any_decimal, "any_decimal", "", DUCKDB_TYPE_DECIMAL},
    CodecName{Codec::date, "date", "DATE", DUCKDB_TYPE_DATE},
    CodecName{Codec::time, "time", "TIME", DUCKDB_TYPE_TIME},
    CodecName{Codec::timetz, "timetz", "TIME WITH TIME ZONE", DUCKDB_TYPE_TIME_TZ},
    CodecName{Codec::timestamp, "timestamp", "TIMESTAMP", DUCKDB_TYPE_TIMESTAMP},
    CodecName{Codec::timestamptz, "timestamptz", "TIMESTAMP WITH TIME ZONE", DUCKDB_TYPE_TIMESTAMP_TZ},
    CodecName{Codec::interval, "interval", "INTERVAL", DUCKDB_TYPE_INTERVAL},
    CodecName{Codec::uuid, "uuid", "UUID", DUCKDB_TYPE_UUID},
    CodecName{Codec::blob, "blob", "BLOB", DUCKDB_TYPE_BLOB},
    CodecName{Codec::text, "text", "VARCHAR", DUCKDB_TYPE_VARCHAR},
    CodecName{Codec::json, "json", "JSON", DUCKDB_TYPE_VARCHAR},
    CodecName{Codec::list, "list", "", DUCKDB_TYPE_LIST},
    CodecName{Codec::enumeration, "enum", "", DUCKDB_TYPE_ENUM},
};
static_assert(std::ranges::all_of(codec_names, [](const CodecName& each) {
  return &each == &codec_names[static_cast<std::size_t>(each.codec)];
}));

const CodecName& name_of(Codec codec) {
  return codec_names[static_cast<std::size_t>(codec)];
}

struct BuiltinType {
  std::string_view name;
  PgWire wire;
  Codec codec;
};

constexpr std::array builtin_types = {
    BuiltinType{"bool", PgWire::boolean, Codec::boolean},
    BuiltinType{"int2", PgWire::int2, Codec::int16},
    BuiltinType{"int4", PgWire::int4, Codec::int32},
    BuiltinType{"int8", PgWire::int8, Codec::int64},
    BuiltinType{"oid", PgWire::oid, Codec::uint32},
    BuiltinType{"xid", PgWire::oid, Codec::uint32},
    BuiltinType{"cid", PgWire::oid, Codec::uint32},
    BuiltinType{"xid8", PgWire::xid8, Codec::uint64},
    BuiltinType{"float4", PgWire::float4, Codec::float32},
    BuiltinType{"float8", PgWire::float8, Codec::float64},
    BuiltinType{"date", PgWire::date, Codec::date},
    BuiltinType{"time", PgWire::time, Codec::time},
    BuiltinType{"timetz", PgWire::timetz, Codec::timetz},
    BuiltinType{"timestamp", PgWire::timestamp, Codec::timestamp},
    BuiltinType{"timestamptz", PgWire::timestamptz, Codec::timestamptz},
    BuiltinType{"interval", PgWire::interval, Codec::interval},
    BuiltinType{"uuid", PgWire::uuid, Codec::uuid},
    BuiltinType{"bytea", PgWire::bytea, Codec::blob},
    BuiltinType{"text", PgWire::text, Codec::text},
    BuiltinType{"varchar", PgWire::text, Codec::text},
    BuiltinType{"bpchar", PgWire::text, Codec::text},
    BuiltinType{"name", PgWire::text, Codec::text},
    BuiltinType{"char", PgWire::character, Codec::text},
    BuiltinType{"json", PgWire::json, Codec::json},
    BuiltinType{"jsonb", PgWire::jsonb, Codec::json},
    BuiltinType{"bit", PgWire::bit, Codec::text},
    BuiltinType{"varbit", PgWire::bit, Codec::text},
    BuiltinType{"inet", PgWire::inet, Codec::text},
    BuiltinType{"cidr", PgWire::cidr, Codec::text},
    BuiltinType{"macaddr", PgWire::macaddr, Codec::text},
    BuiltinType{"macaddr8", PgWire::macaddr8, Codec::text},
    BuiltinType{"pg_lsn", PgWire::pg_lsn, Codec::text},
};

bool is_decimal(const ColumnType& type) {
  return type.codec == Codec::decimal || type.codec == Codec::any_decimal;
}

std::string labels_of(const ColumnType& type) {
  std::string out;
  for (const auto& label : type.labels->all())
    out += fmt::format("{}{}", out.empty() ? "(" : ",", quote_literal(label));
  return out + ')';
}

std::string sql_of(const ColumnType& type) {
  if (type.codec == Codec::enumeration) return "ENUM" + labels_of(type);
  if (is_decimal(type)) return fmt::format("DECIMAL({},{})", type.precision, type.scale);
  if (type.codec != Codec::list) return std::string(name_of(type.codec).sql);
  std::string out = type.element->sql;
  for (int i = 0; i < type.dimensions; ++i) out += "[]";
  return out;
}

// Fills in what follows from the rest.
ColumnType complete(ColumnType type) {
  type.sql = sql_of(type);
  type.binary_readable =
      pg::codec::has_binary_form(type.wire == PgWire::array ? type.element->wire : type.wire);
  return type;
}

ColumnType make(Codec codec, PgWire wire, std::string note = {}) {
  ColumnType out;
  out.codec = codec;
  out.wire = wire;
  out.note = std::move(note);
  return complete(std::move(out));
}

ColumnType make_decimal(PgWire wire, int precision, int scale) {
  ColumnType out;
  out.codec = Codec::decimal;
  out.wire = wire;
  out.precision = static_cast<std::uint8_t>(precision);
  out.scale = static_cast<std::uint8_t>(scale);
  return complete(std::move(out));
}

// numerictypmodin: precision in the upper half, scale as a signed number of 11 bits, and 4 added to both.
ColumnType map_numeric(std::int32_t typmod) {
  if (typmod < 4) return make(Codec::text, PgWire::numeric, "numeric without a declared precision");
  int packed = typmod - 4;
  int precision = (packed >> 16) & 0xFFFF;
  int scale = ((packed & 0x7FF) ^ 1024) - 1024;
  int width = scale < 0 ? precision - scale : std::max(precision, scale);
  if (width > pg::codec::max_decimal_precision)
    return make(Codec::text, PgWire::numeric,
                fmt::format("numeric({},{}) has more than {} digits", precision, scale,
                            pg::codec::max_decimal_precision));
  return make_decimal(PgWire::numeric, width, std::max(scale, 0));
}

ColumnType map_scalar(const schema::Type& type, std::int32_t typmod) {
  if (type.kind == 'e') return make(Codec::text, PgWire::text);
  if (type.builtin && type.kind == 'b') {
    if (type.name == "numeric") return map_numeric(typmod);
    if (type.name == "money") return make_decimal(PgWire::money, 19, 2);
    auto found = std::ranges::find(builtin_types, type.name, &BuiltinType::name);
    if (found != builtin_types.end()) return make(found->codec, found->wire);
  }
  // citext's output and send functions are those of text.
  if (type.name == "citext" && type.kind == 'b') return make(Codec::text, PgWire::text);
  return make(Codec::text, PgWire::other, fmt::format("{} has no counterpart in DuckDB", type.name));
}

// An array whose text form we cannot take apart for sure stays text: box[] and, possibly, extension types have
// another delimiter than a comma.
bool is_splittable(const schema::Type& element, const ColumnType& scalar) {
  if (scalar.wire != PgWire::other) return true;
  if (element.kind == 'b') return element.builtin && element.name != "box";
  return element.kind == 'c' || element.kind == 'r' || element.kind == 'm';
}

ColumnType map_array(const schema::Type& array, std::int32_t typmod, int dimensions) {
  const schema::Type* element = array.element.get();
  while (element->kind == 'd' && element->base) {
    typmod = element->base_typmod;
    element = element->base.get();
  }
  ColumnType scalar = map_scalar(*element, typmod);
  bool vector_type = array.builtin && (array.name == "int2vector" || array.name == "oidvector");
  if (element->element || vector_type || dimensions > pg::codec::max_array_dimensions ||
      !is_splittable(*element, scalar))
    return make(Codec::text, PgWire::other, fmt::format("{} has no counterpart in DuckDB", array.name));
  ColumnType out;
  out.codec = Codec::list;
  out.wire = PgWire::array;
  out.dimensions = std::max(dimensions, 1);
  out.element = std::make_shared<const ColumnType>(std::move(scalar));
  return complete(std::move(out));
}

/// DuckDB has no enum without labels, and no text that is not UTF-8.
std::optional<ColumnType> map_enum(const schema::Type& type) {
  if (type.kind == 'd' && type.base) return map_enum(*type.base);
  if (type.kind != 'e' || type.labels.empty() || !std::ranges::all_of(type.labels, pg::codec::is_valid_utf8))
    return std::nullopt;
  ColumnType out;
  out.codec = Codec::enumeration;
  out.wire = PgWire::text;
  out.labels = std::make_shared<const EnumLabels>(type.labels);
  return complete(std::move(out));
}

std::optional<int> take_int(std::string_view& text, char before) {
  if (!text.starts_with(before)) return std::nullopt;
  int value = 0;
  auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), value);
  if (error != std::errc{} || value < 0 || value > 255) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

/// "('a','it''s')": at least one.
std::optional<std::vector<std::string>> take_labels(std::string_view& text) {
  std::vector<std::string> out;
  char before = '(';
  while (text.starts_with(before) && text.substr(1).starts_with('\'')) {
    text.remove_prefix(2);
    before = ',';
    auto& label = out.emplace_back();
    for (;;) {
      auto quote = text.find('\'');
      if (quote == std::string_view::npos) return std::nullopt;
      label += text.substr(0, quote);
      text.remove_prefix(quote + 1);
      if (!text.starts_with('\'')) break;
      label += '\'';
      text.remove_prefix(1);
    }
  }
  if (out.empty()) return std::nullopt;
  return out;
}

// Takes what stands in parentheses behind a codec's name, and checks it.
bool take_modifier(std::string_view& text, ColumnType& out) {
  if (out.codec == Codec::list) {
    auto dimensions = take_int(text, '(');
    if (!dimensions || *dimensions < 1 || *dimensions > pg::codec::max_array_dimensions) return false;
    out.dimensions = *dimensions;
  } else if (is_decimal(out)) {
    auto precision = take_int(text, '(');
    auto scale = precision ? take_int(text, ',') : std::nullopt;
    if (!scale || *precision < 1 || *precision > pg::codec::max_decimal_precision || *scale > *precision)
      return false;
    out.precision = static_cast<std::uint8_t>(*precision);
    out.scale = static_cast<std::uint8_t>(*scale);
  } else if (out.codec == Codec::enumeration) {
    auto labels = take_labels(text);
    if (!labels) return false;
    out.labels = std::make_shared<const EnumLabels>(std::move(*labels));
  } else {
    return true;
  }
  if (!text.starts_with(')')) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

EnumLabels::EnumLabels(std::vector<std::string> labels) : all_(std::move(labels)) {
  for (std::uint32_t i = 0; i < all_.size(); ++i) places_.emplace(all_[i], i);
}

std::optional<std::uint32_t> EnumLabels::find(std::string_view label) const {
  auto found = places_.find(label);
  if (found == places_.end()) return std::nullopt;
  return found->second;
}

bool ColumnType::operator==(const ColumnType& other) const {
  if (codec != other.codec || wire != other.wire || sql != other.sql || dimensions != other.dimensions)
    return false;
  if (!element || !other.element) return !element && !other.element;
  return *element == *other.element;
}

ColumnType map_column(const schema::Type& type, std::int32_t typmod, int dimensions) {
  if (type.kind == 'd' && type.base) return map_column(*type.base, type.base_typmod, type.base_dimensions);
  if (type.element) return map_array(type, typmod, dimensions);
  return map_scalar(type, typmod);
}

std::optional<ColumnType> map_column(const schema::Type& type, std::int32_t typmod, int dimensions,
                                     const ChosenType& chosen) {
  ColumnType usual = map_column(type, typmod, dimensions);
  if (chosen.kind == ChosenType::Kind::text) {
    ColumnType out = widen_to_text(usual);
    out.note.clear();
    return out;
  }
  if (chosen.kind == ChosenType::Kind::enumeration) return map_enum(type);
  if (usual.wire != PgWire::numeric) return std::nullopt;
  if (chosen.kind == ChosenType::Kind::floating) return make(Codec::float64, PgWire::numeric);
  ColumnType out = make_decimal(PgWire::numeric, chosen.precision, chosen.scale);
  out.codec = Codec::any_decimal;
  return out;
}

bool keeps_number_only(const ColumnType& type) {
  return type.wire == PgWire::numeric && (type.codec == Codec::any_decimal || type.codec == Codec::float64);
}

ColumnType widen_to_text(const ColumnType& type) {
  ColumnType out;
  out.codec = Codec::text;
  out.wire = type.wire;
  out.element = type.element;
  out.note = type.codec == Codec::text ? type.note : fmt::format("a value did not fit {}", type.shown());
  return complete(std::move(out));
}

std::string serialize(const ColumnType& type) {
  std::string out(name_of(type.codec).name);
  if (is_decimal(type)) out += fmt::format("({},{})", type.precision, type.scale);
  if (type.codec == Codec::list) out += fmt::format("({})", type.dimensions);
  if (type.codec == Codec::enumeration) out += labels_of(type);
  out += '<';
  out += pg::codec::to_string(type.wire);
  if (type.wire == PgWire::array) out += '<' + serialize(*type.element);
  return out;
}

std::optional<ColumnType> parse_column_type(std::string_view text) {
  ColumnType out;
  auto name = text.substr(0, text.find_first_of("(<"));
  auto codec = std::ranges::find(codec_names, name, &CodecName::name);
  if (codec == codec_names.end()) return std::nullopt;
  out.codec = codec->codec;
  text.remove_prefix(name.size());
  if (!take_modifier(text, out) || !text.starts_with('<')) return std::nullopt;
  text.remove_prefix(1);
  auto wire_name = text.substr(0, text.find('<'));
  auto wire = pg::codec::parse_wire(wire_name);
  text.remove_prefix(wire_name.size());
  if (!wire || (out.codec == Codec::list && *wire != PgWire::array)) return std::nullopt;
  out.wire = *wire;
  if (*wire == PgWire::array) {
    if (!text.starts_with('<')) return std::nullopt;
    auto element = parse_column_type(text.substr(1));
    if (!element || element->wire == PgWire::array) return std::nullopt;
    out.element = std::make_shared<const ColumnType>(std::move(*element));
  } else if (!text.empty()) {
    return std::nullopt;
  }
  return complete(std::move(out));
}

std::string_view sql_name(duckdb_type type) {
  auto found = std::ranges::find(codec_names, type, &CodecName::type);
  return found != codec_names.end() ? found->sql : "";
}

duckdb_logical_type make_logical_type(const ColumnType& type) {
  if (is_decimal(type)) return duckdb_create_decimal_type(type.precision, type.scale);
  if (type.codec == Codec::enumeration) {
    std::vector<const char*> names;
    for (const auto& label : type.labels->all()) names.push_back(label.c_str());
    return duckdb_create_enum_type(names.data(), names.size());
  }
  if (type.codec == Codec::list) {
    duckdb_logical_type out = make_logical_type(*type.element);
    for (int i = 0; i < type.dimensions; ++i) {
      duckdb_logical_type inner = out;
      out = duckdb_create_list_type(inner);
      duckdb_destroy_logical_type(&inner);
    }
    return out;
  }
  duckdb_logical_type out = duckdb_create_logical_type(name_of(type.codec).type);
  if (type.codec == Codec::json) duckdb_logical_type_set_alias(out, "JSON");
  return out;
}

}  // namespace tailrace::target::duckdb
