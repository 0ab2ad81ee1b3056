#include "target/duckdb/value_writer.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "pg/codec/float_codec.h"
#include "pg/codec/utf8.h"
#include "target/duckdb/list_writer.h"
#include "target/duckdb/vector_layout.h"

namespace tailrace::target::duckdb {

namespace codec = pg::codec;

namespace {

template <typename T>
bool load(std::string_view bytes, T& out) {
  if (bytes.size() != sizeof(T)) return false;
  out = load_big_endian<T>(reinterpret_cast<const std::byte*>(bytes.data()));
  return true;
}

// DuckDB's dates reach further than PostgreSQL's.
std::int32_t date_of(std::int32_t days) {
  if (days == codec::date_infinity) return date_infinity;
  if (days == codec::date_minus_infinity) return date_minus_infinity;
  return days + codec::pg_epoch_unix_days;
}

WriteResult timestamp_of(std::int64_t micros, std::int64_t& out) {
  if (micros == codec::timestamp_infinity || micros == codec::timestamp_minus_infinity) {
    out = micros == codec::timestamp_infinity ? timestamp_infinity : timestamp_minus_infinity;
    return WriteResult::ok;
  }
  if (__builtin_add_overflow(micros, pg_epoch_unix_micros, &out) || out == timestamp_infinity)
    return WriteResult::does_not_fit;
  return WriteResult::ok;
}

}  // namespace

// One function per codec and form, chosen once per column.
struct WriteFunctions {
  using Writer = ValueWriter;
  using Function = ValueWriter::WriteFunction;

  struct Pair {
    Function text;
    Function binary;
  };

  static WriteResult stored(bool good) { return good ? WriteResult::ok : WriteResult::malformed; }

  static WriteResult boolean_text(Writer& to, std::string_view bytes, idx_t row) {
    to.store<bool>(row, bytes == "t");
    return stored(bytes == "t" || bytes == "f");
  }
  static WriteResult boolean_binary(Writer& to, std::string_view bytes, idx_t row) {
    if (bytes.size() != 1) return WriteResult::malformed;
    to.store<bool>(row, bytes[0] != 0);
    return WriteResult::ok;
  }

  template <typename T>
  static WriteResult integer_text(Writer& to, std::string_view bytes, idx_t row) {
    T value{};
    auto [end, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), value);
    to.store<T>(row, value);
    return stored(error == std::errc{} && end == bytes.data() + bytes.size());
  }
  template <typename T>
  static WriteResult integer_binary(Writer& to, std::string_view bytes, idx_t row) {
    T value{};
    if (!load(bytes, value)) return WriteResult::malformed;
    to.store<T>(row, value);
    return WriteResult::ok;
  }

  // DuckDB's storage takes 0 and -0 for one value (constant and run-length segments) and may give either back
  // after a checkpoint, so a column that has both cannot be a float column there.
  template <typename T>
  static WriteResult stored_float(Writer& to, T value, idx_t row) {
    if (value == 0 && std::signbit(value)) return WriteResult::does_not_fit;
    to.store<T>(row, value);
    return WriteResult::ok;
  }
  template <typename T>
  static WriteResult float_binary(Writer& to, std::string_view bytes, idx_t row) {
    std::conditional_t<std::is_same_v<T, float>, std::uint32_t, std::uint64_t> bits{};
    if (!load(bytes, bits)) return WriteResult::malformed;
    return stored_float(to, std::bit_cast<T>(bits), row);
  }
  template <typename T>
  static WriteResult float_text(Writer& to, std::string_view bytes, idx_t row) {
    T value{};
    bool good = false;
    if constexpr (std::is_same_v<T, float>) {
      good = codec::parse_float4(bytes, value);
    } else {
      good = codec::parse_float8(bytes, value);
    }
    return good ? stored_float(to, value, row) : WriteResult::malformed;
  }

