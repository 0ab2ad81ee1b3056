#include "schema/storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tailrace::schema {
namespace {

/// Takes up to the delimiter, and that.
std::string_view take(std::string_view& text, char delimiter) {
  auto end = text.find(delimiter);
  auto out = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return out;
}

template <typename Number>
bool read(std::string_view text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

const Heap* Storage::find(Oid table) const {
  auto found = std::ranges::find(heaps, table, &Heap::table);
  return found == heaps.end() ? nullptr : &*found;
}

std::string Storage::str() const {
  std::string out = fmt::format("{}", highest_attnum);
  for (const auto& heap : heaps) {
    out += fmt::format(" {}/{}/{}", heap.table, heap.filenode, heap.toast);
    if (!heap.attached.empty()) out += "/" + heap.attached;
  }
  return out;
}

std::optional<Storage> Storage::parse(std::string_view text) {
  Storage out;
  if (!read(take(text, ' '), out.highest_attnum)) return std::nullopt;
  while (!text.empty()) {
    auto part = take(text, ' ');
    Heap heap;
    if (!read(take(part, '/'), heap.table) || !read(take(part, '/'), heap.filenode) ||
        !read(take(part, '/'), heap.toast))
      return std::nullopt;
    heap.attached = part;
    out.heaps.push_back(std::move(heap));
  }
  return out;
}

}  // namespace tailrace::schema
