#include "pipeline/interrupter.h"

#include <chrono>

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 100ms;
/// What is nearly done is done.
constexpr auto patience = 2s;
constexpr auto again_after = 500ms;

}  // namespace

Interrupter::Interrupter(target::Target& target, const StopSignal& stop)
    : target_(target), stop_(stop), thread_([this](const std::stop_token& end) { loop(end); }) {}

void Interrupter::loop(const std::stop_token& end) {
  std::unique_lock lock(mutex_);
  auto ends_within = [&](std::chrono::milliseconds time) {
    ended_.wait_for(lock, end, time, [] { return false; });
    return end.stop_requested();
  };
  while (!stop_.requested()) {
    if (ends_within(look_every)) return;
  }
  if (ends_within(patience)) return;
  do {
    target_.interrupt();
  } while (!ends_within(again_after));
}

}  // namespace tailrace::pipeline