  template <typename T>
  static void store_decimal(Writer& to, codec::Int128 value, idx_t row) {
    if constexpr (std::is_same_v<T, duckdb_hugeint>) {
      to.store<T>(row, hugeint_of(value));
    } else {
      to.store<T>(row, static_cast<T>(value));
    }
  }
  template <typename T>
  static WriteResult decimal_text(Writer& to, std::string_view bytes, idx_t row) {
    codec::Int128 value = 0;
    auto result = codec::decimal_from_text(bytes, to.type_.precision, to.type_.scale, value);
    if (result == WriteResult::ok) store_decimal<T>(to, value, row);
    return result;
  }
  template <typename T>
  static WriteResult decimal_binary(Writer& to, std::string_view bytes, idx_t row) {
    codec::Int128 value = 0;
    auto result = codec::decimal_from_binary(bytes, to.type_.precision, to.type_.scale, value);
    if (result == WriteResult::ok) store_decimal<T>(to, value, row);
    return result;
  }
  template <typename T>
  static WriteResult any_decimal_text(Writer& to, std::string_view bytes, idx_t row) {
    codec::Int128 value = 0;
    auto result = codec::decimal_of_any_scale_from_text(bytes, to.type_.precision, to.type_.scale, value);
    if (result == WriteResult::ok) store_decimal<T>(to, value, row);
    return result;
  }
  template <typename T>
  static WriteResult any_decimal_binary(Writer& to, std::string_view bytes, idx_t row) {
    codec::Int128 value = 0;
    auto result = codec::decimal_of_any_scale_from_binary(bytes, to.type_.precision, to.type_.scale, value);
    if (result == WriteResult::ok) store_decimal<T>(to, value, row);
    return result;
  }
  static WriteResult numeric_double_text(Writer& to, std::string_view bytes, idx_t row) {
    double value = 0;
    auto result = codec::double_from_numeric(bytes, value);
    if (result == WriteResult::ok) to.store<double>(row, value);
    return result;
  }
  static WriteResult numeric_double_binary(Writer& to, std::string_view bytes, idx_t row) {
    to.scratch_.clear();
    if (!codec::append_numeric(to.scratch_, bytes)) return WriteResult::malformed;
    return numeric_double_text(to, to.scratch_, row);
  }
  static WriteResult money_text(Writer& to, std::string_view bytes, idx_t row) {
    std::int64_t cents = 0;
    if (!codec::parse_money(bytes, cents)) return WriteResult::malformed;
    store_decimal<duckdb_hugeint>(to, cents, row);
    return WriteResult::ok;
  }
  static WriteResult money_binary(Writer& to, std::string_view bytes, idx_t row) {
    std::int64_t cents = 0;
    if (!load(bytes, cents)) return WriteResult::malformed;
    store_decimal<duckdb_hugeint>(to, cents, row);
    return WriteResult::ok;
  }

  static WriteResult store_date(Writer& to, bool good, std::int32_t days, idx_t row) {
    if (!good) return WriteResult::malformed;
    to.store<std::int32_t>(row, date_of(days));
    return WriteResult::ok;
  }
  static WriteResult date_text(Writer& to, std::string_view bytes, idx_t row) {
    std::int32_t days = 0;
    bool good = codec::parse_date(bytes, days);
    return store_date(to, good, days, row);
  }
  static WriteResult date_binary(Writer& to, std::string_view bytes, idx_t row) {
    std::int32_t days = 0;
    bool good = load(bytes, days) && codec::is_date(days);
    return store_date(to, good, days, row);
  }

  static WriteResult time_text(Writer& to, std::string_view bytes, idx_t row) {
    std::int64_t micros = 0;
    bool good = codec::parse_time(bytes, micros);
    to.store<std::int64_t>(row, micros);
    return stored(good);
  }
  static WriteResult time_binary(Writer& to, std::string_view bytes, idx_t row) {
    std::int64_t micros = 0;
    bool good = load(bytes, micros) && micros >= 0 && micros <= codec::micros_per_day;
    to.store<std::int64_t>(row, micros);
    return stored(good);
  }

  static WriteResult timetz_text(Writer& to, std::string_view bytes, idx_t row) {
    codec::TimeWithZone value;
    if (!codec::parse_timetz(bytes, value)) return WriteResult::malformed;
    to.store<std::uint64_t>(row, timetz_bits(value));
    return WriteResult::ok;
  }
  static WriteResult timetz_binary(Writer& to, std::string_view bytes, idx_t row) {
    codec::TimeWithZone value;
    if (!codec::read_timetz(bytes, value)) return WriteResult::malformed;
    to.store<std::uint64_t>(row, timetz_bits(value));
    return WriteResult::ok;
  }

  static WriteResult store_timestamp(Writer& to, bool good, std::int64_t micros, idx_t row) {
    std::int64_t value = 0;
    if (!good) return WriteResult::malformed;
    auto result = timestamp_of(micros, value);
    to.store<std::int64_t>(row, value);
    return result;
  }
  static WriteResult timestamp_text(Writer& to, std::string_view bytes, idx_t row) {
    std::int64_t micros = 0;
    bool good = codec::parse_timestamp(bytes, micros);
    return store_timestamp(to, good, micros, row);
  }
  static WriteResult timestamptz_text(Writer& to, std::string_view bytes, idx_t row) {
    std::int64_t micros = 0;
    bool good = codec::parse_timestamptz(bytes, micros);
    return store_timestamp(to, good, micros, row);
  }
  static WriteResult timestamp_binary(Writer& to, std::string_view bytes, idx_t row) {
    std::int64_t micros = 0;
    bool good = load(bytes, micros) && codec::is_timestamp(micros);
    return store_timestamp(to, good, micros, row);
  }

