#include "serve/metrics_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/readiness.h"

namespace tailrace::serve {
namespace {

using pipeline::RunState;
using pipeline::Status;
using pipeline::TableState;
using testing::HasSubstr;
using testing::Not;

Status streaming() {
  Status status;
  status.name = "shop";
  status.state = RunState::streaming;
  status.server_version = 150006;
  status.source_lsn = {1000};
  status.received = {900};
  status.applied = {800};
  status.acknowledged = {2000};
  status.lag_seconds = 0;
  status.in_step = status.source_answers = status.target_answers = true;
  status.tables.resize(2);
  for (auto& table : status.tables) {
    table.state = TableState::streaming;
    table.inserts = 3;
  }
  return status;
}

std::string text_of(const Status& status, const char* kind = "duckdb") {
  pipeline::Measures measures;
  measures.commit_duration.observe(0.002);
  return metrics_text(status, measures, {"1.2", kind, {}, {{"spool", 100, 40}}});
}

TEST(MetricsText, SaysWhatIsKnown) {
  auto text = text_of(streaming());
  for (const char* line :
       {"# TYPE tailrace_info gauge\n",
        "tailrace_info{subscription=\"shop\",version=\"1.2\",source_version=\"15.6\",target=\"duckdb\"} 1\n",
        "tailrace_state{subscription=\"shop\",state=\"streaming\"} 1\n",
        "tailrace_state{subscription=\"shop\",state=\"reconnecting\"} 0\n",
        "tailrace_in_step{subscription=\"shop\"} 1\n",
        "tailrace_lag_bytes{subscription=\"shop\",stage=\"received\"} 100\n",
        "tailrace_lag_bytes{subscription=\"shop\",stage=\"durable\"} 0\n",
        "tailrace_changes_total{subscription=\"shop\",op=\"insert\"} 6\n",
        "tailrace_commit_duration_seconds_bucket{subscription=\"shop\",le=\"0.001\"} 0\n",
        "tailrace_commit_duration_seconds_bucket{subscription=\"shop\",le=\"0.0025\"} 1\n",
        "tailrace_commit_duration_seconds_bucket{subscription=\"shop\",le=\"+Inf\"} 1\n",
        "tailrace_commit_duration_seconds_count{subscription=\"shop\"} 1\n",
        "tailrace_copy_tables{subscription=\"shop\",state=\"streaming\"} 2\n",
        "tailrace_disk_free_bytes{subscription=\"shop\",dir=\"spool\"} 40\n"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_EQ(text.back(), '\n');
}

TEST(MetricsText, WhatIsNotKnownHasNoLine) {
  Status status;
  auto text = text_of(status);
  for (const char* name :
       {"tailrace_lag_seconds", "tailrace_lag_bytes", "tailrace_slot_", "tailrace_last_commit",
        "tailrace_verify_", "tailrace_conflicts", "tailrace_quarantined"})
    EXPECT_THAT(text, Not(HasSubstr(name)));
  EXPECT_THAT(text_of(status, "postgres"), HasSubstr("tailrace_conflicts_total{"));
}

TEST(MetricsText, ATableThatLeftThePublicationIsNoTrouble) {
  auto status = streaming();
  status.tables[0].state = TableState::stopped;
  EXPECT_THAT(text_of(status), HasSubstr("tailrace_stopped_tables{subscription=\"shop\"} 0\n"));
  status.tables[0].last_error = "refused";
  status.tables[1].state = TableState::held;
  EXPECT_THAT(text_of(status), HasSubstr("tailrace_stopped_tables{subscription=\"shop\"} 2\n"));
}

TEST(MetricsText, ALabelCannotEndItsLine) {
  Status status;
  status.name = "a\"b\\c\nd";
  EXPECT_THAT(text_of(status), HasSubstr("tailrace_in_step{subscription=\"a\\\"b\\\\c\\nd\"} 0\n"));
}

TEST(Readiness, IsInStepOrNearlyOrCopying) {
  auto status = streaming();
  EXPECT_EQ(readiness(status).sentence, "in step");
  EXPECT_TRUE(readiness(status).ready);
  status.in_step = false;
  status.lag_seconds = 3;
  EXPECT_TRUE(readiness(status).ready);
  status.lag_seconds = 11;
  EXPECT_EQ(readiness(status).sentence, "11 s behind");
  EXPECT_FALSE(readiness(status).ready);
  status.lag_seconds = -1;
  EXPECT_FALSE(readiness(status).ready);
  status.lag_seconds = 3;
  status.source_answers = false;
  EXPECT_EQ(readiness(status).sentence, "the source does not answer");
  EXPECT_FALSE(readiness(status).ready);
  status.tables[1].state = TableState::held;
  EXPECT_THAT(readiness(status).sentence, HasSubstr("1 of 2 tables held"));
  status.state = RunState::copying;
  EXPECT_TRUE(readiness(status).ready);
  status.state = RunState::reconnecting;
  status.message = "the source is down";
  EXPECT_EQ(readiness(status).sentence, "reconnecting: the source is down");
  EXPECT_FALSE(readiness(status).ready);
}

}  // namespace
}  // namespace tailrace::serve
