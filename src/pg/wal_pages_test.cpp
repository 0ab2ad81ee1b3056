#include "pg/wal_pages.h"

#include <gtest/gtest.h>

namespace tailrace::pg {
namespace {

TEST(WalPagesTest, APositionWithinAPageIsTheRecordsEnd) {
  WalPages pages;
  EXPECT_EQ(pages.end_of_record(Lsn{0x20637FC8}), Lsn{0x20637FC8});
  EXPECT_EQ(pages.end_of_record(Lsn{0x20638000}), Lsn{0x20638000});
  EXPECT_EQ(pages.end_of_record(Lsn{0x20638020}), Lsn{0x20638020});
  // Behind the header of a page that is no segment's first, 16 bytes of a record.
  EXPECT_EQ(pages.end_of_record(Lsn{0x20638028}), Lsn{0x20638028});
}

TEST(WalPagesTest, ARecordThatFilledItsPageEndsWithIt) {
  WalPages pages;
  EXPECT_EQ(pages.end_of_record(Lsn{0x20638018}), Lsn{0x20638000});
  EXPECT_EQ(pages.end_of_record(Lsn{0x21000028}), Lsn{0x21000000});
}

TEST(WalPagesTest, SizesAreTheServers) {
  WalPages pages{65536, std::uint64_t{64} << 20};
  EXPECT_EQ(pages.end_of_record(Lsn{0x20002018}), Lsn{0x20002018});
  EXPECT_EQ(pages.end_of_record(Lsn{0x20010018}), Lsn{0x20010000});
  EXPECT_EQ(pages.end_of_record(Lsn{0x21000028}), Lsn{0x21000028});
  EXPECT_EQ(pages.end_of_record(Lsn{0x24000028}), Lsn{0x24000000});
}

}  // namespace
}  // namespace tailrace::pg
