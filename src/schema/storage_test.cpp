#include "schema/storage.h"

#include <gtest/gtest.h>

namespace tailrace::schema {
namespace {

TEST(Storage, IsReadAsItWasWritten) {
  Storage storage{12, {{100, 200, 300, "", 7}, {101, 201, 0, "745.744", 8}}};
  EXPECT_EQ(storage.str(), "12 100/200/300 101/201/0/745.744");
  auto read = Storage::parse(storage.str());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->str(), storage.str());
  EXPECT_EQ(read->highest_attnum, 12);
  ASSERT_NE(read->find(101), nullptr);
  EXPECT_EQ(read->find(101)->attached, "745.744");
  EXPECT_EQ(read->find(102), nullptr);
}

TEST(Storage, WithoutHeaps) {
  auto read = Storage::parse("3");
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->heaps.empty());
}

TEST(Storage, WhatIsNoneIsNotKnown) {
  for (const char* text : {"", "x", "1 2", "1 2/3", "1 2/3/x", "1  2/3/4"})
    EXPECT_FALSE(Storage::parse(text)) << text;
}

}  // namespace
}  // namespace tailrace::schema
