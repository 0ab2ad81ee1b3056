#include "model/change_batch.h"

#include <gtest/gtest.h>

#include <string>

namespace tailrace {
namespace {

TEST(ChangeBatch, IsFilledWithWhatCameNotWithWhatItReserves) {
  ChangeBatch batch;
  EXPECT_EQ(batch.filled_bytes(), 0u);
  batch.arena.copy("abc", 3);
  EXPECT_EQ(batch.filled_bytes(), 3u);
  EXPECT_GE(batch.bytes(), Arena::block_size);
  std::string large(Arena::block_size, 'x');
  batch.arena.copy(large.data(), large.size());
  EXPECT_EQ(batch.filled_bytes(), 3u + large.size());
}

}  // namespace
}  // namespace tailrace
