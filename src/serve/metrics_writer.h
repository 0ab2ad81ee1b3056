#pragma once
// MetricsWriter: Prometheus's text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats), with one
// label on everything.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "pipeline/measures.h"

namespace tailrace::serve {

class MetricsWriter {
 public:
  using Label = std::pair<std::string_view, std::string_view>;
  using Labels = std::initializer_list<Label>;

  /// Every line says of which subscription it is.
  explicit MetricsWriter(std::string subscription) : subscription_(std::move(subscription)) {}

  /// Begins one metric; lines of it follow. A counter's name ends with _total.
  void begin(std::string_view name, std::string_view type, std::string_view help);
  void line(double value, Labels labels = {});
  void line(std::int64_t value, Labels labels = {});
  void histogram(std::string_view name, std::string_view help, const pipeline::Histogram& histogram);

  std::string take() { return std::move(out_); }

 private:
  void add(std::string_view suffix, Labels labels, std::string_view value);

  std::string subscription_;
  std::string name_;
  std::string out_;
};

}  // namespace tailrace::serve
