#pragma once
// kill_point: a named place at which a test can end the process as kill -9 would, right before or after a
// step that must be durable. TAILRACE_KILL_POINT=NAME ends it at the first passage, NAME:N at the Nth.
// TAILRACE_STALL_POINT lets the thread that passes it stand still there for ever, as one of ours that is stuck.
// Each call has a literal name of its own, "room.step.moment": tests/support/kill_points.py finds them by it.

#include <string_view>

namespace tailrace {

namespace detail {
extern const bool kill_point_armed;
void pass_kill_point(std::string_view name) noexcept;
}  // namespace detail

/// Any thread. Without the variable it costs one load.
inline void kill_point(std::string_view name) noexcept {
  if (detail::kill_point_armed) [[unlikely]]
    detail::pass_kill_point(name);
}

}  // namespace tailrace
