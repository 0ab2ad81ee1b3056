#include "model/table_selection.h"

#include <gtest/gtest.h>

namespace tailrace {
namespace {

TableSelection selection(std::initializer_list<const char*> patterns) {
  TableSelection out;
  for (const char* text : patterns) out.rules.push_back({TablePattern::parse(text).value(), {}, {}});
  return out;
}

TEST(TablePattern, MatchesNamesAsTheyAre) {
  auto pattern = TablePattern::parse("public.Order?_*").value();
  EXPECT_TRUE(pattern.matches("public", "Orders_"));
  EXPECT_TRUE(pattern.matches("public", "Orderé_2024"));
  EXPECT_FALSE(pattern.matches("public", "orders_2024"));
  EXPECT_FALSE(pattern.matches("publi", "Orders_2024"));
}

TEST(TablePattern, QuotesAreLiteral) {
  auto pattern = TablePattern::parse(R"("my.schema"."a*""b")").value();
  EXPECT_TRUE(pattern.matches("my.schema", "a*\"b"));
  EXPECT_FALSE(pattern.matches("my.schema", "axx\"b"));
  EXPECT_TRUE(pattern.exact());
}

TEST(TablePattern, ManyStarsTakeNoExponentialTime) {
  auto pattern = TablePattern::parse("s.*a*a*a*a*a*a*a*a*a*a*b").value();
  EXPECT_FALSE(pattern.matches("s", std::string(2000, 'a')));
}

TEST(TablePattern, MistakesSayWhatToWrite) {
  EXPECT_NE(TablePattern::parse("!orders").error().find("'!public.orders'"), std::string::npos);
  EXPECT_FALSE(TablePattern::parse("a.b.c").has_value());
  EXPECT_FALSE(TablePattern::parse("\"a.b").has_value());
  EXPECT_FALSE(TablePattern::parse("").has_value());
  EXPECT_FALSE(TablePattern::parse("a.").has_value());
  EXPECT_FALSE(TablePattern::parse(".b").has_value());
}

TEST(TableSelection, LaterPatternsWin) {
  auto tables = selection({"public.*", "!public.audit_*", "public.audit_log"});
  EXPECT_TRUE(tables.selects("public", "orders"));
  EXPECT_FALSE(tables.selects("public", "audit_old"));
  EXPECT_TRUE(tables.selects("public", "audit_log"));
  EXPECT_FALSE(tables.selects("other", "orders"));
}

TEST(TableSelection, DefaultIsEverythingButSystemSchemas) {
  TableSelection tables;
  EXPECT_TRUE(tables.everything());
  EXPECT_TRUE(tables.selects("any", "thing"));
  EXPECT_FALSE(tables.selects("pg_catalog", "pg_class"));
  EXPECT_FALSE(tables.selects("information_schema", "sql_features"));
}

TEST(TableSelection, OnlyExclusionsMeanEverythingElse) {
  auto tables = selection({"!*.tmp_*"});
  EXPECT_TRUE(tables.selects("public", "orders"));
  EXPECT_FALSE(tables.selects("public", "tmp_x"));
  EXPECT_FALSE(tables.everything());
}

TEST(TableSelection, EverythingSeesOptionsAndOrder) {
  EXPECT_TRUE(selection({"!public.x", "*.*"}).everything());
  EXPECT_FALSE(selection({"*.*", "!public.x"}).everything());
  EXPECT_FALSE(selection({"public.*"}).everything());
  auto filtered = selection({"*"});
  filtered.rules[0].where = "id > 1";
  EXPECT_FALSE(filtered.everything());
}

}  // namespace
}  // namespace tailrace
