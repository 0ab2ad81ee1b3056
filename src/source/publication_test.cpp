#include "source/publication.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::source {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TableRule rule(const char* text, std::vector<std::string> columns = {}, std::string where = {}) {
  return {TablePattern::parse(text).value(), std::move(columns), std::move(where)};
}

/// public.orders, public.log (unlogged), other.far (foreign), and events, partitioned in two levels.
std::vector<CatalogTable> catalog() {
  return {{1, "other", "far", false, 0, "p", 'f'},       {2, "public", "events", true, 0, "p", 'p'},
          {3, "public", "events_1", false, 2, "p", 'r'}, {4, "public", "events_2", true, 2, "p", 'p'},
          {5, "parts", "events_2a", false, 4, "p", 'r'}, {6, "public", "log", false, 0, "u", 'r'},
          {7, "public", "orders", false, 0, "p", 'r'}};
}

std::vector<std::string> names(const PublicationSpec& spec) {
  std::vector<std::string> out;
  for (const auto& selected : select_tables(catalog(), spec)) out.push_back(selected.table.qualified());
  return out;
}

std::string refusal(const PublicationSpec& spec) {
  try {
    select_tables(catalog(), spec);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::needs_operator);
    return error.message();
  }
}

TEST(Selection, RootsStandForTheirPartitions) {
  EXPECT_THAT(names({{"p"}, {}}), ElementsAre("public.events", "public.orders"));
  EXPECT_THAT(names({{"p"}, {{rule("public.*")}}}), ElementsAre("public.events", "public.orders"));
  EXPECT_THAT(names({{"p"}, {{rule("public.events_1"), rule("public.orders")}}}),
              ElementsAre("public.events_1", "public.orders"));
}

TEST(Selection, LeavesWhenAskedFor) {
  PublicationSpec spec{{"p"}, {{rule("public.*")}}, true, false};
  EXPECT_THAT(names(spec), ElementsAre("public.events", "public.orders"));
  spec.tables.rules.push_back(rule("!*.events_2a"));
  EXPECT_THAT(names(spec), ElementsAre("public.events_1", "public.orders"));
}

TEST(Selection, LeavesTakeTheirRootsOptions) {
  PublicationSpec spec{{"p"}, {{rule("public.events", {"id"}, "id > 1")}}, true, false};
  auto selected = select_tables(catalog(), spec);
  ASSERT_EQ(selected.size(), 2U);
  EXPECT_EQ(selected[0].table.name, "events_1");
  EXPECT_EQ(selected[1].table.name, "events_2a");
  EXPECT_EQ(selected[1].where, "id > 1");
}

TEST(Selection, MistakesAreNamed) {
  EXPECT_THAT(refusal({{"p"}, {{rule("*.*"), rule("!public.events_1")}}}),
              HasSubstr("is a partition of public.events"));
  EXPECT_THAT(refusal({{"p"}, {{rule("public.ordrs")}}}), HasSubstr("there is no such table"));
  EXPECT_THAT(refusal({{"p"}, {{rule("*.*"), rule("public.log")}}}), HasSubstr("unlogged"));
  EXPECT_THAT(refusal({{"p"}, {{rule("other.far")}}}), HasSubstr("foreign table"));
}

PublishedTable published(Oid oid, const char* name, std::vector<std::string> columns = {"id", "v"},
                         std::string filter = {}) {
  PublishedTable out;
  out.oid = oid;
  out.schema = "public";
  out.name = name;
  out.columns = std::move(columns);
  out.row_filter = std::move(filter);
  out.membership = fmt::format("r{}", oid);
  return out;
}

PublicationInfo publication(const char* name, std::vector<PublishedTable> tables) {
  PublicationInfo out;
  out.name = name;
  out.tables = std::move(tables);
  return out;
}

TEST(Publications, AreReadAsOne) {
  auto inserts = published(2, "b");
  inserts.update = inserts.remove = false;
  auto removes = published(2, "b");
  removes.insert = removes.update = removes.truncate = false;
  auto merged = merge_publications(
      {publication("x", {published(1, "a"), inserts}), publication("y", {removes, published(3, "c")})}, {});
  EXPECT_EQ(merged.name, "x, y");
  ASSERT_EQ(merged.tables.size(), 3U);
  EXPECT_EQ(merged.tables[1].membership, "r2 r2");
  EXPECT_TRUE(merged.tables[1].insert && merged.tables[1].remove && merged.tables[1].truncate);
  EXPECT_FALSE(merged.tables[1].update);
  EXPECT_FALSE(merged.managed);
}

