#include "schema/sequence.h"

#include <gtest/gtest.h>

namespace tailrace::schema {
namespace {

Sequence sequence(SequenceValue value, std::int64_t increment = 1, std::int64_t least = 1,
                  std::int64_t most = INT64_MAX) {
  Sequence out;
  out.oid = 7;
  out.schema = "public";
  out.name = "s";
  out.increment = increment;
  out.least = least;
  out.most = most;
  out.value = value;
  return out;
}

TEST(Sequence, IsSetAheadByIncrements) {
  EXPECT_EQ(value_ahead(sequence({10, true}, 5), sequence({1, false}, 5), 100), (SequenceValue{510, true}));
  EXPECT_EQ(
      value_ahead(sequence({-10, true}, -5, INT64_MIN, -1), sequence({-1, false}, -5, INT64_MIN, -1), 100),
      (SequenceValue{-510, true}));
}

TEST(Sequence, NeverGoesBack) {
  EXPECT_EQ(value_ahead(sequence({10, true}), sequence({110, true}), 100), std::nullopt);
  EXPECT_EQ(value_ahead(sequence({10, true}), sequence({500, true}), 100), std::nullopt);
  EXPECT_EQ(value_ahead(sequence({-10, true}, -1, -1000, -1), sequence({-500, true}, -1, -1000, -1), 100),
            std::nullopt);
}

TEST(Sequence, WithoutAMarginStandsWhereTheSourceDoes) {
  EXPECT_EQ(value_ahead(sequence({10, false}), sequence({1, false}), 0), (SequenceValue{10, false}));
  EXPECT_EQ(value_ahead(sequence({10, true}), sequence({10, false}), 0), (SequenceValue{10, true}));
  EXPECT_EQ(value_ahead(sequence({10, false}), sequence({10, true}), 0), std::nullopt);
}

TEST(Sequence, StaysWithinTheTargetsBounds) {
  EXPECT_EQ(value_ahead(sequence({32700, true}), sequence({1, false}, 1, 1, 32767), 1000),
            (SequenceValue{32767, true}));
  EXPECT_EQ(value_ahead(sequence({INT64_MAX - 5, true}, 7), sequence({1, false}, 7), INT64_MAX),
            (SequenceValue{INT64_MAX, true}));
  EXPECT_EQ(
      value_ahead(sequence({-32000, true}, -1, -40000, -1), sequence({-1, false}, -1, -32768, -1), 10'000),
      (SequenceValue{-32768, true}));
}

TEST(Sequence, IsSetByItsIdentityAndByAStatementThatLooksAgain) {
  const std::string set = "select pg_catalog.setval(7::pg_catalog.oid::pg_catalog.regclass, ";
  const std::string look =
      " from pg_catalog.pg_sequence_last_value(7::pg_catalog.oid::pg_catalog.regclass) at (last) ";
  auto up = sequence({1, false});
  EXPECT_EQ(set_sequence_sql(up, {7, true}, false), set + "7, true)");
  EXPECT_EQ(set_sequence_sql(up, {7, true}, true),
            set + "7, true)" + look + "where coalesce(last, 1) < 7 or last is null and 1 = 7");
  EXPECT_EQ(set_sequence_sql(sequence({-1, false}, -1), {-7, false}, true),
            set + "-7, false)" + look + "where coalesce(last, -1) > -7");
}

}  // namespace
}  // namespace tailrace::schema
