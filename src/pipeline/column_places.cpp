#include "pipeline/column_places.h"

#include <algorithm>

namespace tailrace::pipeline {
namespace {

using target::RecordedColumn;
using Shape = schema::Catalog::Shape;

/// A name is the recorded one, or the one that the column has now. Another one would be right if it was renamed
/// twice; it is no proof.
bool may_be_called(const RecordedColumn& known, const std::string& name, const Shape& now) {
  if (known.name == name) return true;
  auto found = now.columns.find(known.attnum);
  return found != now.columns.end() && found->second.name == name;
}

/// Those of the record first, then what was added since, in order.
std::optional<std::vector<std::int16_t>> place_among(const std::vector<RecordedColumn>& known,
                                                     const std::vector<std::int16_t>& added,
                                                     const Relation& relation, const Shape& now) {
  std::vector<std::int16_t> out;
  if (known.size() > relation.columns.size()) return std::nullopt;
  auto next = added.begin();
  for (std::size_t i = 0; i < relation.columns.size(); ++i) {
    const auto& column = relation.columns[i];
    if (i < known.size()) {
      if (!may_be_called(known[i], column.name, now)) return std::nullopt;
      out.push_back(known[i].attnum);
      continue;
    }
    // Generated columns are not always published.
    auto is_it = [&](std::int16_t attnum) { return now.columns.at(attnum).name == column.name; };
    while (next != added.end() && !is_it(*next) && now.columns.at(*next).generated) ++next;
    if (next == added.end() || !is_it(*next)) return std::nullopt;
    out.push_back(*next++);
  }
  return out;
}

}  // namespace

std::optional<std::vector<std::int16_t>> place_columns(const target::TableRecord& record,
                                                       const Relation& relation, const Shape& now) {
  auto known = record.columns;
  std::ranges::sort(known, {}, &RecordedColumn::attnum);
  std::vector<RecordedColumn> left;
  for (const auto& column : known) {
    if (now.columns.contains(column.attnum)) left.push_back(column);
  }
  // Also of what is not published, and may come to be: a generated column.
  std::int16_t highest = known.empty() ? std::int16_t{0} : known.back().attnum;
  if (auto storage = schema::Storage::parse(record.storage))
    highest = std::max(highest, storage->highest_attnum);
  std::vector<std::int16_t> added;
  bool came_and_went = false;
  for (std::int16_t attnum = highest; attnum++ < now.highest_attnum;) {
    if (now.columns.contains(attnum)) {
      added.push_back(attnum);
    } else {
      came_and_went = true;
    }
  }
  auto count = relation.columns.size();
  // All that was recorded is there still, so it was there then; there was more only if it came since.
  if (left.size() == known.size()) {
    if (count == known.size()) return place_among(known, {}, relation, now);
    if (came_and_went) return std::nullopt;
    return place_among(known, added, relation, now);
  }
  // Some went since, before or after. With something new besides, a column of then could be an old one or the
  // new one of the same name.
  if (!added.empty() || came_and_went) return std::nullopt;
  if (count == known.size()) return place_among(known, {}, relation, now);
  if (count == left.size()) return place_among(left, {}, relation, now);
  return std::nullopt;
}

}  // namespace tailrace::pipeline
