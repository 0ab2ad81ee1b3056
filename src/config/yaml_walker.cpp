#include "config/yaml_walker.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <numeric>
#include <set>

namespace tailrace::config {

void YamlWalker::mapping(const YAML::Node& node, const std::string& path, const std::vector<Field>& fields) {
  if (node.IsNull()) return;
  if (!node.IsMap()) {
    std::vector<std::string_view> keys;
    for (const Field& field : fields) keys.push_back(field.key);
    problem(node, path, fmt::format("must be a mapping with some of these keys: {}", fmt::join(keys, ", ")));
    return;
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) {
      problem(entry.first, path, "a key must be a word");
      continue;
    }
    const std::string& key = entry.first.Scalar();
    std::string inner = path;
    if (!inner.empty()) inner += '.';
    inner += key;
    auto field = std::ranges::find(fields, key, &Field::key);
    if (field == fields.end()) {
      std::vector<std::string_view> keys;
      for (const Field& known : fields) keys.push_back(known.key);
      auto guess = nearest(key, keys);
      problem(entry.first, inner,
              guess.empty() ? fmt::format("unknown key; known here: {}", fmt::join(keys, ", "))
                            : fmt::format("unknown key; did you mean '{}'?", guess));
      continue;
    }
    if (!seen.insert(key).second) {
      problem(entry.first, inner, "this key is given twice");
      continue;
    }
    where_[inner] = entry.second.IsNull() ? entry.first.Mark() : entry.second.Mark();
    field->read(entry.second, inner);
  }
}

std::optional<std::string> YamlWalker::text(const YAML::Node& node, const std::string& path) {
  if (!node.IsScalar()) {
    problem(node, path, node.IsNull() ? "has no value" : "must be a single value");
    return std::nullopt;
  }
  auto expanded = expand_environment(node.Scalar());
  if (expanded) return std::move(*expanded);
  problem(node, path, expanded.error());
  return std::nullopt;
}

std::optional<bool> YamlWalker::boolean(const YAML::Node& node, const std::string& path) {
  auto value = text(node, path);
  if (!value) return std::nullopt;
  for (auto word : {"true", "on", "yes"})
    if (*value == word) return true;
  for (auto word : {"false", "off", "no"})
    if (*value == word) return false;
  problem(node, path, "must be on or off");
  return std::nullopt;
}

std::optional<int> YamlWalker::integer(const YAML::Node& node, const std::string& path) {
  auto value = text(node, path);
  if (!value) return std::nullopt;
  int number = 0;
  auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error == std::errc() && end == value->data() + value->size()) return number;
  problem(node, path, "must be a whole number");
  return std::nullopt;
}

void YamlWalker::problem(const YAML::Node& node, const std::string& path, std::string what) {
  auto mark = node.Mark();
  // An empty value has no place of its own; its key does.
  if (auto known = where_.find(path); node.IsNull() && known != where_.end()) mark = known->second;
  problem(mark, path, std::move(what));
}

void YamlWalker::problem(const YAML::Mark& mark, const std::string& path, std::string what) {
  problems_.push_back({path, std::move(what), file_, mark.line + 1, mark.column + 1});
}

void YamlWalker::place(Problems problems) {
  for (Problem& one : problems) {
    // A derived field stands nowhere: its section, or what it derives from, is the nearest place.
    std::string field = one.field;
    auto known = where_.find(field);
    while (known == where_.end() && field.contains('.')) {
      field.resize(field.rfind('.'));
      known = where_.find(field);
    }
    one.file = file_;
    if (known != where_.end()) {
      one.line = known->second.line + 1;
      one.column = known->second.column + 1;
    }
    bool repeated = std::ranges::any_of(problems_, [&](const Problem& p) { return p.field == one.field; });
    if (!repeated) problems_.push_back(std::move(one));
  }
}

Problems YamlWalker::take_problems() {
  std::ranges::stable_sort(problems_, {}, [](const Problem& p) { return std::pair(p.line, p.column); });
  return std::move(problems_);
}

std::expected<std::string, std::string> expand_environment(std::string_view text) {
  std::string out;
  while (true) {
    auto open = text.find("${");
    if (open == std::string_view::npos) return out.append(text);
    if (open > 0 && text[open - 1] == '$') {
      out.append(text.substr(0, open - 1)).append("${");
      text.remove_prefix(open + 2);
      continue;
    }
    auto close = text.find('}', open);
    if (close == std::string_view::npos)
      return std::unexpected("'${' is never closed; write '$${' for the characters");
    std::string_view inside = text.substr(open + 2, close - open - 2);
    auto split = inside.find(":-");
    std::string name(inside.substr(0, split));
    const char* value = std::getenv(name.c_str());
    bool has_default = split != std::string_view::npos;
    if (value == nullptr && !has_default)
      return std::unexpected(fmt::format("the environment variable {} is not set", name));
    out.append(text.substr(0, open));
    // As in a shell, `:-` also replaces a variable that is set but empty.
    if (value == nullptr || (has_default && *value == '\0'))
      out.append(inside.substr(split + 2));
    else
      out.append(value);
    text.remove_prefix(close + 1);
  }
}

namespace {

/// Edit distance in which two swapped neighbours are one slip, not two.
std::size_t slips(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last.back();
}

}  // namespace

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  std::size_t fewest = std::max<std::size_t>(word.size() / 3, 1) + 1;
  for (auto candidate : candidates) {
    std::size_t count = slips(word, candidate);
    if (count >= fewest) continue;
    fewest = count;
    best = candidate;
  }
  return best;
}

}  // namespace tailrace::config
