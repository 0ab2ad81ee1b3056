#include "pipeline/wal_alarm.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/copy_anew.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

constexpr auto looked_back = 10min;
// Until then, one large transaction would pass for a trend.
constexpr auto trend = 1min;
constexpr double half = 0.5, urgent = 0.8;
constexpr double half_seconds = 4 * 3600, urgent_seconds = 3600;
// However fast it grows, there is much room yet.
constexpr double much_room = 0.1;

std::string readable(std::int64_t bytes) {
  auto value = static_cast<double>(bytes);
  for (const char* unit : {"kB", "MB", "GB"}) {
    value /= 1024;
    if (value < 1024) return fmt::format("{:.1f} {}", value, unit);
  }
  return fmt::format("{:.1f} TB", value / 1024);
}

std::string readable_time(double seconds) {
  if (seconds < 120 * 60) return fmt::format("{:.0f} min", std::max(seconds / 60, 1.0));
  return fmt::format("{:.0f} hours", seconds / 3600);
}

}  // namespace

std::string WalAlarm::look(const Slot& slot, Clock::time_point now) {
  samples_.push_back({now, slot.retained});
  while (now - samples_.front().at > looked_back) samples_.pop_front();
  auto current = level(slot, 1);
  standing_ = current == Level::none ? "" : sentence(slot);
  // Around a bound, it would be told again and again.
  told_ = std::min(told_, level(slot, 0.8));
  if (current <= told_) return {};
  told_ = current;
  return standing_;
}

/// `margin`: below 1, what is a little better counts too.
WalAlarm::Level WalAlarm::level(const Slot& slot, double margin) const {
  if (slot.lost) return Level::lost;
  if (slot.room < 0) return Level::none;
  double used = static_cast<double>(slot.retained) / static_cast<double>(std::max<std::int64_t>(slot.room, 1));
  double left = used < much_room ? std::numeric_limits<double>::infinity() : seconds_left(slot);
  if (used >= urgent * margin || left <= urgent_seconds / margin) return Level::urgent;
  if (used >= half * margin || left <= half_seconds / margin) return Level::half;
  return Level::none;
}

/// At the rate of the last minutes.
double WalAlarm::seconds_left(const Slot& slot) const {
  const auto& first = samples_.front();
  const auto& last = samples_.back();
  auto grown = last.retained - first.retained;
  if (last.at - first.at < trend || grown <= 0) return std::numeric_limits<double>::infinity();
  double seconds = std::chrono::duration<double>(last.at - first.at).count();
  return static_cast<double>(std::max<std::int64_t>(slot.room - slot.retained, 0)) * seconds /
         static_cast<double>(grown);
}

std::string WalAlarm::sentence(const Slot& slot) const {
  if (slot.lost)
    return with_run_arguments(
        "the source gave up on the slot: WAL that the mirror needs is gone. Stop the mirror, and copy "
        "everything anew, in place: tailrace run --recopy-all");
  std::string out = fmt::format(
      "the slot holds back {} of WAL at the source, {:.0f} % of the {} that {}", readable(slot.retained),
      100 * static_cast<double>(slot.retained) / static_cast<double>(std::max<std::int64_t>(slot.room, 1)),
      readable(slot.room), slot.whose_room);
  double left = seconds_left(slot);
  if (left <= half_seconds / 0.8)
    out += fmt::format("; as it grows now, in {} it is full", readable_time(left));
  if (slot.by_choice) {
    return out +
           ". slot.acknowledge is off, so it is never told what the target has: when nobody needs the WAL any "
           "more, "
           "run once with it on";
  }
  return out +
         ". Find out what keeps the mirror ('tailrace status'), give it more room there, or, if nobody needs "
         "it, 'tailrace teardown'";
}

}  // namespace tailrace::pipeline
