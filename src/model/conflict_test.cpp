#include "model/conflict.h"

#include <gtest/gtest.h>

namespace tailrace {
namespace {

using enum ConflictKind;
using Stamps = std::vector<std::optional<WriteStamp>>;

const WriteStamp remote{{100}, "b"};
const Stamps older{WriteStamp{{99}, "z"}};
const Stamps newer{WriteStamp{{101}, "a"}};
const Stamps tie_lost{WriteStamp{{100}, "c"}};
const Stamps tie_won{WriteStamp{{100}, "a"}};
const Stamps unknown{std::nullopt};

Resolution decided(ConflictPolicy policy, ConflictKind kind, const Stamps& local = unknown) {
  return resolve(kind, {policy, InsertPolicy::by_policy}, false, remote, local);
}

TEST(Conflict, PoliciesThatDoNotLookAtTheClock) {
  for (auto kind : {insert_exists, update_origin_differs, update_exists, delete_origin_differs,
                    multiple_unique_conflicts}) {
    for (const auto& local : {older, newer, unknown}) {
      EXPECT_EQ(decided(ConflictPolicy::error, kind, local), Resolution::stop);
      EXPECT_EQ(decided(ConflictPolicy::apply_remote, kind, local), Resolution::apply);
      EXPECT_EQ(decided(ConflictPolicy::keep_local, kind, local), Resolution::keep);
    }
  }
}

TEST(Conflict, TheClockDecides) {
  for (auto kind : {insert_exists, update_origin_differs, update_exists, delete_origin_differs}) {
    EXPECT_EQ(decided(ConflictPolicy::last_update_wins, kind, older), Resolution::apply);
    EXPECT_EQ(decided(ConflictPolicy::last_update_wins, kind, newer), Resolution::keep);
    EXPECT_EQ(decided(ConflictPolicy::first_update_wins, kind, older), Resolution::keep);
    EXPECT_EQ(decided(ConflictPolicy::first_update_wins, kind, newer), Resolution::apply);
    EXPECT_EQ(decided(ConflictPolicy::last_update_wins, kind, unknown), Resolution::apply);
    EXPECT_EQ(decided(ConflictPolicy::first_update_wins, kind, unknown), Resolution::apply);
  }
}

/// What one node takes the other keeps: they look at the same two stamps from both ends.
TEST(Conflict, BothNodesDecideAlike) {
  const WriteStamp a{{100}, "a"}, b{{100}, "b"}, late{{101}, "a"};
  for (auto policy : {ConflictPolicy::last_update_wins, ConflictPolicy::first_update_wins}) {
    for (const auto& [one, other] : {std::pair(a, b), std::pair(b, late), std::pair(a, late)}) {
      auto here = resolve(insert_exists, {policy, InsertPolicy::by_policy}, true, one, Stamps{other});
      auto there = resolve(insert_exists, {policy, InsertPolicy::by_policy}, true, other, Stamps{one});
      EXPECT_NE(here, there);
    }
  }
  EXPECT_EQ(decided(ConflictPolicy::last_update_wins, insert_exists, tie_lost), Resolution::keep);
  EXPECT_EQ(decided(ConflictPolicy::last_update_wins, insert_exists, tie_won), Resolution::apply);
}

TEST(Conflict, AgainstSeveralRowsItMustWinEach) {
  Stamps mixed{older.front(), newer.front()};
  EXPECT_EQ(decided(ConflictPolicy::last_update_wins, multiple_unique_conflicts, mixed), Resolution::keep);
  EXPECT_EQ(decided(ConflictPolicy::first_update_wins, multiple_unique_conflicts, mixed), Resolution::keep);
}

TEST(Conflict, InsertsMayHaveAPolicyOfTheirOwn) {
  auto inserted = [](ConflictPolicy policy, InsertPolicy inserts) {
    return resolve(insert_exists, {policy, inserts}, true, remote, newer);
  };
  EXPECT_EQ(inserted(ConflictPolicy::error, InsertPolicy::update), Resolution::apply);
  EXPECT_EQ(inserted(ConflictPolicy::apply_remote, InsertPolicy::nothing), Resolution::keep);
  EXPECT_EQ(inserted(ConflictPolicy::last_update_wins, InsertPolicy::error), Resolution::stop);
  EXPECT_EQ(inserted(ConflictPolicy::last_update_wins, InsertPolicy::by_policy), Resolution::keep);
  // An update that meets another row is none.
  EXPECT_EQ(resolve(update_exists, {ConflictPolicy::error, InsertPolicy::update}, false, remote, older),
            Resolution::stop);
}

TEST(Conflict, ThereIsNothingToDeleteAndNobodyElseWins) {
  EXPECT_EQ(decided(ConflictPolicy::error, delete_missing), Resolution::stop);
  for (auto policy : {ConflictPolicy::apply_remote, ConflictPolicy::keep_local,
                      ConflictPolicy::last_update_wins, ConflictPolicy::first_update_wins})
    EXPECT_EQ(decided(policy, delete_missing), Resolution::keep);
}

TEST(Conflict, AnUpdateOfARowThatIsNotThere) {
  auto missing = [](ConflictPolicy policy, const std::optional<WriteStamp>& deletion) {
    return resolve_missing({policy, InsertPolicy::by_policy}, remote, deletion);
  };
  EXPECT_EQ(missing(ConflictPolicy::error, {}).resolution, Resolution::stop);
  EXPECT_EQ(missing(ConflictPolicy::apply_remote, {}).resolution, Resolution::keep);
  EXPECT_EQ(missing(ConflictPolicy::keep_local, {}).resolution, Resolution::keep);
  EXPECT_EQ(missing(ConflictPolicy::last_update_wins, {}).resolution, Resolution::apply);
  EXPECT_EQ(missing(ConflictPolicy::last_update_wins, {}).kind, update_missing);
  EXPECT_EQ(missing(ConflictPolicy::last_update_wins, older.front()).resolution, Resolution::apply);
  EXPECT_EQ(missing(ConflictPolicy::last_update_wins, newer.front()).resolution, Resolution::keep);
  EXPECT_EQ(missing(ConflictPolicy::last_update_wins, newer.front()).kind, update_deleted);
  EXPECT_EQ(missing(ConflictPolicy::first_update_wins, {}).resolution, Resolution::keep);
  EXPECT_EQ(missing(ConflictPolicy::first_update_wins, older.front()).resolution, Resolution::keep);
  EXPECT_EQ(missing(ConflictPolicy::first_update_wins, newer.front()).resolution, Resolution::apply);
}

TEST(Conflict, AnInsertAfterADeletion) {
  auto wins = [](ConflictPolicy policy, const std::optional<WriteStamp>& deletion) {
    return deletion_wins({policy, InsertPolicy::by_policy}, remote, deletion);
  };
  EXPECT_TRUE(wins(ConflictPolicy::last_update_wins, newer.front()));
  EXPECT_FALSE(wins(ConflictPolicy::last_update_wins, older.front()));
  EXPECT_FALSE(wins(ConflictPolicy::last_update_wins, {}));
  EXPECT_FALSE(wins(ConflictPolicy::first_update_wins, newer.front()));
  EXPECT_FALSE(wins(ConflictPolicy::apply_remote, newer.front()));
}

TEST(Conflict, TheLastPatternThatMatchesDecides) {
  ConflictSettings settings;
  settings.rules.policy = ConflictPolicy::keep_local;
  settings.tables.push_back({TablePattern::parse("public.*").value(), ConflictPolicy::error, {}});
  settings.tables.push_back({TablePattern::parse("public.t").value(), {}, InsertPolicy::nothing});
  EXPECT_EQ(settings.rules_for("s", "t"), settings.rules);
  EXPECT_EQ(settings.rules_for("public", "u").policy, ConflictPolicy::error);
  EXPECT_EQ(settings.rules_for("public", "t"),
            (ConflictRules{ConflictPolicy::keep_local, InsertPolicy::nothing}));
  EXPECT_FALSE(settings.by_time());
  settings.tables.push_back({TablePattern::parse("public.x").value(), ConflictPolicy::last_update_wins, {}});
  EXPECT_TRUE(settings.by_time());
}

}  // namespace
}  // namespace tailrace
