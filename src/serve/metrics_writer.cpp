#include "serve/metrics_writer.h"

#include <fmt/format.h>

#include <array>

namespace tailrace::serve {
namespace {

std::string escaped(std::string_view value) {
  std::string out;
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void MetricsWriter::begin(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  out_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void MetricsWriter::line(double value, Labels labels) {
  add("", labels, fmt::format("{}", value));
}

void MetricsWriter::line(std::int64_t value, Labels labels) {
  add("", labels, fmt::format("{}", value));
}

void MetricsWriter::histogram(std::string_view name, std::string_view help,
                              const pipeline::Histogram& histogram) {
  begin(name, "histogram", help);
  auto counts = histogram.read();
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < counts.in.size(); ++i) {
    below += counts.in.at(i);
    bool last = i == pipeline::Histogram::bounds.size();
    auto bound = last ? "+Inf" : fmt::format("{}", pipeline::Histogram::bounds.at(i));
    add("_bucket", {{"le", bound}}, fmt::format("{}", below));
  }
  add("_sum", {}, fmt::format("{}", counts.seconds));
  add("_count", {}, fmt::format("{}", below));
}

void MetricsWriter::add(std::string_view suffix, Labels labels, std::string_view value) {
  out_ += fmt::format("{}{}{{subscription=\"{}\"", name_, suffix, escaped(subscription_));
  for (const auto& [name, text] : labels) out_ += fmt::format(",{}=\"{}\"", name, escaped(text));
  out_ += fmt::format("}} {}\n", value);
}

}  // namespace tailrace::serve
