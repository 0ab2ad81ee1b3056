#pragma once
// Parameters: values of the stream as the parameters of a statement.

#include <string>
#include <vector>

#include "base/error.h"
#include "model/tuple.h"
#include "pg/pipeline.h"

namespace tailrace::target::postgres {

/// Borrows the values' bytes until list() was used.
class Parameters {
 public:
  void clear() {
    slots_.clear();
    texts_.clear();
  }

  void add(const Value& value) {
    TAILRACE_CHECK(value.kind != ValueKind::unchanged);
    slots_.push_back({value, texts_.size()});
    if (value.kind == ValueKind::text) texts_.append(value.bytes).push_back('\0');
  }
  std::size_t size() const { return slots_.size(); }

  const std::vector<pg::Parameter>& list() {
    list_.clear();
    for (const auto& slot : slots_) {
      bool binary = slot.value.kind == ValueKind::binary;
      const char* data = binary ? slot.value.bytes.data() : texts_.data() + slot.text_at;
      // An empty binary value may have no bytes to point at, and null means NULL.
      if (data == nullptr) data = "";
      if (slot.value.kind == ValueKind::null) data = nullptr;
      list_.push_back({data, static_cast<int>(slot.value.bytes.size()), binary});
    }
    return list_;
  }

 private:
  struct Slot {
    Value value;
    std::size_t text_at = 0;  ///< where its text with a final NUL stands, which is how libpq takes text
  };
  std::vector<Slot> slots_;
  std::string texts_;
  std::vector<pg::Parameter> list_;
};

}  // namespace tailrace::target::postgres
