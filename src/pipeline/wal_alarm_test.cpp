#include "pipeline/wal_alarm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t gb = 1 << 30;

class WalAlarmTest : public testing::Test {
 protected:
  std::string look(std::int64_t retained, WalAlarm::Clock::duration later = 5s, std::int64_t room = 100 * gb) {
    now_ += later;
    return alarm_.look({retained, room, "max_slot_wal_keep_size allows"}, now_);
  }

  WalAlarm alarm_;
  WalAlarm::Clock::time_point now_{};
};

TEST_F(WalAlarmTest, EachLevelIsToldOnceUntilItIsWellBehind) {
  EXPECT_EQ(look(49 * gb), "");
  EXPECT_THAT(look(51 * gb), HasSubstr("holds back 51.0 GB of WAL at the source, 51 % of the 100.0 GB that "
                                       "max_slot_wal_keep_size allows. Find out"));
  EXPECT_EQ(look(50 * gb), "");
  EXPECT_THAT(alarm_.standing(), HasSubstr("50 %"));
  EXPECT_EQ(look(49 * gb), "");
  EXPECT_EQ(alarm_.standing(), "");
  EXPECT_EQ(look(51 * gb), "") << "it went around the bound";
  EXPECT_THAT(look(80 * gb), HasSubstr("80 %"));
  EXPECT_EQ(look(99 * gb), "");
  EXPECT_EQ(look(1 * gb), "");
  EXPECT_THAT(look(51 * gb), HasSubstr("51 %"));
}

TEST_F(WalAlarmTest, GrowthIsToldHoursBefore) {
  EXPECT_EQ(look(11 * gb), "");
  for (int i = 1; i < 12; ++i) EXPECT_EQ(look(11 * gb + i * gb / 24), "") << "no trend yet";
  // A gigabyte in two minutes: 88 GB are full in three hours.
  EXPECT_THAT(look(11 * gb + gb / 2),
              HasSubstr("12 % of the 100.0 GB that max_slot_wal_keep_size allows; as it "
                        "grows now, in 3 hours it is full"));
  EXPECT_EQ(look(11 * gb + gb / 2 + 1), "");
  for (int i = 0; i < 130; ++i) EXPECT_EQ(look(11 * gb + gb / 2), "");
  EXPECT_EQ(alarm_.standing(), "") << "it stands still";
}

TEST_F(WalAlarmTest, MuchRoomIsNoReasonToWorry) {
  look(gb);
  EXPECT_EQ(look(9 * gb, 5min), "");
}

TEST_F(WalAlarmTest, WhereNobodySaidWhatRoomThereIsOnlyTheEndIsTold) {
  EXPECT_EQ(look(1000 * gb, 5s, -1), "");
  EXPECT_THAT(alarm_.look({0, -1, "", true}, now_), HasSubstr("gave up on the slot"));
  EXPECT_EQ(alarm_.look({0, -1, "", true}, now_ + 5s), "");
  EXPECT_THAT(alarm_.standing(), HasSubstr("tailrace run --recopy-all"));
}

}  // namespace
}  // namespace tailrace::pipeline
