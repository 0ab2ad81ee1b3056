#include "pipeline/copy_outcome.h"

#include <gtest/gtest.h>

namespace tailrace::pipeline {
namespace {

TEST(CopyOutcome, SaysWhatIsMissing) {
  CopyOutcome outcome{.known = true, .copied = 2, .missing = {"a.b", "c.d"}};
  EXPECT_FALSE(outcome.whole());
  EXPECT_EQ(describe(outcome), "stopped: 2 of 4 tables are copied; not yet: a.b, c.d");
  for (int i = 0; i < 10; ++i) outcome.missing.push_back("public.t" + std::to_string(i));
  EXPECT_TRUE(describe(outcome).ends_with("public.t7 and 2 more")) << describe(outcome);
}

TEST(CopyOutcome, KnowsWhatIsNotATable) {
  CopyOutcome nothing;
  EXPECT_FALSE(nothing.whole());
  EXPECT_TRUE(describe(nothing).contains("not known")) << describe(nothing);
  nothing.known = true;
  nothing.begun = false;
  EXPECT_EQ(describe(nothing), "stopped before the copy began");
  CopyOutcome keys;
  keys.known = true;
  keys.copied = 3;
  keys.structure_missing = true;
  EXPECT_FALSE(keys.whole());
  EXPECT_EQ(describe(keys),
            "stopped: all 3 tables are copied; not yet: keys, indexes and what else belongs to them");
  keys.structure_missing = false;
  EXPECT_TRUE(keys.whole());
}

}  // namespace
}  // namespace tailrace::pipeline
