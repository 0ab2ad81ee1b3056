#include "pgoutput/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pgoutput/message_builder.h"

namespace tailrace::pgoutput {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Lsn lsn_a{0x0000000100000002};
constexpr Lsn lsn_b{0x0000000A00000BCD};
constexpr PgTimestamp time_a{777'000'000'123'456};

const MessageBuilder plain;
const MessageBuilder in_block{4711};

/// One of each, and in which surroundings it comes: used by the tests that cut and extend messages.
struct Sample {
  std::string bytes;
  bool in_stream = false;
  bool parallel = false;
};

std::vector<Sample> samples() {
  std::vector<Sample> out;
  Cells row{text_cell("1"), null_cell(), unchanged_cell(), binary_cell(std::string("\0\1", 2)), text_cell("")};
  Relation relation = make_relation(42, "orders", 3, {0, 2});
  auto contents = [&](const MessageBuilder& build, bool in_stream) {
    for (const auto& bytes :
         {build.relation(relation), build.type(16400, "public", "mood"), build.insert(42, row),
          build.update(42, row), build.update(42, 'K', row, row), build.update(42, 'O', row, row),
          build.remove(42, 'K', row), build.remove(42, 'O', row), build.truncate({42, 43}, 3),
          build.message(true, lsn_a, "audit", "hello")}) {
      out.push_back({bytes, in_stream, false});
    }
  };
  contents(plain, false);
  contents(in_block, true);
  for (const auto& bytes :
       {plain.begin(9, lsn_a, time_a), plain.commit(lsn_a, lsn_b, time_a), plain.origin(lsn_a, "node"),
        plain.stream_start(9, true), plain.stream_commit(9, lsn_a, lsn_b, time_a), plain.stream_abort(9, 10),
        plain.begin_prepare(9, lsn_a, lsn_b, "gid", time_a), plain.prepare(9, lsn_a, lsn_b, "gid", time_a),
        plain.stream_prepare(9, lsn_a, lsn_b, "gid", time_a),
        plain.commit_prepared(9, lsn_a, lsn_b, "gid", time_a),
        plain.rollback_prepared(9, lsn_a, lsn_b, "gid", {}, time_a)}) {
    out.push_back({bytes, false, false});
  }
  out.push_back({plain.stream_stop(), true, false});
  out.push_back({plain.stream_abort(9, 10, lsn_a, time_a), false, true});
  return out;
}

Decoder decoder_for(const Sample& sample) {
  Decoder out(sample.parallel);
  out.set_in_stream(sample.in_stream);
  return out;
}

void expect_malformed(const std::string& bytes, const std::string& why, bool in_stream = false) {
  Decoder decoder;
  decoder.set_in_stream(in_stream);
  try {
    decoder.decode(bytes);
    ADD_FAILURE() << "was accepted; expected: " << why;
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::fatal);
    EXPECT_THAT(error.message(), HasSubstr(why));
  }
}

TEST(Decoder, ReadsTheFrameOfATransaction) {
  Decoder decoder;
  std::string bytes = plain.begin(9, lsn_a, time_a);
  const Message& message = decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::begin);
  EXPECT_EQ(message.xid, 9u);
  EXPECT_EQ(message.commit_lsn, lsn_a);
  EXPECT_EQ(message.time, time_a);

  bytes = plain.commit(lsn_a, lsn_b, time_a);
  decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::commit);
  EXPECT_EQ(message.commit_lsn, lsn_a);
  EXPECT_EQ(message.end_lsn, lsn_b);
  EXPECT_EQ(message.time, time_a);

  bytes = plain.origin(lsn_b, "node_1");
  decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::origin);
  EXPECT_EQ(message.message_lsn, lsn_b);
  EXPECT_EQ(message.name, "node_1");
}

TEST(Decoder, ReadsARelation) {
  Relation relation{
      42, "shop", "Orders", ReplicaIdentity::index, {{"id", 20, -1, true}, {"total", 1700, 655366, false}}};
  Decoder decoder;
  EXPECT_EQ(decoder.decode(plain.relation(relation)).relation, relation);
  // The message object is used again: an older relation's columns must not shine through.
  Relation smaller{43, "shop", "empty", ReplicaIdentity::full, {}};
  EXPECT_EQ(decoder.decode(plain.relation(smaller)).relation, smaller);
  for (char identity : {'d', 'n', 'f', 'i'}) {
    relation.identity = static_cast<ReplicaIdentity>(identity);
    EXPECT_EQ(decoder.decode(plain.relation(relation)).relation.identity, relation.identity);
  }
}

TEST(Decoder, TakesAnEmptySchemaForTheCatalogs) {
  Relation relation{42, "", "pg_thing", ReplicaIdentity::by_default, {}};
  Decoder decoder;
  EXPECT_EQ(decoder.decode(plain.relation(relation)).relation.schema, "pg_catalog");
}

