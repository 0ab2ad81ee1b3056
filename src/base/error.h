#pragma once
// Error: the one exception type. It says what happened, where, and what to do about it. Thrown wherever the
// current attempt cannot go on; caught at thread roots, and decided on by the supervisor alone.

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace tailrace {

/// What the supervisor may do with an error. A property of the fact, not a decision.
enum class Retry {
  transient,       ///< the same attempt may succeed later: lost connection, server restart
  needs_operator,  ///< somebody must change something first; the remedy says what
  fatal,           ///< a broken invariant or damaged data: stop, never guess
  in_doubt,        ///< a commit was sent and its outcome is unknown: reread the checkpoint, then go on
};

class Error : public std::runtime_error {
 public:
  Error(Retry retry, std::string what, std::string remedy = {});

  /// The failure and its contexts, outermost first: "copying public.orders: connection lost".
  const std::string& message() const { return message_; }
  const std::string& remedy() const { return remedy_; }
  Retry retry() const { return retry_; }
  /// SQLSTATE when a PostgreSQL server raised it, else empty.
  const std::string& sqlstate() const { return sqlstate_; }

  Error& with_context(std::string_view context);
  Error& with_sqlstate(std::string sqlstate);

  const char* what() const noexcept override { return full_.c_str(); }

 private:
  void rebuild();

  Retry retry_;
  std::string message_;
  std::string remedy_;
  std::string sqlstate_;
  std::string full_;
};

std::string_view to_string(Retry retry);

/// An invariant that must hold in release builds too. Its failure is Retry::fatal.
#define TAILRACE_CHECK(condition)                               \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::tailrace::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace tailrace