  static WriteResult store_interval(Writer& to, bool good, const codec::Interval& value, idx_t row) {
    if (!good) return WriteResult::malformed;
    if (value.infinite()) return WriteResult::does_not_fit;
    to.store<duckdb_interval>(row, {value.months, value.days, value.micros});
    return WriteResult::ok;
  }
  static WriteResult interval_text(Writer& to, std::string_view bytes, idx_t row) {
    codec::Interval value;
    bool good = codec::parse_interval(bytes, value);
    return store_interval(to, good, value, row);
  }
  static WriteResult interval_binary(Writer& to, std::string_view bytes, idx_t row) {
    codec::Interval value;
    bool good = codec::read_interval(bytes, value);
    return store_interval(to, good, value, row);
  }

  static WriteResult uuid_text(Writer& to, std::string_view bytes, idx_t row) {
    codec::UuidBytes value{};
    if (!codec::parse_uuid(bytes, value)) return WriteResult::malformed;
    to.store<duckdb_hugeint>(row, hugeint_of(value));
    return WriteResult::ok;
  }
  static WriteResult uuid_binary(Writer& to, std::string_view bytes, idx_t row) {
    codec::UuidBytes value{};
    if (bytes.size() != value.size()) return WriteResult::malformed;
    std::memcpy(value.data(), bytes.data(), value.size());
    to.store<duckdb_hugeint>(row, hugeint_of(value));
    return WriteResult::ok;
  }

  static WriteResult blob_text(Writer& to, std::string_view bytes, idx_t row) {
    to.scratch_.clear();
    if (!codec::parse_bytea(bytes, to.scratch_)) return WriteResult::malformed;
    to.store_string(row, to.scratch_);
    return WriteResult::ok;
  }
  static WriteResult blob_binary(Writer& to, std::string_view bytes, idx_t row) {
    to.store_string(row, bytes);
    return WriteResult::ok;
  }

  static WriteResult plain_text(Writer& to, std::string_view bytes, idx_t row) {
    if (!codec::is_valid_utf8(bytes)) return WriteResult::malformed;
    to.store_string(row, bytes);
    return WriteResult::ok;
  }
  // PostgreSQL before 16 sends a "char" above 127 as that bare byte.
  static WriteResult character_text(Writer& to, std::string_view bytes, idx_t row) {
    if (bytes.size() != 1) return plain_text(to, bytes, row);
    return rendered_binary(to, bytes, row);
  }
  static WriteResult jsonb_binary(Writer& to, std::string_view bytes, idx_t row) {
    if (!bytes.starts_with('\1')) return WriteResult::malformed;  // the version of the form
    return plain_text(to, bytes.substr(1), row);
  }
  static WriteResult rendered_binary(Writer& to, std::string_view bytes, idx_t row) {
    to.scratch_.clear();
    if (!codec::append_text_of_binary(to.type_.wire, bytes, to.scratch_)) return WriteResult::malformed;
    return plain_text(to, to.scratch_, row);
  }
  static WriteResult rendered_array(Writer& to, std::string_view bytes, idx_t row) {
    to.scratch_.clear();
    if (!codec::append_array(to.scratch_, to.type_.element->wire, bytes)) return WriteResult::malformed;
    return plain_text(to, to.scratch_, row);
  }

  template <typename T>
  static WriteResult label(Writer& to, std::string_view bytes, idx_t row) {
    auto place = to.type_.labels->find(bytes);
    if (!place) return WriteResult::does_not_fit;
    to.store<T>(row, static_cast<T>(*place));
    return WriteResult::ok;
  }

  static WriteResult list_text(Writer& to, std::string_view bytes, idx_t row) {
    return to.list_->write_text(bytes, row);
  }
  static WriteResult list_binary(Writer& to, std::string_view bytes, idx_t row) {
    return to.list_->write_binary(bytes, row);
  }

  static WriteResult unreadable(Writer& /*to*/, std::string_view /*bytes*/, idx_t /*row*/) {
    return WriteResult::malformed;
  }

  static Pair for_decimal(const ColumnType& type) {
    if (type.wire == PgWire::money) return {money_text, money_binary};
    if (type.precision <= 4) return {decimal_text<std::int16_t>, decimal_binary<std::int16_t>};
    if (type.precision <= 9) return {decimal_text<std::int32_t>, decimal_binary<std::int32_t>};
    if (type.precision <= 18) return {decimal_text<std::int64_t>, decimal_binary<std::int64_t>};
    return {decimal_text<duckdb_hugeint>, decimal_binary<duckdb_hugeint>};
  }

  static Pair for_any_decimal(const ColumnType& type) {
    if (type.precision <= 4) return {any_decimal_text<std::int16_t>, any_decimal_binary<std::int16_t>};
    if (type.precision <= 9) return {any_decimal_text<std::int32_t>, any_decimal_binary<std::int32_t>};
    if (type.precision <= 18) return {any_decimal_text<std::int64_t>, any_decimal_binary<std::int64_t>};
    return {any_decimal_text<duckdb_hugeint>, any_decimal_binary<duckdb_hugeint>};
  }