TEST(Publications, FiltersAreAlternatives) {
  auto both =
      merge_publications({publication("x", {published(1, "a", {"id"}, "(id > 1)"), published(2, "b", {}, "x")}),
                          publication("y", {published(1, "a", {"id"}, "(v)"), published(2, "b", {})})},
                         {});
  EXPECT_EQ(both.tables[0].row_filter, "((id > 1)) OR ((v))");
  EXPECT_EQ(both.tables[1].row_filter, "");
}

TEST(Publications, ColumnsMustAgree) {
  auto one = publication("x", {published(1, "a", {"id", "v"})});
  EXPECT_NO_THROW(merge_publications({one, publication("y", {published(1, "a", {"v", "id"})})}, {}));
  try {
    merge_publications({one, publication("y", {published(1, "a", {"id"})})}, {});
    ADD_FAILURE() << "was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("different columns of public.a"));
    EXPECT_EQ(error.retry(), Retry::needs_operator);
  }
}

TEST(Publications, ARootStandsForItsLeaves) {
  auto merged = merge_publications({publication("x", {published(1, "root")}),
                                    publication("y", {published(3, "leaf"), published(9, "other")})},
                                   {{3, 2}, {2, 1}});
  ASSERT_EQ(merged.tables.size(), 2U);
  EXPECT_EQ(merged.tables[0].name, "other");
  EXPECT_EQ(merged.tables[1].name, "root");
}

TEST(Publications, TheirOrderDoesNotMatter) {
  EXPECT_EQ(compare_membership("r1 p2", "p2 r1"), Since::same);
  EXPECT_EQ(compare_membership("", ""), Since::same);
  EXPECT_EQ(compare_membership("r1 p2", "r1"), Since::otherwise);
  EXPECT_EQ(compare_membership("r1", "r2"), Since::otherwise);
  EXPECT_EQ(compare_membership("s1.744", "s1.745"), Since::otherwise);
  // Recorded before there was more to tell.
  EXPECT_EQ(compare_membership("s1", "s1.745"), Since::same);
  EXPECT_EQ(compare_membership("s1", "s11"), Since::otherwise);
  // With the publication's options.
  EXPECT_EQ(compare_membership("r1.7.o5", "r1.7.o5"), Since::same);
  EXPECT_EQ(compare_membership("r1.7.o5", "r1.7.o6"), Since::unsure);
  EXPECT_EQ(compare_membership("r1.7.o5", "r1.8.o5"), Since::otherwise);
  EXPECT_EQ(compare_membership("r1.o5 p2.o6", "p2.o6 r1.o5"), Since::same);
  EXPECT_EQ(compare_membership("r1.o5", "r1.n"), Since::same);
  EXPECT_EQ(compare_membership("r1.n", "r1.n"), Since::same);
  EXPECT_EQ(compare_membership("r1.n", "r1.o5"), Since::unsure);
  EXPECT_EQ(compare_membership("r1", "r1.o5"), Since::same);
  EXPECT_EQ(compare_membership("r1", "r1.7.o5"), Since::same);
}

TEST(PublicationSql, OfNothing) {
  EXPECT_EQ(create_publication_sql({{"p"}, {}}, {}, false, 150000),
            "CREATE PUBLICATION \"p\" WITH (publish = 'insert, update, delete, truncate', "
            "publish_via_partition_root = true)");
}

TEST(PublicationSql, QuotesAndOptions) {
  std::vector<SelectedTable> tables{{{7, "public", "Or\"ders", false, 0, "p", 'r'}, {"id", "Größe"}, "id > 1"},
                                    {{8, "a", "b", false, 0, "p", 'r'}, {}, {}}};
  EXPECT_EQ(create_publication_sql({{"My Pub"}, {}}, tables, false, 150000),
            "CREATE PUBLICATION \"My Pub\" FOR TABLE ONLY \"public\".\"Or\"\"ders\" (\"id\", \"Größe\") WHERE "
            "(id > 1), "
            "ONLY \"a\".\"b\" WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = "
            "true)");
  EXPECT_THAT(create_publication_sql({{"p"}, {}, true, false}, {}, true, 180000),
              HasSubstr("FOR ALL TABLES WITH (publish = 'insert, update, delete, truncate', "
                        "publish_via_partition_root = false, publish_generated_columns = stored)"));
  EXPECT_THROW(table_list_sql(tables, 140005), Error);
}

}  // namespace
}  // namespace tailrace::source
