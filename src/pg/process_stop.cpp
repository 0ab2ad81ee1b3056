#include "pg/process_stop.h"

#include <atomic>

namespace tailrace::pg {
namespace {

std::atomic<const StopSignal*> stop_of_all{nullptr};

}  // namespace

void end_with(const StopSignal& stop) {
  stop_of_all = &stop;
}

bool ending() {
  const StopSignal* stop = stop_of_all;
  return stop != nullptr && stop->requested();
}

}  // namespace tailrace::pg