TEST(Decoder, ReadsAType) {
  Decoder decoder;
  std::string bytes = plain.type(16400, "public", "mood");
  const Message& message = decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::type);
  EXPECT_EQ(message.oid, 16400u);
  EXPECT_EQ(message.schema, "public");
  EXPECT_EQ(message.name, "mood");
}

TEST(Decoder, ReadsEveryKindOfValue) {
  Cells row{text_cell("abc"), null_cell(), unchanged_cell(), binary_cell(std::string("\0\xff", 2)),
            text_cell("")};
  Decoder decoder;
  std::string bytes = plain.insert(42, row);
  const Message& message = decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::insert);
  EXPECT_EQ(message.oid, 42u);
  EXPECT_FALSE(message.old_tuple.present());
  EXPECT_EQ(cells_of(message.new_tuple), row);
  EXPECT_TRUE(message.new_tuple.has_unchanged);

  bytes = plain.insert(42, {});
  decoder.decode(bytes);
  EXPECT_TRUE(message.new_tuple.present());
  EXPECT_EQ(message.new_tuple.column_count, 0);
  EXPECT_FALSE(message.new_tuple.has_unchanged);
}

TEST(Decoder, ReadsUpdatesAndDeletesWithTheirOldRows) {
  Cells old_row{text_cell("1"), null_cell()};
  Cells row{text_cell("2"), unchanged_cell()};
  Decoder decoder;
  std::string bytes = plain.update(42, row);
  const Message& message = decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::update);
  EXPECT_EQ(message.old_kind, OldTuple::none);
  EXPECT_FALSE(message.old_tuple.present());
  EXPECT_EQ(cells_of(message.new_tuple), row);

  for (auto [letter, kind] : {std::pair{'K', OldTuple::key}, std::pair{'O', OldTuple::full}}) {
    bytes = plain.update(42, letter, old_row, row);
    decoder.decode(bytes);
    EXPECT_EQ(message.old_kind, kind);
    EXPECT_EQ(cells_of(message.old_tuple), old_row);
    EXPECT_FALSE(message.old_tuple.has_unchanged);
    EXPECT_EQ(cells_of(message.new_tuple), row);

    bytes = plain.remove(42, letter, old_row);
    decoder.decode(bytes);
    EXPECT_EQ(message.type, MessageType::remove);
    EXPECT_EQ(message.old_kind, kind);
    EXPECT_EQ(cells_of(message.old_tuple), old_row);
    EXPECT_FALSE(message.new_tuple.present());
  }
}

TEST(Decoder, ReadsATruncate) {
  Decoder decoder;
  std::string bytes = plain.truncate({42, 43}, 1);
  const Message& message = decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::truncate);
  EXPECT_THAT(message.truncated, ElementsAre(42u, 43u));
  EXPECT_TRUE(message.cascade);
  EXPECT_FALSE(message.restart_identity);
  bytes = plain.truncate({44}, 2);
  decoder.decode(bytes);
  EXPECT_THAT(message.truncated, ElementsAre(44u));
  EXPECT_FALSE(message.cascade);
  EXPECT_TRUE(message.restart_identity);
}

TEST(Decoder, ReadsALogicalMessage) {
  Decoder decoder;
  std::string bytes = plain.message(false, lsn_a, "audit", std::string("a\0b", 3));
  const Message& message = decoder.decode(bytes);
  EXPECT_EQ(message.type, MessageType::message);
  EXPECT_FALSE(message.transactional);
  EXPECT_EQ(message.message_lsn, lsn_a);
  EXPECT_EQ(message.name, "audit");
  EXPECT_EQ(message.content, std::string_view("a\0b", 3));
}

TEST(Decoder, ReadsTheXidOfEveryMessageInAStreamBlock) {
  Decoder decoder;
  EXPECT_EQ(decoder.decode(plain.stream_start(4700, true)).xid, 4700u);
  EXPECT_TRUE(decoder.in_stream());
  Relation relation = make_relation(42, "orders", 1, {0});
  for (const auto& bytes :
       {in_block.relation(relation), in_block.type(1, "s", "t"), in_block.insert(42, {null_cell()}),
        in_block.update(42, {null_cell()}), in_block.remove(42, 'K', {null_cell()}), in_block.truncate({42}),
        in_block.message(true, lsn_a, "p", "c")}) {
    EXPECT_EQ(decoder.decode(bytes).xid, 4711u) << bytes[0];
  }
  decoder.decode(plain.stream_stop());
  EXPECT_FALSE(decoder.in_stream());
  EXPECT_EQ(decoder.decode(plain.insert(42, {null_cell()})).xid, 0u);
}

