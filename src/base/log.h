#pragma once
// Logging: one line per event on stderr, readable by default and JSON on request. Never per change.
// Callers pass no secrets; connection strings go through pg::redact first.

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace tailrace::log {

enum class Level { debug, info, warn, error };
enum class Format { text, json };

/// Call once at start. `level` is the lowest that is written.
void configure(Level level, Format format);

void write(Level level, std::string_view component, std::string_view message);

template <typename... Args>
void debug(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, component, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, component, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warn(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warn, component, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, component, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tailrace::log
