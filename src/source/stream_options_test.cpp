#include "source/stream_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::source {
namespace {

using testing::HasSubstr;
using testing::Not;

StreamOptions options(bool streaming, bool local_only) {
  StreamOptions out;
  out.slot = "shop";
  out.publications = {"My \"own\""};
  out.start = Lsn{0x10};
  out.streaming = streaming;
  out.local_only = local_only;
  return out;
}

TEST(StreamOptions, CommandSaysWhatTheServerUnderstands) {
  EXPECT_EQ(start_replication_command(options(true, false), 130000),
            "START_REPLICATION SLOT \"shop\" LOGICAL 0/10 (proto_version '1', publication_names '\"My "
            "\"\"own\"\"\"')");
  EXPECT_THAT(start_replication_command(options(true, false), 140000),
              HasSubstr("proto_version '2', publication_names '\"My \"\"own\"\"\"', binary 'false', messages "
                        "'true', streaming 'on')"));
}

TEST(StreamOptions, NamesEveryPublication) {
  auto several = options(false, false);
  several.publications = {"a", "B,c"};
  EXPECT_THAT(start_replication_command(several, 150000), HasSubstr("publication_names '\"a\",\"B,c\"'"));
}

TEST(StreamOptions, OriginIsTheServersFrom16On) {
  EXPECT_THAT(start_replication_command(options(true, true), 160000),
              HasSubstr("streaming 'on', origin 'none')"));
  EXPECT_THAT(start_replication_command(options(true, false), 180000), Not(HasSubstr("origin")));
  // Older ones tell the origin of a whole transaction only.
  auto older = start_replication_command(options(true, true), 150000);
  EXPECT_THAT(older, Not(HasSubstr("origin")));
  EXPECT_THAT(older, Not(HasSubstr("streaming")));
}

TEST(StreamOptions, ABacklogIsAskedForByTheSameOptions) {
  auto wanted = options(true, true);
  wanted.binary = true;
  EXPECT_EQ(read_backlog_command(wanted, "shop_copy", Lsn{0x20}, std::nullopt, 160000),
            "copy (select data from pg_catalog.pg_logical_slot_get_binary_changes('shop_copy', '0/20', null, "
            "'proto_version', '2', 'publication_names', '\"My \"\"own\"\"\"', 'binary', 'true', 'messages', "
            "'true', 'streaming', 'on', 'origin', 'none')) to stdout (format binary)");
  EXPECT_THAT(read_backlog_command(wanted, "shop_copy", Lsn{0x20}, 70'000, 130000),
              HasSubstr("'0/20', 70000, 'proto_version', '1', 'publication_names', '\"My \"\"own\"\"\"'))"));
}

}  // namespace
}  // namespace tailrace::source
