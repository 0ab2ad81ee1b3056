#include "pg/copy_text.h"

#include <gtest/gtest.h>

namespace tailrace::pg {
namespace {

std::string unescaped(std::string_view field) {
  std::string scratch;
  return std::string(unescape_copy_text(field, scratch));
}

TEST(CopyText, EveryEscapeThatCopyWrites) {
  EXPECT_EQ(unescaped(R"(a\tb\nc\rd\be\ff\vg\\h)"), "a\tb\nc\rd\be\ff\vg\\h");
  EXPECT_EQ(unescaped(R"(\\N)"), "\\N");
  EXPECT_EQ(unescaped(R"(\\\\)"), R"(\\)");
}

TEST(CopyText, AFieldWithoutEscapesIsNotCopied) {
  std::string scratch;
  std::string_view field = "plain";
  EXPECT_EQ(unescape_copy_text(field, scratch).data(), field.data());
  EXPECT_EQ(unescaped(""), "");
}

TEST(CopyText, ARowIsSplitIntoItsFields) {
  std::vector<std::optional<std::string_view>> row(4);
  std::vector<std::string> scratch(4);
  split_copy_row("1\t\\N\ta\\tb\t", row, scratch);
  EXPECT_EQ(row[0], "1");
  EXPECT_FALSE(row[1].has_value());
  EXPECT_EQ(row[2], "a\tb");
  EXPECT_EQ(row[3], "") << "an empty text is no NULL";
  split_copy_row("\\\\N\t\\N\t\\N\t\\N", row, scratch);
  EXPECT_EQ(row[0], "\\N");
  EXPECT_FALSE(row[3].has_value());
}

}  // namespace
}  // namespace tailrace::pg
