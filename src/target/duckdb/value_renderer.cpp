#include "target/duckdb/value_renderer.h"

#include <string_view>

#include "base/error.h"
#include "pg/codec/array_codec.h"
#include "pg/codec/digits.h"
#include "pg/codec/float_codec.h"
#include "target/duckdb/vector_layout.h"

namespace tailrace::target::duckdb {

namespace codec = pg::codec;

namespace {

template <typename T>
const T& at(const void* data, idx_t row) {
  return static_cast<const T*>(data)[row];
}

std::string_view string_at(const void* data, idx_t row) {
  const auto& value = at<duckdb_string_t>(data, row);
  std::uint32_t length = value.value.inlined.length;
  return {length <= max_inlined_string ? value.value.inlined.inlined : value.value.pointer.ptr, length};
}

codec::Int128 decimal_at(const ColumnType& type, const void* data, idx_t row) {
  if (type.precision <= 4) return at<std::int16_t>(data, row);
  if (type.precision <= 9) return at<std::int32_t>(data, row);
  if (type.precision <= 18) return at<std::int64_t>(data, row);
  return int128_of(at<duckdb_hugeint>(data, row));
}

void append_decimal(const ColumnType& type, codec::Int128 value, std::string& out) {
  if (type.wire == PgWire::money) {
    codec::append_money(out, static_cast<std::int64_t>(value));
  } else {
    codec::append_decimal(out, value, type.scale);
  }
}

std::int32_t pg_days(std::int32_t days) {
  if (days == date_infinity) return codec::date_infinity;
  if (days == date_minus_infinity) return codec::date_minus_infinity;
  return days - codec::pg_epoch_unix_days;
}

std::int64_t pg_micros(std::int64_t micros) {
  if (micros == timestamp_infinity) return codec::timestamp_infinity;
  if (micros == timestamp_minus_infinity) return codec::timestamp_minus_infinity;
  return micros - pg_epoch_unix_micros;
}

std::uint32_t place_at(const ColumnType& type, const void* data, idx_t row) {
  switch (type.labels->width()) {
    case 1: return at<std::uint8_t>(data, row);
    case 2: return at<std::uint16_t>(data, row);
    default: return at<std::uint32_t>(data, row);
  }
}

void append_scalar(const ColumnType& type, const void* data, idx_t row, std::string& out) {
  switch (type.codec) {
    case Codec::boolean: out.push_back(at<bool>(data, row) ? 't' : 'f'); return;
    case Codec::int16: codec::append_integer(out, at<std::int16_t>(data, row)); return;
    case Codec::int32: codec::append_integer(out, at<std::int32_t>(data, row)); return;
    case Codec::int64: codec::append_integer(out, at<std::int64_t>(data, row)); return;
    case Codec::uint32: codec::append_integer(out, at<std::uint32_t>(data, row)); return;
    case Codec::uint64: codec::append_integer(out, at<std::uint64_t>(data, row)); return;
    case Codec::float32: codec::append_float4(out, at<float>(data, row)); return;
    case Codec::float64: codec::append_float8(out, at<double>(data, row)); return;
    case Codec::decimal:
    case Codec::any_decimal: append_decimal(type, decimal_at(type, data, row), out); return;
    case Codec::date: codec::append_date(out, pg_days(at<std::int32_t>(data, row))); return;
    case Codec::time: codec::append_time(out, at<std::int64_t>(data, row)); return;
    case Codec::timetz: codec::append_timetz(out, timetz_of_bits(at<std::uint64_t>(data, row))); return;
    case Codec::timestamp: codec::append_timestamp(out, pg_micros(at<std::int64_t>(data, row))); return;
    case Codec::timestamptz: codec::append_timestamptz(out, pg_micros(at<std::int64_t>(data, row))); return;
    case Codec::interval: {
      const auto& value = at<duckdb_interval>(data, row);
      codec::append_interval(out, {value.micros, value.days, value.months});
      return;
    }
    case Codec::uuid: codec::append_uuid(out, uuid_of(at<duckdb_hugeint>(data, row))); return;
    case Codec::blob: codec::append_bytea(out, string_at(data, row)); return;
    case Codec::text:
    case Codec::json: out += string_at(data, row); return;
    case Codec::enumeration: out += type.labels->all()[place_at(type, data, row)]; return;
    case Codec::list: break;
  }
  TAILRACE_CHECK(type.codec != Codec::list);
}

}  // namespace

ValueRenderer::ValueRenderer(const ColumnType& type) : type_(type) {
  levels_.resize(type.codec == Codec::list ? static_cast<std::size_t>(type.dimensions) + 1 : 1);
}

void ValueRenderer::bind(duckdb_vector vector) {
  for (std::size_t depth = 0; depth < levels_.size(); ++depth) {
    if (depth != 0) vector = duckdb_list_vector_get_child(vector);
    levels_[depth] = {duckdb_vector_get_data(vector), duckdb_vector_get_validity(vector)};
  }
}

bool ValueRenderer::append_text(idx_t row, std::string& out) {
  if (!levels_[0].valid(row)) return false;
  if (levels_.size() == 1) {
    append_scalar(type_, levels_[0].data, row, out);
  } else {
    append_list(0, row, out);
  }
  return true;
}

void ValueRenderer::append_list(std::size_t depth, idx_t row, std::string& out) {
  const auto& entry = at<duckdb_list_entry>(levels_[depth].data, row);
  const Level& child = levels_[depth + 1];
  out.push_back('{');
  for (idx_t i = entry.offset; i < entry.offset + entry.length; ++i) {
    if (i != entry.offset) out.push_back(',');
    if (!child.valid(i)) {
      out += "NULL";
    } else if (depth + 2 < levels_.size()) {
      append_list(depth + 1, i, out);
    } else {
      element_.clear();
      append_scalar(*type_.element, child.data, i, element_);
      codec::append_array_element(out, element_);
    }
  }
  out.push_back('}');
}

}  // namespace tailrace::target::duckdb
