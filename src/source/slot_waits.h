#pragma once
// SlotWaits: what the creation of a slot waits for, by name: the transactions that are open at the source,
// prepared ones too, of whatever database.

#include <functional>
#include <string>

#include "source/slot.h"

namespace tailrace::source {

struct TellingWaits {
  std::string source;  ///< connection string, for looking beside what waits
  std::string application_name;
  /// On another thread, when it takes longer than a moment, and then again and again; "" when it is over.
  std::function<void(const std::string& waiting_for)> tell;
};

/// create_slot, and the log says what it waits for when that changes.
CreatedSlot create_slot_telling(pg::Connection& replication, const std::string& name,
                                const CreateSlotOptions& options, const TellingWaits& telling);

}  // namespace tailrace::source
