#pragma once
// Logging: one line per event on stderr, readable by default and JSON on request. Never per change.
// Callers pass no secrets; connection strings go through pg::redact first.

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace tailrace::log {

enum class Level { debug, info, warn, error };
enum class Format { text, json };

/// Call once at start. `level` is the lowest that is written.
void configure(Level level, Format format);

/// What a machine wants of an event by itself, and people read in its message: JSON alone shows it. The names
/// are in docs/monitoring.md; a field without a value is left out.
using Field = std::pair<std::string_view, std::string_view>;

void write(Level level, std::string_view component, std::string_view message,
           std::initializer_list<Field> fields = {});
/// With the remedy, the retry class and the SQLSTATE of an error, which the message tells of.
void write(Level level, std::string_view component, std::string_view message, const Error& error);

/// Whether somebody else than people reads it.
bool writes_json();

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
