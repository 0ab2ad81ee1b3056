#pragma once
// What the tests of TransactionAssembler share.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pgoutput/message_builder.h"
#include "source/transaction_assembler.h"

namespace tailrace::source {

using pgoutput::make_relation;
using pgoutput::MessageBuilder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

inline constexpr Oid orders = 42;
inline constexpr Oid items = 43;

inline const MessageBuilder plain;

/// An assembler whose batches are read as short words: "begin 1", "insert orders(a,b)", "end 1 @30".
class TransactionAssemblerTest : public testing::Test {
 protected:
  explicit TransactionAssemblerTest(Lsn applied = {}, bool local_only = false, bool ahead = false)
      : assembler_({.spool_directory = testing::TempDir(),
                    .applied = applied,
                    .local_only = local_only,
                    .ahead = ahead}) {}

  /// Adds messages and reads spooled transactions back where it is time to.
  void add(const std::vector<std::string>& messages) {
    for (const auto& message : messages) {
      if (assembler_.add(message) != TransactionAssembler::Then::replay) continue;
      while (assembler_.replay()) {
      }
    }
  }

  std::vector<std::string> words() { return words_of(assembler_.seal()); }

  std::vector<std::string> words_of(std::shared_ptr<const ChangeBatch> batch) {
    std::vector<std::string> out;
    for (const auto& transaction : batch->transactions) {
      if (transaction.begins) out.push_back(fmt::format("begin {}", transaction.xid));
      for (std::size_t i = 0; i < transaction.change_count; ++i) {
        out.push_back(describe(*batch, batch->changes[transaction.first_change + i]));
      }
      if (transaction.ends)
        out.push_back(fmt::format("end {} @{}", transaction.xid, transaction.end_lsn.value));
    }
    sealed_.push_back(std::move(batch));
    return out;
  }

  static std::string describe(const ChangeBatch& batch, const Change& change) {
    static constexpr const char* names[] = {"insert", "update", "delete", "truncate", "message"};
    std::string out = names[static_cast<std::size_t>(change.kind)];
    if (change.kind == ChangeKind::truncate) {
      for (auto relation : batch.truncates[change.index].relations)
        out += " " + batch.relations[relation]->name;
      return out;
    }
    if (change.kind == ChangeKind::message) {
      const auto& message = batch.messages[change.index];
      return fmt::format("message {}={}", message.prefix, message.content);
    }
    out += " " + batch.relations[change.index]->name;
    if (change.old_tuple.present()) out += show(change.old_tuple);
    if (change.new_tuple.present()) out += show(change.new_tuple);
    return out;
  }

  static std::string show(const TupleData& tuple) {
    std::string out = "(";
    for (TupleWalker columns(tuple); !columns.done();) {
      Value value = columns.next();
      if (out.size() > 1) out += ",";
      out += value.kind == ValueKind::null        ? "null"
             : value.kind == ValueKind::unchanged ? "?"
                                                  : std::string(value.bytes);
    }
    return out + ")";
  }

  void expect_refused(const std::string& message, const std::string& why) {
    try {
      assembler_.add(message);
      ADD_FAILURE() << "was accepted; expected: " << why;
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr(why));
    }
  }

  static std::string begin(Xid xid, std::uint64_t commit) { return plain.begin(xid, {commit}, {7}); }
  static std::string commit(std::uint64_t commit, std::uint64_t end) {
    return plain.commit({commit}, {end}, {7});
  }
  static std::string relation(Oid oid, const char* name, std::size_t columns = 1) {
    return plain.relation(make_relation(oid, name, columns, {0}));
  }
  static std::string insert(Oid oid, const char* value) { return plain.insert(oid, {text_cell(value)}); }

  TransactionAssembler assembler_;
  std::vector<std::shared_ptr<const ChangeBatch>> sealed_;
};

}  // namespace tailrace::source
