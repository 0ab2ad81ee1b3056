#include "source/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/copy_anew.h"
#include "base/error.h"

namespace tailrace::source {
namespace {

std::string_view take_until(std::string_view& text, char end) {
  auto length = std::min(text.find(end), text.size());
  auto out = text.substr(0, length);
  text.remove_prefix(std::min(length + 1, text.size()));
  return out;
}

Error lacks(const std::string& what) {
  return {
      Retry::needs_operator, fmt::format("{}: a standby was promoted without the last changes", what),
      fmt::format("Nothing was written. {}. synchronized_standby_slots at the primary (PostgreSQL 17) keeps a "
                  "standby from being behind",
                  copy_all_anew)};
}

}  // namespace

std::vector<TimelineEnd> parse_timeline_history(std::string_view text) {
  std::vector<TimelineEnd> out;
  while (!text.empty()) {
    auto line = take_until(text, '\n');
    auto number = take_until(line, '\t');
    auto position = Lsn::parse(take_until(line, '\t'));
    TimelineEnd end;
    auto [rest, error] = std::from_chars(number.data(), number.data() + number.size(), end.timeline);
    if (error != std::errc() || rest != number.data() + number.size() || !position) continue;
    end.left_at = *position;
    out.push_back(end);
  }
  return out;
}

std::vector<TimelineEnd> read_timeline_history(pg::Connection& replication, std::uint32_t timeline) {
  // The first one has no past, and no file.
  if (timeline <= 1) return {};
  auto row = replication.query(fmt::format("TIMELINE_HISTORY {}", timeline), "reading the source's timelines");
  return parse_timeline_history(row.str(0, 1));
}

void check_history(const std::vector<TimelineEnd>& history, const Checkpoint& checkpoint, Lsn confirmed_flush) {
  auto own = std::ranges::find(history, checkpoint.timeline, &TimelineEnd::timeline);
  if (own == history.end())
    throw lacks(
        fmt::format("the target followed timeline {}, which is not in the server's past", checkpoint.timeline));
  for (auto end = own; end != history.end() && checkpoint.lsn > end->left_at; ++end) {
    if (confirmed_flush <= end->left_at)
      throw lacks(fmt::format("the target has changes up to {}, but the server left timeline {} at {}",
                              checkpoint.lsn.str(), end->timeline, end->left_at.str()));
  }
}

}  // namespace tailrace::source
