#include "pg/codec/array_codec.h"

#include <algorithm>

#include "base/byte_reader.h"
#include "pg/codec/digits.h"

namespace tailrace::pg::codec {

namespace {

// array_isspace: what the server takes as white space around elements, and so what it quotes.
constexpr bool is_array_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

constexpr char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_null_word(std::string_view text) {
  return text.size() == 4 && ascii_lower(text[0]) == 'n' && ascii_lower(text[1]) == 'u' &&
         ascii_lower(text[2]) == 'l' && ascii_lower(text[3]) == 'l';
}

bool needs_quotes(std::string_view text) {
  if (text.empty() || is_null_word(text)) return true;
  return std::ranges::any_of(text, [](char c) {
    return c == '"' || c == '\\' || c == '{' || c == '}' || c == ',' || is_array_space(c);
  });
}

std::int32_t load_i32(std::string_view bytes, std::size_t at) {
  return load_big_endian<std::int32_t>(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}

// Renders the elements of one brace pair; `body` moves along.
bool append_dimension(std::string& out, const ArrayHeader& header, int depth, Wire element,
                      std::string_view& body, std::string& scratch) {
  out.push_back('{');
  bool innermost = depth + 1 == header.dimensions;
  for (std::uint32_t i = 0; i < header.sizes[static_cast<std::size_t>(depth)]; ++i) {
    if (i != 0) out.push_back(',');
    if (!innermost) {
      if (!append_dimension(out, header, depth + 1, element, body, scratch)) return false;
      continue;
    }
    std::optional<std::string_view> value;
    if (!take_array_element(body, value)) return false;
    if (!value) {
      out += "NULL";
      continue;
    }
    scratch.clear();
    if (!append_text_of_binary(element, *value, scratch)) return false;
    append_array_element(out, scratch);
  }
  out.push_back('}');
  return true;
}

}  // namespace

ArrayTextReader::Event ArrayTextReader::next() {
  if (done_) return at_ == text_.size() ? Event::end : fail();
  if (at_ == text_.size()) return fail();
  if (at_ == 0) {
    if (text_[at_++] != '{') return fail();
    depth_ = 1;
    return Event::open;
  }
  if (after_value_ && text_[at_] == ',') {
    after_value_ = false;
    after_comma_ = true;
    if (++at_ == text_.size()) return fail();
  }
  char c = text_[at_];
  if (c == '}') {
    if (after_comma_) return fail();
    ++at_;
    after_value_ = true;
    done_ = --depth_ == 0;
    return Event::close;
  }
  if (after_value_) return fail();
  after_comma_ = false;
  if (c == '{') {
    if (depth_ == max_array_dimensions) return fail();
    ++at_;
    ++depth_;
    return Event::open;
  }
  after_value_ = true;
  return c == '"' ? read_quoted() : read_bare();
}

ArrayTextReader::Event ArrayTextReader::read_quoted() {
  std::size_t start = ++at_;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\') ++at_;
  if (at_ == text_.size()) return fail();
  if (text_[at_] == '"') {
    element_ = text_.substr(start, at_++ - start);
    return Event::element;
  }
  unescaped_.assign(text_.substr(start, at_ - start));
  for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
    if (text_[at_] == '\\') ++at_;
    if (at_ == text_.size()) return fail();
    unescaped_.push_back(text_[at_]);
  }
  if (at_ == text_.size()) return fail();
  ++at_;
  element_ = unescaped_;
  return Event::element;
}

ArrayTextReader::Event ArrayTextReader::read_bare() {
  std::size_t start = at_;
  while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '}') {
    char c = text_[at_++];
    if (c == '"' || c == '\\' || c == '{' || is_array_space(c)) return fail();
  }
  element_ = text_.substr(start, at_ - start);
  if (element_.empty()) return fail();
  return element_ == "NULL" ? Event::null : Event::element;
}

bool ArrayHeader::usual_bounds() const {
  return std::all_of(lower_bounds.begin(), lower_bounds.begin() + dimensions,
                     [](auto bound) { return bound == 1; });
}

std::optional<ArrayHeader> read_array_header(std::string_view bytes) {
  constexpr std::size_t fixed = 12;  // dimensions, flags, element type
  constexpr std::size_t per_dimension = 8;
  if (bytes.size() < fixed) return std::nullopt;
  ArrayHeader out;
  out.dimensions = load_i32(bytes, 0);
  if (out.dimensions < 0 || out.dimensions > max_array_dimensions) return std::nullopt;
  std::size_t at = fixed;
  if (bytes.size() < at + per_dimension * static_cast<std::size_t>(out.dimensions)) return std::nullopt;
  out.elements = out.dimensions == 0 ? 0 : 1;
  for (std::size_t i = 0; i < static_cast<std::size_t>(out.dimensions); ++i, at += per_dimension) {
    std::int32_t size = load_i32(bytes, at);
    if (size <= 0) return std::nullopt;  // an empty array has no dimensions at all
    out.sizes[i] = static_cast<std::uint32_t>(size);
    out.lower_bounds[i] = load_i32(bytes, at + 4);
    // Each element takes four bytes or more, so a lying header never makes anyone allocate for it.
    if (__builtin_mul_overflow(out.elements, out.sizes[i], &out.elements) || out.elements > bytes.size() / 4)
      return std::nullopt;
  }
  out.body = bytes.substr(at);
  return out;
}

bool take_array_element(std::string_view& body, std::optional<std::string_view>& element) {
  if (body.size() < 4) return false;
  std::int32_t length = load_i32(body, 0);
  body.remove_prefix(4);
  element.reset();
  if (length == -1) return true;
  if (length < 0 || static_cast<std::size_t>(length) > body.size()) return false;
  element = body.substr(0, static_cast<std::size_t>(length));
  body.remove_prefix(static_cast<std::size_t>(length));
  return true;
}

void append_array_element(std::string& out, std::string_view element) {
  if (!needs_quotes(element)) {
    out += element;
    return;
  }
  out.push_back('"');
  for (char c : element) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

bool append_array(std::string& out, Wire element, std::string_view bytes) {
  auto header = read_array_header(bytes);
  if (!header) return false;
  if (header->dimensions == 0) {
    out += "{}";
    return header->body.empty();
  }
  if (!header->usual_bounds()) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(header->dimensions); ++i) {
      out.push_back('[');
      append_integer(out, header->lower_bounds[i]);
      out.push_back(':');
      append_integer(out, std::int64_t{header->lower_bounds[i]} + header->sizes[i] - 1);
      out.push_back(']');
    }
    out.push_back('=');
  }
  std::string scratch;
  std::string_view body = header->body;
  return append_dimension(out, *header, 0, element, body, scratch) && body.empty();
}

}  // namespace tailrace::pg::codec
