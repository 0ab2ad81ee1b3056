#pragma once
// WalAlarm: when to say that the slot holds back so much WAL that the source will drop it, or fill its disk.
// Pure: it is told what the slot looks like, and when.

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

namespace tailrace::pipeline {

class WalAlarm {
 public:
  using Clock = std::chrono::steady_clock;

  struct Slot {
    std::int64_t retained = 0;  ///< bytes
    std::int64_t room = -1;     ///< how much it may hold back at most; -1: nobody said
    std::string whose_room;     ///< for people: what says so
    bool lost = false;          ///< the server gave up on it
    bool by_choice = false;     ///< it is told nothing, by slot.acknowledge
  };

  /// What to log: each level is told once, until it is well behind again. Empty: nothing new.
  std::string look(const Slot& slot, Clock::time_point now);
  /// What holds now; empty: all is well.
  const std::string& standing() const { return standing_; }

 private:
  enum class Level { none, half, urgent, lost };

  struct Sample {
    Clock::time_point at;
    std::int64_t retained = 0;
  };

  Level level(const Slot& slot, double margin) const;
  double seconds_left(const Slot& slot) const;
  std::string sentence(const Slot& slot) const;

  std::deque<Sample> samples_;
  Level told_ = Level::none;
  std::string standing_;
};

}  // namespace tailrace::pipeline