  static Pair for_enumeration(const ColumnType& type) {
    switch (type.labels->width()) {
      case 1: return {label<std::uint8_t>, label<std::uint8_t>};
      case 2: return {label<std::uint16_t>, label<std::uint16_t>};
      default: return {label<std::uint32_t>, label<std::uint32_t>};
    }
  }

  static Pair for_text(const ColumnType& type) {
    switch (type.wire) {
      case PgWire::text:
      case PgWire::json: return {plain_text, plain_text};
      case PgWire::jsonb: return {plain_text, jsonb_binary};
      case PgWire::character: return {character_text, rendered_binary};
      case PgWire::array: return {plain_text, rendered_array};
      default: return {plain_text, rendered_binary};
    }
  }

  static Pair for_type(const ColumnType& type) {
    switch (type.codec) {
      case Codec::boolean: return {boolean_text, boolean_binary};
      case Codec::int16: return {integer_text<std::int16_t>, integer_binary<std::int16_t>};
      case Codec::int32: return {integer_text<std::int32_t>, integer_binary<std::int32_t>};
      case Codec::int64: return {integer_text<std::int64_t>, integer_binary<std::int64_t>};
      case Codec::uint32: return {integer_text<std::uint32_t>, integer_binary<std::uint32_t>};
      case Codec::uint64: return {integer_text<std::uint64_t>, integer_binary<std::uint64_t>};
      case Codec::float32: return {float_text<float>, float_binary<float>};
      case Codec::float64:
        if (type.wire == PgWire::numeric) return {numeric_double_text, numeric_double_binary};
        return {float_text<double>, float_binary<double>};
      case Codec::decimal: return for_decimal(type);
      case Codec::any_decimal: return for_any_decimal(type);
      case Codec::date: return {date_text, date_binary};
      case Codec::time: return {time_text, time_binary};
      case Codec::timetz: return {timetz_text, timetz_binary};
      case Codec::timestamp: return {timestamp_text, timestamp_binary};
      case Codec::timestamptz: return {timestamptz_text, timestamp_binary};
      case Codec::interval: return {interval_text, interval_binary};
      case Codec::uuid: return {uuid_text, uuid_binary};
      case Codec::blob: return {blob_text, blob_binary};
      case Codec::text:
      case Codec::json: return for_text(type);
      case Codec::list: return {list_text, list_binary};
      case Codec::enumeration: return for_enumeration(type);
    }
    return {unreadable, unreadable};
  }
};

ValueWriter::ValueWriter(const ColumnType& type) : type_(type) {
  auto functions = WriteFunctions::for_type(type);
  write_text_ = functions.text;
  write_binary_ = type.binary_readable ? functions.binary : WriteFunctions::unreadable;
  if (type.codec == Codec::list) list_ = std::make_unique<ListWriter>(*type.element, type.dimensions);
}

ValueWriter::~ValueWriter() = default;
ValueWriter::ValueWriter(ValueWriter&&) noexcept = default;
ValueWriter& ValueWriter::operator=(ValueWriter&&) noexcept = default;

void ValueWriter::bind(duckdb_vector vector) {
  vector_ = vector;
  data_ = duckdb_vector_get_data(vector);
  validity_ = duckdb_vector_get_validity(vector);
  if (list_) list_->bind(vector);
}

WriteResult ValueWriter::write_null(idx_t row) {
  if (validity_ == nullptr) {
    duckdb_vector_ensure_validity_writable(vector_);
    validity_ = duckdb_vector_get_validity(vector_);
  }
  validity_[row / 64] &= ~(std::uint64_t{1} << (row % 64));
  if (list_) list_->write_empty(row);
  return WriteResult::ok;
}

void ValueWriter::forget_nulls(idx_t first, idx_t last) {
  if (validity_ == nullptr) return;
  for (idx_t row = first; row < last; ++row) validity_[row / 64] |= std::uint64_t{1} << (row % 64);
}

void ValueWriter::store_string(idx_t row, std::string_view bytes) {
  if (bytes.size() > max_inlined_string) {
    duckdb_vector_assign_string_element_len(vector_, row, bytes.data(), bytes.size());
    return;
  }
  // DuckDB compares short strings as 16 bytes at once, so the bytes behind the text must be zero.
  duckdb_string_t value{};
  value.value.inlined.length = static_cast<std::uint32_t>(bytes.size());
  if (!bytes.empty()) std::memcpy(value.value.inlined.inlined, bytes.data(), bytes.size());
  store<duckdb_string_t>(row, value);
}

}  // namespace tailrace::target::duckdb
