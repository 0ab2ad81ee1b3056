#include "model/type_rules.h"

#include <gtest/gtest.h>

namespace tailrace {
namespace {

TEST(ChosenType, IsSpelledInOneWay) {
  for (const auto& [text, same] :
       std::initializer_list<std::pair<const char*, const char*>>{{"decimal(20, 6)", "DECIMAL(20,6)"},
                                                                  {"DECIMAL(38,38)", "DECIMAL(38,38)"},
                                                                  {"DECIMAL(1,0)", "DECIMAL(1,0)"},
                                                                  {"double", "DOUBLE"},
                                                                  {"Enum", "ENUM"},
                                                                  {"text", "VARCHAR"},
                                                                  {"varchar", "VARCHAR"}}) {
    auto type = ChosenType::parse(text);
    ASSERT_TRUE(type) << text;
    EXPECT_EQ(type->text(), same);
  }
}

TEST(ChosenType, RefusesWhatNoColumnCanBe) {
  for (const char* text : {"", "DECIMAL", "DECIMAL(39,1)", "DECIMAL(0,0)", "DECIMAL(4,5)", "DECIMAL(4)",
                           "DECIMAL(4,-1)", "DECIMAL(4,1)x", "DECIMAL(99999999999,1)", "FLOAT", "ENUM('a')"})
    EXPECT_FALSE(ChosenType::parse(text)) << text;
}

TEST(ColumnPattern, NamesColumns) {
  auto all = ColumnPattern::parse("public.*.pri?e");
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->matches("public", "orders", "price"));
  EXPECT_FALSE(all->matches("other", "orders", "price"));
  EXPECT_FALSE(all->matches("public", "orders", "prices"));
  auto quoted = ColumnPattern::parse(R"(public."a.b"."c.d")");
  ASSERT_TRUE(quoted);
  EXPECT_TRUE(quoted->matches("public", "a.b", "c.d"));
  EXPECT_FALSE(quoted->matches("public", "a", "b"));
  for (const char* text :
       {"", "price", "orders.price", "!public.orders.price", "public..price", "public.orders."})
    EXPECT_FALSE(ColumnPattern::parse(text)) << text;
}

TEST(TypeRules, ShowEveryDifference) {
  auto rule = [](const char* type, const char* as, ChosenType::Misfit misfit = ChosenType::Misfit::text) {
    TypeRule out;
    out.type = type;
    out.becomes = *ChosenType::parse(as);
    out.becomes.misfit = misfit;
    return out;
  };
  TypeRules rules{rule("numeric", "DOUBLE"), rule("enum", "ENUM")};
  EXPECT_EQ(to_text(rules), to_text(TypeRules{rule("numeric", "DOUBLE"), rule("enum", "ENUM")}));
  EXPECT_NE(to_text(rules), to_text(TypeRules{rule("enum", "ENUM"), rule("numeric", "DOUBLE")}));
  EXPECT_NE(to_text(rules), to_text(TypeRules{rule("numeric", "DOUBLE")}));
  EXPECT_NE(to_text(rules),
            to_text(TypeRules{rule("numeric", "DOUBLE", ChosenType::Misfit::error), rule("enum", "ENUM")}));
  auto column = rule("", "DOUBLE");
  column.column = *ColumnPattern::parse("public.*.numeric");
  EXPECT_NE(to_text({column}), to_text({rule("public.*.numeric", "DOUBLE")}));
  EXPECT_EQ(to_text({}), "");
  EXPECT_TRUE(wants_labels(rules));
  EXPECT_FALSE(wants_labels({rule("numeric", "DOUBLE")}));
}

}  // namespace
}  // namespace tailrace
