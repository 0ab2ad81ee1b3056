#include "target/postgres/table_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::target::postgres {
namespace {

using testing::HasSubstr;

constexpr Oid int4 = 23, int8 = 20, text = 25, numeric = 1700, timestamptz = 1184, timestamp = 1114;

TargetColumn target_column(const std::string& name, Oid type, const std::string& sql,
                           std::int32_t typmod = -1) {
  TargetColumn column;
  column.name = name;
  column.type = column.declared = sql;
  column.type_oid = column.base_oid = type;
  column.type_name = sql;
  column.type_schema = "pg_catalog";
  column.equals = "operator(pg_catalog.=)";
  column.typmod = typmod;
  column.receives = true;
  return column;
}

TargetTable two_columns() {
  TargetTable table;
  table.schema = "s";
  table.name = "T";
  table.columns = {target_column("id", int4, "integer"), target_column("v", text, "text")};
  table.primary_key = {"id"};
  return table;
}

std::shared_ptr<const Relation> relation(ReplicaIdentity identity = ReplicaIdentity::by_default) {
  bool full = identity == ReplicaIdentity::full;
  return std::make_shared<Relation>(
      Relation{1, "s", "T", identity, {{"v", text, -1, full}, {"id", int4, -1, true}}});
}

TEST(TablePlan, FindsRowsByTheReplicaIdentity) {
  TablePlan plan(1, relation(), two_columns());
  EXPECT_EQ(plan.insert_sql(),
            R"(insert into "s"."T" ("v", "id") overriding system value values ($1::text, $2::integer))");
  EXPECT_THAT(
      plan.update_sql({true, false}),
      HasSubstr(
          R"((update only "s"."T" t set "v" = $1::text where t."id" operator(pg_catalog.=) $2::integer ret)"));
  EXPECT_THAT(plan.delete_sql(),
              HasSubstr(R"((delete from only "s"."T" t where t."id" operator(pg_catalog.=) $1::integer ret)"));
  EXPECT_FALSE(plan.extra_columns);
}

TEST(TablePlan, FullIdentityUsesTheTargetsKeyIfThereIsOne) {
  TablePlan keyed(1, relation(ReplicaIdentity::full), two_columns());
  EXPECT_THAT(keyed.delete_sql(), HasSubstr(R"(where t."id" operator(pg_catalog.=) $1)"));
  auto keyless = two_columns();
  keyless.primary_key.clear();
  TablePlan plan(1, relation(ReplicaIdentity::full), keyless);
  EXPECT_TRUE(plan.key.empty());
  EXPECT_THAT(plan.delete_sql(), HasSubstr("is not distinct from $2::integer::pg_catalog.text limit 1"));
}

TEST(TablePlan, GeneratedIdentitiesAreNotAssigned) {
  auto table = two_columns();
  table.columns[1].identity_always = true;
  TablePlan plan(1, relation(), table);
  EXPECT_FALSE(plan.assignable(0));
  EXPECT_THAT(plan.update_sql({false, true}), HasSubstr(R"(where t."v" = $2::text and t."id")"));
}

TEST(TablePlan, AColumnThatTheTargetLacksIsNamed) {
  auto table = two_columns();
  table.columns.pop_back();
  try {
    TablePlan plan(1, relation(), table);
    FAIL() << "it took a table without the column";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("s.T has no column v"));
  }
}

bool accepted(Oid source, std::int32_t source_typmod, const TargetColumn& target) {
  schema::Table table;
  table.schema = "s";
  table.name = "t";
  schema::Column column;
  column.name = "c";
  auto type = std::make_shared<schema::Type>();
  type->oid = source;
  type->builtin = true;
  column.type = type;
  column.typmod = source_typmod;
  try {
    check_fits(table, column, target);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::int32_t numeric_typmod(int precision, int scale) {
  return ((precision << 16) | (scale & 0x7ff)) + 4;
}

TEST(CheckFits, WhatWouldRoundIsRefused) {
  auto money = target_column("c", numeric, "numeric", numeric_typmod(10, 2));
  EXPECT_TRUE(accepted(numeric, numeric_typmod(8, 2), money));
  EXPECT_TRUE(accepted(numeric, numeric_typmod(12, 1), money));
  EXPECT_FALSE(accepted(numeric, numeric_typmod(8, 3), money));
  EXPECT_FALSE(accepted(numeric, -1, money));
  EXPECT_TRUE(accepted(numeric, -1, target_column("c", numeric, "numeric")));
  EXPECT_FALSE(accepted(timestamptz, 6, target_column("c", timestamptz, "timestamptz", 0)));
  EXPECT_FALSE(accepted(timestamptz, -1, target_column("c", timestamp, "timestamp")));
}

TEST(CheckFits, WiderTypesAreTaken) {
  EXPECT_TRUE(accepted(int4, -1, target_column("c", int8, "bigint")));
  EXPECT_TRUE(accepted(int4, -1, target_column("c", numeric, "numeric")));
  EXPECT_FALSE(accepted(int8, -1, target_column("c", int4, "integer")));
  EXPECT_TRUE(accepted(timestamptz, 3, target_column("c", text, "text")));
}

TEST(SameBinary, NumbersOfObjectsAndLateInventionsTravelAsText) {
  auto same = [](Oid oid, int version) {
    schema::Column column;
    auto type = std::make_shared<schema::Type>();
    type->oid = oid;
    type->builtin = true;
    column.type = type;
    return same_binary(column, target_column("c", oid, "x"), version);
  };
  EXPECT_TRUE(same(int4, 150000));
  EXPECT_FALSE(same(2205, 150000));  // regclass
  EXPECT_FALSE(same(1186, 160000));  // interval, which may be infinite since 17
  EXPECT_TRUE(same(1186, 170000));
}

}  // namespace
}  // namespace tailrace::target::postgres
