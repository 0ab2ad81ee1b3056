#include "source/slot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::source {
namespace {

using testing::HasSubstr;

SlotInfo good() {
  SlotInfo slot;
  slot.name = "shop";
  slot.plugin = "pgoutput";
  slot.slot_type = "logical";
  slot.database = slot.connected_database = "shop";
  slot.confirmed_flush = Lsn{0x100};
  slot.restart_lsn = Lsn{0x80};
  slot.wal_status = "reserved";
  return slot;
}

Checkpoint at(std::uint64_t lsn) {
  return {"shop", "7001", 2, Lsn{lsn}, {}};
}

/// Expects an Error of this class whose text holds `words`.
void refused(const SlotInfo& slot, Retry retry, const char* words, std::optional<Checkpoint> checkpoint = {}) {
  try {
    check_usable(slot, checkpoint);
    ADD_FAILURE() << "accepted: " << words;
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), retry) << error.what();
    EXPECT_THAT(error.message(), HasSubstr(words));
    EXPECT_FALSE(error.remedy().empty());
  }
}

TEST(Slot, AGoodOneIsAccepted) {
  EXPECT_NO_THROW(check_usable(good(), {}));
  EXPECT_NO_THROW(check_usable(good(), at(0x100)));
  EXPECT_NO_THROW(check_usable(good(), at(0x200)));
}

TEST(Slot, WrongKindsAreRefused) {
  auto slot = good();
  slot.plugin = "test_decoding";
  refused(slot, Retry::needs_operator, "uses the output plugin test_decoding");
  slot = good();
  slot.slot_type = "physical";
  refused(slot, Retry::needs_operator, "physical");
  slot = good();
  slot.connected_database = "other";
  refused(slot, Retry::needs_operator, "belongs to the database shop, not other");
  slot = good();
  slot.temporary = true;
  refused(slot, Retry::needs_operator, "temporary");
}

TEST(Slot, LostOnesSayWhy) {
  auto slot = good();
  slot.wal_status = "lost";
  refused(slot, Retry::needs_operator, "max_slot_wal_keep_size");
  slot = good();
  slot.invalidation_reason = "idle_timeout";
  refused(slot, Retry::needs_operator, "idle_replication_slot_timeout");
  slot.invalidation_reason = "wal_level_insufficient";
  refused(slot, Retry::needs_operator, "wal_level");
  slot.invalidation_reason = "rows_removed";
  refused(slot, Retry::needs_operator, "catalog rows");
}

TEST(Slot, AheadOfTheCheckpointIsLoss) {
  refused(good(), Retry::needs_operator, "ahead of what the target has (0/FF)", at(0xFF));
}

TEST(Slot, HeldByAnother) {
  auto slot = good();
  slot.active_pid = 42;
  slot.active_address = "10.0.0.7";
  refused(slot, Retry::transient, "still held by server process 42, from 10.0.0.7");
  slot.active_alive = true;
  slot.active_application = "tailrace";
  refused(slot, Retry::needs_operator, "another tailrace (server process 42, from 10.0.0.7) is reading");
  slot.active_application = "debezium";
  refused(slot, Retry::needs_operator, "\"debezium\" (server process 42");
}

TEST(Slot, AStandbysCopyAndAnUnfinishedOneAreWaitedFor) {
  auto slot = good();
  slot.synced = true;
  refused(slot, Retry::transient, "standby's copy");
  slot = good();
  slot.confirmed_flush = {};
  refused(slot, Retry::transient, "still being created");
}

TEST(Slot, ClusterAndTimeline) {
  SystemIdentity server{"7001", 2, {}, "shop"};
  EXPECT_NO_THROW(check_same_cluster(server, at(1)));
  server.timeline = 3;
  EXPECT_NO_THROW(check_same_cluster(server, at(1)));
  server.timeline = 1;
  EXPECT_THROW(check_same_cluster(server, at(1)), Error);
  server = {"7002", 2, {}, "shop"};
  EXPECT_THROW(check_same_cluster(server, at(1)), Error);
}

TEST(Slot, CommandByServerVersion) {
  EXPECT_EQ(create_slot_command("a", {}, 130010),
            "CREATE_REPLICATION_SLOT \"a\" LOGICAL pgoutput EXPORT_SNAPSHOT");
  CreateSlotOptions quiet{true, false, false};
  EXPECT_EQ(create_slot_command("a", quiet, 140000),
            "CREATE_REPLICATION_SLOT \"a\" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
  EXPECT_EQ(create_slot_command("a", {}, 150000),
            "CREATE_REPLICATION_SLOT \"a\" LOGICAL pgoutput (SNAPSHOT 'export')");
  CreateSlotOptions failover{false, true, true};
  EXPECT_EQ(create_slot_command("a", failover, 170000),
            "CREATE_REPLICATION_SLOT \"a\" LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER true)");
}

}  // namespace
}  // namespace tailrace::source