TEST(Decoder, ReadsTheEndOfAStreamedTransaction) {
  Decoder decoder;
  EXPECT_FALSE(decoder.decode(plain.stream_start(9, false)).first_segment);
  decoder.decode(plain.stream_stop());
  EXPECT_TRUE(decoder.decode(plain.stream_start(9, true)).first_segment);
  decoder.decode(plain.stream_stop());
  const Message& message = decoder.decode(plain.stream_commit(9, lsn_a, lsn_b, time_a));
  EXPECT_EQ(message.type, MessageType::stream_commit);
  EXPECT_EQ(message.xid, 9u);
  EXPECT_EQ(message.commit_lsn, lsn_a);
  EXPECT_EQ(message.end_lsn, lsn_b);
  EXPECT_EQ(message.time, time_a);
  decoder.decode(plain.stream_abort(9, 10));
  EXPECT_EQ(message.type, MessageType::stream_abort);
  EXPECT_EQ(message.xid, 9u);
  EXPECT_EQ(message.subxid, 10u);
  Decoder parallel(/*parallel_streaming=*/true);
  const Message& abort = parallel.decode(plain.stream_abort(9, 11, lsn_b, time_a));
  EXPECT_EQ(abort.subxid, 11u);
  EXPECT_EQ(abort.commit_lsn, lsn_b);
  EXPECT_EQ(abort.time, time_a);
}

TEST(Decoder, ReadsTwoPhaseCommit) {
  Decoder decoder;
  for (const auto& [bytes, type] :
       {std::pair{plain.begin_prepare(9, lsn_a, lsn_b, "gid", time_a), MessageType::begin_prepare},
        std::pair{plain.prepare(9, lsn_a, lsn_b, "gid", time_a), MessageType::prepare},
        std::pair{plain.stream_prepare(9, lsn_a, lsn_b, "gid", time_a), MessageType::stream_prepare},
        std::pair{plain.commit_prepared(9, lsn_a, lsn_b, "gid", time_a), MessageType::commit_prepared},
        std::pair{plain.rollback_prepared(9, lsn_a, lsn_b, "gid", {1}, time_a),
                  MessageType::rollback_prepared}}) {
    const Message& message = decoder.decode(bytes);
    EXPECT_EQ(message.type, type);
    EXPECT_EQ(message.xid, 9u);
    EXPECT_EQ(message.commit_lsn, lsn_a);
    EXPECT_EQ(message.end_lsn, lsn_b);
    EXPECT_EQ(message.time, time_a);
    EXPECT_EQ(message.gid, "gid");
  }
}

TEST(Decoder, RefusesEveryMessageThatIsCutShort) {
  for (const auto& sample : samples()) {
    for (std::size_t length = 0; length < sample.bytes.size(); ++length) {
      // A copy of its own, so that a read past the end is one past the heap block as well.
      std::vector<char> cut(sample.bytes.begin(), sample.bytes.begin() + static_cast<std::ptrdiff_t>(length));
      Decoder decoder = decoder_for(sample);
      EXPECT_THROW(decoder.decode({cut.data(), cut.size()}), Error) << sample.bytes[0] << " of " << length;
    }
    Decoder decoder = decoder_for(sample);
    EXPECT_NO_THROW(decoder.decode(sample.bytes)) << sample.bytes[0];
  }
}

TEST(Decoder, RefusesEveryMessageThatIsTooLong) {
  for (const auto& sample : samples()) {
    Decoder decoder = decoder_for(sample);
    EXPECT_THROW(decoder.decode(sample.bytes + '\0'), Error) << sample.bytes[0];
  }
}

TEST(Decoder, RefusesWhatItDoesNotKnow) {
  expect_malformed("Z", "unknown type");
  Relation relation = make_relation(42, "orders", 1, {0});
  relation.identity = static_cast<ReplicaIdentity>('x');
  expect_malformed(plain.relation(relation), "unknown replica identity");
  expect_malformed(plain.insert(42, {Cell{static_cast<ValueKind>('x'), ""}}), "unknown kind");
  expect_malformed(plain.update(42, 'X', {null_cell()}, {null_cell()}), "unknown part");
  expect_malformed(plain.remove(42, 'N', {null_cell()}), "unknown part");
  std::string insert = plain.insert(42, {null_cell()});
  insert[5] = 'K';
  expect_malformed(insert, "an insert carries an old row");
  expect_malformed(plain.stream_start(9, true), "begins inside another", /*in_stream=*/true);
  expect_malformed(plain.stream_stop(), "ends that never began");
}

TEST(Decoder, RefusesLengthsThatLie) {
  std::string insert = plain.insert(42, {text_cell("abc")});
  insert[9] = '\xff';  // the highest byte of the value's length
  expect_malformed(insert, "ends before its own fields");
  std::string truncate = plain.truncate({42});
  truncate[1] = '\x40';  // times four this would wrap around 32 bits
  expect_malformed(truncate, "lists more tables than it holds");
  expect_malformed(std::string("Bx"), "ends before its own fields");
}

}  // namespace
}  // namespace tailrace::pgoutput
