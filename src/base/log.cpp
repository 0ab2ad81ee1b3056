#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

#include "base/copy_anew.h"
#include "base/json.h"
#include "base/lsn.h"
#include "base/printable.h"
#include "base/terminal.h"

namespace tailrace::log {
namespace {

Format current_format = Format::text;

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view name(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
  }
  return "info";
}

spdlog::logger& logger() {
  static auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("tailrace", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

}  // namespace

void configure(Level level, Format format) {
  current_format = format;
  logger().set_level(to_spdlog(level));
}

void write(Level level, std::string_view component, std::string_view message,
           std::initializer_list<Field> fields) {
  if (!logger().should_log(to_spdlog(level))) return;
  std::string time = PgTimestamp::now().str();
  std::string whole = with_run_arguments(message);
  std::string line;
  if (current_format == Format::json) {
    line = fmt::format(R"({{"time":"{}","level":"{}","component":{},"message":{})", time, name(level),
                       json_quote(component), json_quote(printable(whole)));
    for (const auto& [key, value] : fields) {
      if (!value.empty())
        line += fmt::format(",{}:{}", json_quote(key), json_quote(printable(with_run_arguments(value))));
    }
    line += '}';
  } else {
    line = fmt::format("{} {:<5} {}: {}", time, name(level), component, printable(whole));
  }
  terminal::aside([&] { logger().log(to_spdlog(level), "{}", line); });
}

void write(Level level, std::string_view component, std::string_view message, const Error& error) {
  std::string retry(to_string(error.retry()));
  std::ranges::replace(retry, ' ', '_');
  write(level, component, message,
        {{"remedy", error.remedy()}, {"retry", retry}, {"sqlstate", error.sqlstate()}});
}

bool writes_json() {
  return current_format == Format::json;
}

}  // namespace tailrace::log
