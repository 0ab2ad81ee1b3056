#pragma once
// Errand: a call into a library that may wait for ever and cannot be interrupted, done by a thread of its own.
// Whoever sent it waits as long as they like and goes on without it; it ends by itself, or with the process.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

namespace tailrace {

class Errand {
 public:
  /// Null when it cannot begin: no thread can be had, or as many as a process may lose are under way. `work`
  /// must own what it uses, and not throw.
  static std::optional<Errand> begin(std::function<void()> work) noexcept;

  /// True once it is done.
  bool wait_for(std::chrono::milliseconds time) const;

  /// Of this process. While there are any, it must leave by _exit(): what exit() destroys may be in their
  /// hands.
  static std::size_t under_way();

 private:
  struct State;
  explicit Errand(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace tailrace
