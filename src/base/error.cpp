#include "base/error.h"

namespace tailrace {

Error::Error(Retry retry, std::string what, std::string remedy)
    : std::runtime_error(what), retry_(retry), message_(std::move(what)), remedy_(std::move(remedy)) {
  rebuild();
}

Error& Error::with_context(std::string_view context) {
  message_ = fmt::format("{}: {}", context, message_);
  rebuild();
  return *this;
}

Error& Error::with_sqlstate(std::string sqlstate) {
  sqlstate_ = std::move(sqlstate);
  return *this;
}

void Error::rebuild() {
  bool ends = message_.ends_with('.') || message_.ends_with('?') || message_.ends_with('!');
  full_ = remedy_.empty() ? message_ : fmt::format("{}{} {}", message_, ends ? "" : ".", remedy_);
}

std::string_view to_string(Retry retry) {
  switch (retry) {
    case Retry::transient: return "transient";
    case Retry::needs_operator: return "needs operator";
    case Retry::fatal: return "fatal";
    case Retry::in_doubt: return "in doubt";
  }
  return "unknown";
}

void check_failed(const char* condition, const char* file, int line) {
  throw Error(Retry::fatal, fmt::format("broken invariant {} at {}:{}", condition, file, line),
              "This is a bug in tailrace; nothing was acknowledged beyond what is durable. Please report it");
}

}  // namespace tailrace
