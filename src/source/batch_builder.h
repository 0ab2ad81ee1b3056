#pragma once
// BatchBuilder: pgoutput messages of changes become a ChangeBatch, which owns a copy of their bytes.

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/change_batch.h"
#include "pgoutput/decoder.h"

namespace tailrace::source {

/// One thread.
class BatchBuilder {
 public:
  std::size_t bytes() const { return batch_->bytes(); }
  std::size_t filled_bytes() const { return batch_->filled_bytes(); }
  bool empty() const { return batch_->empty(); }
  std::size_t changes() const { return batch_->changes.size(); }

  /// An insert, update or delete of `relation`; `payload` is what the message was decoded from.
  void add_row(const pgoutput::Message& message, std::string_view payload,
               const std::shared_ptr<const Relation>& relation);
  /// Before the first row that may be of it; `relation`: as which its rows arrive.
  void add_leaf(Oid leaf, const std::shared_ptr<const Relation>& relation);
  void add_truncate(const pgoutput::Message& message,
                    const std::vector<std::shared_ptr<const Relation>>& relations);
  /// A logical message; `inside`: of a transaction.
  void add_message(const pgoutput::Message& message, bool inside);
  void add_transaction(TransactionSpan span) { batch_->transactions.push_back(std::move(span)); }

  /// What was built; the next batch begins empty.
  std::shared_ptr<ChangeBatch> take();

 private:
  std::uint32_t index_of(const std::shared_ptr<const Relation>& relation);

  std::shared_ptr<ChangeBatch> batch_ = std::make_shared<ChangeBatch>();
  std::unordered_map<const Relation*, std::uint32_t> indexes_;
  const Relation* last_ = nullptr;
  std::uint32_t last_index_ = 0;
};

/// The stream contradicts itself.
[[noreturn]] void out_of_order(const char* what);

}  // namespace tailrace::source
