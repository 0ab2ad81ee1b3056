#include "target/postgres/row_encoder.h"

#include <array>

#include "base/byte_reader.h"

namespace tailrace::target::postgres {
namespace {

constexpr std::size_t piece_bytes = 128 << 10;

template <typename T>
void append(std::string& out, T value) {
  std::array<std::byte, sizeof(T)> bytes{};
  store_big_endian(bytes.data(), value);
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace

void append_copy_text(std::string& out, std::string_view text) {
  for (;;) {
    auto at = text.find_first_of("\\\n\r\t");
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) return;
    char special = text[at];
    out.push_back('\\');
    out.push_back(special == '\n' ? 'n' : special == '\r' ? 'r' : special == '\t' ? 't' : '\\');
    text.remove_prefix(at + 1);
  }
}

RowEncoder::RowEncoder(pg::CopyIn& copy, bool binary) : copy_(copy), binary_(binary) {
  buffer_.reserve(piece_bytes + 4096);
  if (binary_) buffer_ = pg::copy_binary_header;
}

void RowEncoder::row(std::span<const Value> values) {
  if (binary_) {
    binary_row(values);
  } else {
    text_row(values);
  }
  if (buffer_.size() < piece_bytes) return;
  copy_.write(buffer_);
  buffer_.clear();
}

void RowEncoder::binary_row(std::span<const Value> values) {
  append(buffer_, static_cast<std::int16_t>(values.size()));
  for (const auto& value : values) {
    if (value.kind == ValueKind::null) {
      append(buffer_, std::int32_t{-1});
      continue;
    }
    TAILRACE_CHECK(value.kind == ValueKind::binary);
    append(buffer_, static_cast<std::int32_t>(value.bytes.size()));
    buffer_.append(value.bytes);
  }
}

void RowEncoder::text_row(std::span<const Value> values) {
  bool first = true;
  for (const auto& value : values) {
    if (!std::exchange(first, false)) buffer_.push_back('\t');
    if (value.kind == ValueKind::null) {
      buffer_.append("\\N");
      continue;
    }
    TAILRACE_CHECK(value.kind == ValueKind::text);
    append_copy_text(buffer_, value.bytes);
  }
  buffer_.push_back('\n');
}

void RowEncoder::finish() {
  if (binary_) buffer_.append(pg::copy_binary_trailer);
  if (!buffer_.empty()) copy_.write(buffer_);
  buffer_.clear();
}

}  // namespace tailrace::target::postgres
