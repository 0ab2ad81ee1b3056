#include "target/postgres/row_encoder.h"

#include <gtest/gtest.h>

namespace tailrace::target::postgres {
namespace {

TEST(RowEncoder, EscapesText) {
  std::string out;
  append_copy_text(out, "a\tb\\c\nd\re");
  EXPECT_EQ(out, "a\\tb\\\\c\\nd\\re");
}

}  // namespace
}  // namespace tailrace::target::postgres
