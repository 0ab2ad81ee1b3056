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

}  // namespace
}  // namespace tailrace::pg
