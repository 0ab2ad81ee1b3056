// Any bytes as a replication stream: decoder, assembler and fold may refuse them with an Error, and nothing
// else. What they take must hold together: every tuple can be walked to its end, every row resolves.
//
// The input is a row of messages, each behind its length in two bytes, big-endian.

#include <cstdlib>
#include <map>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "pipeline/fold.h"
#include "source/transaction_assembler.h"

namespace {

using namespace tailrace;

void require(bool holds) {
  if (!holds) std::abort();
}

void walk(const TupleData& tuple, std::size_t columns) {
  if (!tuple.present()) return;
  require(tuple.column_count == columns);
  std::size_t bytes = 0;
  TupleWalker walker(tuple);
  while (!walker.done()) {
    for (char c : walker.next().bytes) bytes += static_cast<unsigned char>(c);
  }
  require(walker.position() == tuple.data + tuple.size);
  // Keeps the reads above from being left out.
  asm volatile("" : : "r"(bytes));
}

void check(const TableBatch& batch) {
  std::vector<Value> values(batch.relation->columns.size());
  std::size_t live = 0;
  for (const auto& row : batch.rows) {
    walk(row.tuple, values.size());
    if (!row.live) continue;
    ++live;
    resolve_row(batch, row, values);
    require(row.lookup == no_index || row.lookup < batch.deletes.size());
    // Only the target's row may be missing now.
    for (const auto& value : values) require(value.kind != ValueKind::unchanged || row.lookup != no_index);
  }
  require(live == batch.live_rows);
  for (const auto& removed : batch.deletes) walk(removed.tuple, values.size());
}

void fold(const ChangeBatch& batch) {
  std::map<std::uint32_t, pipeline::TableFold> folds;
  auto fold_of = [&](std::uint32_t relation) -> pipeline::TableFold& {
    return folds.try_emplace(relation, batch.relations.at(relation)).first->second;
  };
  std::size_t changes = 0;
  for (const auto& transaction : batch.transactions) {
    require(transaction.first_change + transaction.change_count <= batch.changes.size());
    changes += transaction.change_count;
    for (std::size_t i = 0; i < transaction.change_count; ++i) {
      const Change& change = batch.changes[transaction.first_change + i];
      if (change.kind == ChangeKind::message) {
        require(change.index < batch.messages.size());
      } else if (change.kind == ChangeKind::truncate) {
        for (auto relation : batch.truncates.at(change.index).relations) fold_of(relation).truncate();
      } else {
        std::size_t columns = batch.relations.at(change.index)->columns.size();
        walk(change.old_tuple, columns);
        walk(change.new_tuple, columns);
        fold_of(change.index).add(change);
      }
    }
  }
  require(changes == batch.changes.size());
  for (auto& [relation, open] : folds) check(std::move(open).finish());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  using Then = source::TransactionAssembler::Then;
  source::TransactionAssembler assembler(
      {.spool_directory = "/tmp", .applied = Lsn{0x40}, .ahead = size % 2 == 0});
  try {
    std::size_t handed_on = 0;
    auto hand_on = [&] {
      handed_on = 0;
      fold(*assembler.seal());
    };
    while (rest.size() > 2) {
      std::size_t length =
          std::min<std::size_t>(static_cast<std::size_t>(static_cast<unsigned char>(rest[0])) << 8 |
                                    static_cast<unsigned char>(rest[1]),
                                rest.size() - 2);
      // On the heap by itself, so that a read past it is seen, and so is one after it is gone.
      std::vector<char> message(rest.begin() + 2, rest.begin() + 2 + static_cast<std::ptrdiff_t>(length));
      rest.remove_prefix(2 + length);
      auto then = assembler.add({message.data(), message.size()});
      if (then == Then::commit_ahead) {
        fold(*assembler.seal());
        fold(*assembler.seal_ahead_part());
        auto commit = assembler.seal_ahead_commit();
        require(commit->transactions.size() == 1 && commit->changes.empty());
        if (length % 2 == 0) {
          commit->ahead->commit();
        } else {
          commit->ahead->give_up();
        }
        if (assembler.end_ahead()) then = Then::replay;
      }
      if (then == Then::replay) {
        while (assembler.replay()) {
        }
      }
      require(assembler.bytes() < size * 64 + 2 * Arena::block_size + 4096);
      if (++handed_on == 24) hand_on();
    }
    hand_on();
  } catch (const Error&) {
  }
  return 0;
}
