#include "target/duckdb/list_writer.h"

#include <algorithm>

namespace tailrace::target::duckdb {

ListWriter::ListWriter(const ColumnType& element, int dimensions)
    : levels_(static_cast<std::size_t>(dimensions)), leaf_(element) {}

void ListWriter::bind(duckdb_vector vector) {
  for (std::size_t depth = 0; depth < levels_.size(); ++depth) {
    Level& level = levels_[depth];
    level.vector = depth == 0 ? vector : duckdb_list_vector_get_child(levels_[depth - 1].vector);
    level.entries = static_cast<duckdb_list_entry*>(duckdb_vector_get_data(level.vector));
    level.child_size = duckdb_list_vector_get_size(level.vector);
    level.child_capacity = level.child_size;
  }
  fetch_child(levels_.size() - 1);
}

void ListWriter::fetch_child(std::size_t depth) {
  duckdb_vector child = duckdb_list_vector_get_child(levels_[depth].vector);
  if (depth + 1 == levels_.size()) {
    leaf_.bind(child);
  } else {
    levels_[depth + 1].vector = child;
    levels_[depth + 1].entries = static_cast<duckdb_list_entry*>(duckdb_vector_get_data(child));
  }
}

idx_t ListWriter::add_child(std::size_t depth) {
  Level& level = levels_[depth];
  if (level.child_size == level.child_capacity) {
    idx_t wanted = std::max<idx_t>(duckdb_vector_size(), level.child_capacity * 2);
    if (duckdb_list_vector_reserve(level.vector, wanted) == DuckDBError)
      throw Error(Retry::fatal, "DuckDB has no memory for the elements of an array column",
                  "Give the process more memory, or make batches smaller");
    level.child_capacity = wanted;
    fetch_child(depth);
  }
  return level.child_size++;
}

void ListWriter::open(std::size_t depth, idx_t row) {
  levels_[depth].open_row = row;
  levels_[depth].open_offset = levels_[depth].child_size;
}

void ListWriter::close(std::size_t depth) {
  Level& level = levels_[depth];
  level.entries[level.open_row] = {level.open_offset, level.child_size - level.open_offset};
}

void ListWriter::begin() {
  for (Level& level : levels_) level.size_before = level.child_size;
}

WriteResult ListWriter::finish(WriteResult result) {
  if (result != WriteResult::ok) {
    Level& last = levels_.back();
    leaf_.forget_nulls(last.size_before, last.child_size);
    for (Level& level : levels_) level.child_size = level.size_before;
  }
  for (const Level& level : levels_) duckdb_list_vector_set_size(level.vector, level.child_size);
  return result;
}

void ListWriter::write_empty(idx_t row) {
  open(0, row);
  close(0);
}

WriteResult ListWriter::write_text(std::string_view bytes, idx_t row) {
  pg::codec::ArrayTextReader reader(bytes);
  if (reader.has_bounds()) return WriteResult::does_not_fit;
  begin();
  return finish(take_text(reader, row));
}

WriteResult ListWriter::take_text(pg::codec::ArrayTextReader& reader, idx_t row) {
  using Event = pg::codec::ArrayTextReader::Event;
  std::size_t depth = 0;
  for (;;) {
    Event event = reader.next();
    switch (event) {
      case Event::open:
        if (depth == levels_.size()) return WriteResult::does_not_fit;
        open(depth, depth == 0 ? row : add_child(depth - 1));
        ++depth;
        break;
      case Event::close:
        --depth;
        // Only the whole array can be empty; "{}" inside another one comes from no server.
        if (depth > 0 && levels_[depth].child_size == levels_[depth].open_offset) return WriteResult::malformed;
        close(depth);
        break;
      case Event::element:
      case Event::null: {
        if (depth != levels_.size()) return WriteResult::does_not_fit;
        idx_t at = add_child(depth - 1);
        auto result = event == Event::null ? leaf_.write_null(at) : leaf_.write_text(reader.element(), at);
        if (result != WriteResult::ok) return result;
        break;
      }
      case Event::end: return WriteResult::ok;
      case Event::malformed: return WriteResult::malformed;
    }
  }
}

WriteResult ListWriter::write_binary(std::string_view bytes, idx_t row) {
  auto header = pg::codec::read_array_header(bytes);
  if (!header) return WriteResult::malformed;
  if (header->dimensions == 0) {
    write_empty(row);
    return header->body.empty() ? WriteResult::ok : WriteResult::malformed;
  }
  if (static_cast<std::size_t>(header->dimensions) != levels_.size() || !header->usual_bounds())
    return WriteResult::does_not_fit;
  begin();
  std::string_view body = header->body;
  auto result = take_dimension(*header, 0, row, body);
  if (result == WriteResult::ok && !body.empty()) result = WriteResult::malformed;
  return finish(result);
}

WriteResult ListWriter::take_dimension(const pg::codec::ArrayHeader& header, std::size_t depth, idx_t row,
                                       std::string_view& body) {
  open(depth, row);
  bool innermost = depth + 1 == levels_.size();
  for (std::uint32_t i = 0; i < header.sizes[depth]; ++i) {
    idx_t at = add_child(depth);
    auto result = WriteResult::ok;
    if (innermost) {
      std::optional<std::string_view> element;
      if (!pg::codec::take_array_element(body, element)) return WriteResult::malformed;
      result = element ? leaf_.write_binary(*element, at) : leaf_.write_null(at);
    } else {
      result = take_dimension(header, depth + 1, at, body);
    }
    if (result != WriteResult::ok) return result;
  }
  close(depth);
  return WriteResult::ok;
}

}  // namespace tailrace::target::duckdb
