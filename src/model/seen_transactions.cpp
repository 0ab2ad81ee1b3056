#include "model/seen_transactions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace tailrace {
namespace {

bool read(std::string_view text, std::uint64_t& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

/// Up to `mark`, which goes too; nothing if it is not there.
std::optional<std::string_view> take_until(std::string_view& text, char mark) {
  auto at = text.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  auto part = text.substr(0, at);
  text.remove_prefix(at + 1);
  return part;
}

}  // namespace

bool SeenTransactions::contains(Xid xid, Lsn commit_lsn) const {
  if (commit_lsn >= until) return false;
  auto apart = static_cast<std::int32_t>(xid - static_cast<std::uint32_t>(xmax));
  std::uint64_t whole = xmax + static_cast<std::uint64_t>(static_cast<std::int64_t>(apart));
  if (whole < xmin) return true;
  return whole < xmax && std::find(running.begin(), running.end(), whole) == running.end();
}

std::string SeenTransactions::str() const {
  return fmt::format("{}:{}:{} {}", xmin, xmax, fmt::join(running, ","), until.str());
}

std::optional<SeenTransactions> SeenTransactions::parse(std::string_view text) {
  SeenTransactions out;
  auto xmin = take_until(text, ':');
  auto xmax = take_until(text, ':');
  auto running = take_until(text, ' ');
  auto until = Lsn::parse(text);
  if (!xmin || !xmax || !running || !until) return std::nullopt;
  if (!read(*xmin, out.xmin) || !read(*xmax, out.xmax) || out.xmin > out.xmax) return std::nullopt;
  out.until = *until;
  while (!running->empty()) {
    auto comma = std::min(running->find(','), running->size());
    if (!read(running->substr(0, comma), out.running.emplace_back())) return std::nullopt;
    running->remove_prefix(std::min(comma + 1, running->size()));
  }
  return out;
}

}  // namespace tailrace
