#include "base/copy_anew.h"

#include <gtest/gtest.h>

namespace tailrace {
namespace {

constexpr const char* text =
    "it is held; then 'tailrace run --recopy public.t --recopy public.u' copies them anew";

class CopyAnewTest : public testing::Test {
 protected:
  void TearDown() override { note_run({}); }
};

TEST_F(CopyAnewTest, ARemedyHasTheArgumentsOfTheRun) {
  EXPECT_EQ(with_run_arguments(text), text);
  note_run({"run", "postgres://app@db/shop", "duckdb:my shop.duckdb", "--recopy", "public.v", "--recopy-all",
            "--recopy=public.w", "--name", "a"});
  EXPECT_EQ(with_run_arguments(text),
            "it is held; then 'tailrace run postgres://app@db/shop 'duckdb:my shop.duckdb' --name a --recopy "
            "public.t --recopy public.u' copies them anew");
  EXPECT_EQ(
      with_run_arguments("tailrace run --recopy-all. Or tailrace run --recopy x"),
      "tailrace run postgres://app@db/shop 'duckdb:my shop.duckdb' --name a --recopy-all. Or tailrace run "
      "postgres://app@db/shop 'duckdb:my shop.duckdb' --name a --recopy x");
  EXPECT_EQ(with_run_arguments("nothing of it"), "nothing of it");
}

TEST_F(CopyAnewTest, NoSecretIsTold) {
  for (const char* secret : {"postgres://app:hidden@db/shop", "host=db password=hidden", "app:hidden@db",
                             "postgres://db/shop?password=hidden", "postgres://db/shop?passw%6Frd=hidden"}) {
    note_run({"run", secret, "duckdb:a.duckdb"});
    EXPECT_EQ(with_run_arguments(text), text) << secret;
  }
}

TEST_F(CopyAnewTest, AnotherCommandsArgumentsAreNoRuns) {
  note_run({"verify", "duckdb:a.duckdb"});
  EXPECT_EQ(with_run_arguments(text), text);
}

}  // namespace
}  // namespace tailrace
