#include "target/postgres/row_encoder.h"

#include <gtest/gtest.h>

namespace tailrace::target::postgres {
namespace {

TEST(RowEncoder, BinaryAndTextNeverMix) {
  std::vector<Value> text = {{ValueKind::null, {}}, {ValueKind::text, "a"}};
  std::vector<Value> binary = {{ValueKind::binary, "a"}, {ValueKind::null, {}}};
  std::vector<Value> both = {{ValueKind::binary, "a"}, {ValueKind::text, "b"}};
  EXPECT_FALSE(is_binary(text));
  EXPECT_TRUE(is_binary(binary));
  EXPECT_THROW(is_binary(both), Error);
}

}  // namespace
}  // namespace tailrace::target::postgres
