#pragma once
// YamlWalker: goes through a YAML tree, expands environment variables, remembers where every field stands and
// collects what is wrong instead of stopping at it. Internal to this room.

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config_reader.h"

namespace tailrace::config {

class YamlWalker {
 public:
  explicit YamlWalker(std::string file) : file_(std::move(file)) {}

  struct Field {
    std::string_view key;
    std::function<void(const YAML::Node& node, const std::string& path)> read;
  };

  /// Calls the field's reader for each key; unknown and repeated keys are problems.
  void mapping(const YAML::Node& node, const std::string& path, const std::vector<Field>& fields);

  /// The expanded text; nullopt after reporting that it is no single value, or names an unset variable.
  std::optional<std::string> text(const YAML::Node& node, const std::string& path);
  std::optional<bool> boolean(const YAML::Node& node, const std::string& path);
  std::optional<int> integer(const YAML::Node& node, const std::string& path);
  /// `parse` takes the text and returns an expected; its error is reported here.
  template <typename Parse>
  auto parsed(const YAML::Node& node, const std::string& path, Parse parse)
      -> std::optional<typename decltype(parse(std::string()))::value_type> {
    auto value = text(node, path);
    if (!value) return std::nullopt;
    auto result = parse(*value);
    if (result) return std::move(*result);
    problem(node, path, result.error());
    return std::nullopt;
  }

  void problem(const YAML::Node& node, const std::string& path, std::string what);
  void problem(const YAML::Mark& mark, const std::string& path, std::string what);

  /// Adds problems that know only their field, at the place where that field was read.
  void place(Problems problems);

  bool failed() const { return !problems_.empty(); }
  /// In the order of the file.
  Problems take_problems();

 private:
  std::string file_;
  Problems problems_;
  std::map<std::string, YAML::Mark> where_;
};

/// `${NAME}`, `${NAME:-default}` and `$${`; the error names the variable, never a value.
std::expected<std::string, std::string> expand_environment(std::string_view text);

/// The candidate that somebody who typed `word` may have meant, or empty.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace tailrace::config
