#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "serve/control_client.h"
#include "serve/control_server.h"
#include "serve/human.h"
#include "serve/status_json.h"
#include "serve/status_view.h"

namespace tailrace::serve {
namespace {

using pipeline::RunState;
using pipeline::Status;
using pipeline::TableState;
using pipeline::TableStatus;
using testing::HasSubstr;
using testing::Not;

Status sample() {
  Status status;
  status.name = "shop";
  status.source = "postgres://app@db/shop";
  status.target = "duckdb:shop.duckdb";
  status.slot = status.publication = "shop";
  status.state = RunState::copying;
  status.message = "quote \" and Größe";
  status.server_version = 150006;
  status.pid = 4711;
  status.started_at = {812'345'678'901'234};
  status.applied = Lsn{0x1000};
  status.source_lsn = Lsn{0x100001000};
  status.lag_seconds = 0.25;
  status.changes = 1234567;
  TableStatus orders;
  orders.schema = "public";
  orders.name = "orders";
  orders.state = TableState::copying;
  orders.estimated_rows = 1000;
  orders.estimated_bytes = 1 << 20;
  orders.rows_copied = 500;
  TableStatus done = orders;
  done.name = "a";
  done.state = TableState::streaming;
  done.copied_at = Lsn{0xABC};
  done.conflicts[static_cast<std::size_t>(ConflictKind::update_missing)] = 3;
  status.conflicts = done.conflicts;
  status.tables = {orders, done};
  return status;
}

TEST(StatusJson, ComesBackAsItWas) {
  std::string text = to_json(sample());
  EXPECT_EQ(to_json(status_from_json(text)), text);
  Status back = status_from_json(text);
  EXPECT_EQ(back.started_at, sample().started_at);
  EXPECT_EQ(back.retained_wal_bytes, -1);
  EXPECT_EQ(back.tables[1].copied_at, Lsn{0xABC});
  EXPECT_EQ(back.state, RunState::copying);
}

TEST(StatusJson, UnknownIsNullAndBadTextDoesNotThrow) {
  EXPECT_THAT(to_json(Status{}), HasSubstr(R"("lag_seconds":null)"));
  EXPECT_THAT(to_json(Status{}), HasSubstr(R"("applied":null)"));
  Status status;
  status.message = "\xff";
  EXPECT_THAT(to_json(status), HasSubstr("\xEF\xBF\xBD"));
  EXPECT_THROW(status_from_json("{}"), Error);
  EXPECT_THROW(status_from_json("nonsense"), Error);
}

TEST(StatusJson, VerifyReport) {
  pipeline::VerifyReport report{Lsn{0x10},
                                false,
                                {{"public.a",
                                  Lsn{0x9},
                                  2,
                                  1,
                                  false,
                                  {{"public.a", "id=1", "(1,x)", ""}},
                                  {3, 4, 5},
                                  "",
                                  {1998, verify::Counted::about}},
                                 {"public.b", Lsn{0x9}, 0, 0, false, {}, {}, "why", {}}},
                                ""};
  std::string text = to_json(report);
  EXPECT_EQ(to_json(verify_from_json(text)), text);
  EXPECT_EQ(verify_from_json(text).tables[0].differences[0].key, "id=1");
  EXPECT_THAT(text, HasSubstr(R"("rows_differing":1998)"));
  EXPECT_THAT(text, HasSubstr(R"("tables_differing":2)"));
  EXPECT_THAT(text, HasSubstr(R"("differing":null)"));
}

TEST(StatusJson, AnOlderOneSaysLess) {
  std::string text = to_json(sample());
  for (const char* key : {R"("per_second":null,)", R"("seconds_left":null,)", R"("waiting_for":"")"}) {
    auto at = text.find(key);
    ASSERT_NE(at, std::string::npos) << key;
    text.erase(at, std::strlen(key) + (text[at + std::strlen(key)] == ',' ? 1 : 0));
  }
  if (text.ends_with(",}")) text.replace(text.size() - 2, 2, "}");
  EXPECT_EQ(status_from_json(text).per_second, -1);
}

TEST(StatusJson, VerifyRequest) {
  auto back = verify_request_from_json(to_json(pipeline::VerifyRequest{{"public.a"}, true}));
  EXPECT_EQ(back.tables, std::vector<std::string>{"public.a"});
  EXPECT_TRUE(back.repair);
  EXPECT_FALSE(verify_request_from_json(R"({"command":"verify"})").repair);
}

TEST(StatusJson, VerifyUnderWay) {
  auto status = sample();
  status.verify = pipeline::VerifyStatus{"public.a", false, 3'200'000, 10'000'000, 1, 5, 2'000, 3'400, ""};
  EXPECT_EQ(to_json(status_from_json(to_json(status))), to_json(status));
  EXPECT_THAT(
      render_status(status, {false, 120, 0, {}}),
      HasSubstr(
          "comparing public.a, 3,200,000 of about 10,000,000 rows, table 2 of 5, 2,000 rows/s, 56m 40s left"));
  status.verify->waiting_for = "open transactions";
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), HasSubstr("verify   waiting for open transactions"));
}

TEST(StatusView, FitsTheTerminalAndSaysWhatMatters) {
  for (std::size_t width : {40U, 80U, 200U}) {
    std::istringstream lines(render_status(sample(), {false, width, 0, {812'345'738'901'234}}));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(display_width(line), width) << line;
  }
  auto text = render_status(sample(), {false, 120, 0, {812'345'738'901'234}});
  EXPECT_THAT(text, HasSubstr("tailrace shop  copying  pid 4711, up 1m 0s"));
  EXPECT_THAT(text, HasSubstr("PostgreSQL 15.6"));
  EXPECT_THAT(text, HasSubstr("lag 0.2 s · at least 4.0 GB of WAL behind"));
  EXPECT_THAT(text, HasSubstr("75 % · 1 of 2 tables"));
}

TEST(StatusView, FitsTheHeight) {
  auto status = sample();
  for (int i = 0; i < 1500; ++i) {
    status.tables.push_back(status.tables[1]);
    status.tables.back().name = std::to_string(i);
  }
  status.tables[700].last_error = "it is held";
  for (std::size_t height : {3U, 9U, 15U, 59U}) {
    auto text = render_status(status, {false, 120, height, {}});
    auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n'));
    EXPECT_LE(lines, height);
    EXPECT_GE(lines + 3, height);
    if (height < 15) continue;
    EXPECT_THAT(text, HasSubstr("it is held"));
    EXPECT_THAT(text, HasSubstr(" more tables"));
  }
  auto all = render_status(status, {false, 120, 0, {}});
  EXPECT_EQ(render_status(status, {false, 120, static_cast<std::size_t>(std::ranges::count(all, '\n')), {}}),
            all);
}

TEST(StatusView, WhatIsUnknownIsNotShownAsZero) {
  auto text = render_status(Status{}, {false, 120, 0, {}});
  EXPECT_THAT(text, Not(HasSubstr("0/0")));
  EXPECT_THAT(text, Not(HasSubstr("0 B")));
  auto status = sample();
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), HasSubstr("applied 0/1000 · received - "));
  status.retained_wal_bytes = 56;
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), Not(HasSubstr("holds back")));
  status.retained_wal_bytes = 64 << 20;
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), HasSubstr("holds back 64 MB of WAL"));
  status.transactions = status.reconnects = 0;
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), Not(HasSubstr("transactions")));
}

TEST(StatusView, NoLagBeforeThereIsOne) {
  auto status = sample();
  status.lag_seconds = -1;
  status.state = RunState::copying;
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), Not(HasSubstr("lag")));
}

TEST(StatusView, WordsOfAnEndThatIsAway) {
  auto status = sample();
  status.state = RunState::streaming;
  status.in_step = false;
  status.lag_seconds = 0;
  status.source_answers = true;
  status.target_answers = false;
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), HasSubstr("the target does not answer"));
  status.source_answers = false;
  status.target_answers = true;
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), HasSubstr("the source does not answer"));
  status.source_answers = true;
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), HasSubstr(" · 4.0 GB of WAL behind"));
  status.source_answers = status.in_step = true;
  status.source_lsn = Lsn{status.applied.value + 56};
  EXPECT_THAT(render_status(status, {false, 120, 0, {}}), Not(HasSubstr("behind")));
}

TEST(StatusView, LongWordsAreWrapped) {
  auto status = sample();
  status.waiting_for =
      "open transactions at the source: pid 1 (user a, database shop); pid 2 (user b); pid 3 (END)";
  auto text = render_status(status, {false, 50, 0, {}});
  EXPECT_THAT(text, HasSubstr("  waits    for open transactions at the source:\n           pid 1 (user a, "
                              "database shop); pid 2\n"));
  EXPECT_THAT(text, HasSubstr("(END)"));
}

TEST(StatusView, Lines) {
  auto status = sample();
  status.per_second = 1234.5;
  status.seconds_left = 80;
  EXPECT_EQ(render_line(status), "copying: 1 of 2 tables, 1,000 rows, 0 B, 75 %, 1,234 rows/s, 1m 20s left");
  EXPECT_THAT(render_status(status, {false, 80, 0, {}}), HasSubstr("75 % · 1m 20s left · 1,234 rows/s"));
  status.state = RunState::streaming;
  status.per_second = -1;
  EXPECT_THAT(render_line(status), HasSubstr("streaming: lag 0.2 s"));
  EXPECT_THAT(render_line(status), Not(HasSubstr("/s")));
}

TEST(Human, Numbers) {
  EXPECT_EQ(human_count(-1234567), "-1,234,567");
  EXPECT_EQ(human_count(123), "123");
  EXPECT_EQ(human_bytes(1536), "1.5 kB");
  EXPECT_EQ(human_duration(93784), "1d 2h");
  EXPECT_EQ(clip("Größenordnung", 6), "Größe…");
  EXPECT_EQ(pad_left("ö", 3), "  ö");
  EXPECT_EQ(human_number(1, "table") + human_number(2000, "row"), "1 table2,000 rows");
}

TEST(Human, WidthOfOtherScripts) {
  EXPECT_EQ(display_width("表名"), 4U);
  EXPECT_EQ(display_width("e\u0301"), 1U);
  EXPECT_EQ(clip("表名表名", 6), "表名…");
  EXPECT_EQ(clip("表名", 4), "表名");
  EXPECT_EQ(pad_right("表", 3), "表 ");
}

TEST(Human, Wrap) {
  using testing::ElementsAre;
  EXPECT_THAT(wrap("one two three", 7, 9), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("one two three", 20, 9), ElementsAre("one two three"));
  EXPECT_THAT(wrap("abcdefghij", 4, 9), ElementsAre("abcd", "efgh", "ij"));
  EXPECT_THAT(wrap("one two three four", 7, 2), ElementsAre("one two", "three …"));
  EXPECT_THAT(wrap("", 7, 2), ElementsAre());
}

class Control : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("tailrace_serve_" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
    path_ = (folder_ / "x.sock").string();
    board_.update([](Status& status) { status = sample(); });
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// A socket at the path that does not listen.
  int bound() const {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  std::filesystem::path folder_;
  std::string path_;
  pipeline::StatusBoard board_;
  StopSignal stop_;
};

TEST_F(Control, AnswersStatusVerifyAndStop) {
  ControlClient client(named_place(path_));
  EXPECT_FALSE(client.status().has_value());
  EXPECT_FALSE(client.skip(Lsn{1}, false, stop_));
  EXPECT_FALSE(client.replay({}, stop_).has_value());
  {
    ControlWork work;
    work.verify = [](const pipeline::VerifyRequest&, const StopSignal&) {
      return pipeline::VerifyReport{Lsn{1}, true, {}, ""};
    };
    Lsn skipped;
    bool forgotten = false;
    work.skip = [&](Lsn lsn, bool forget, const StopSignal&) {
      skipped = lsn;
      forgotten = forget;
    };
    work.replay = [](const pipeline::ReplayRequest& request, const StopSignal&) {
      return pipeline::ReplayReport{{{request.table, request.discard ? 1 : 2}}, "not the next"};
    };
    ControlServer server(named_place(path_), board_, stop_, std::move(work));
    struct stat info{};
    ASSERT_EQ(stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    EXPECT_EQ(client.status()->name, "shop");
    // What is judged at reading is not what was put there.
    auto told = *client.status();
    EXPECT_EQ(told.lag_seconds, -1);
    told.lag_seconds = sample().lag_seconds;
    told.resident_bytes = 0;
    told.received = {};
    EXPECT_EQ(to_json(told), to_json(sample()));
    EXPECT_TRUE(client.verify({}, stop_)->equal);
    EXPECT_TRUE(client.skip(Lsn{0x15D6A28}, true, stop_));
    EXPECT_EQ(skipped, Lsn{0x15D6A28});
    EXPECT_TRUE(forgotten);
    EXPECT_EQ(ControlClient(named_place(path_), "shop").status()->name, "shop");
    EXPECT_THROW(ControlClient(named_place(path_), "other").stop(), Error);
    EXPECT_FALSE(stop_.requested());
    auto replayed = client.replay({"public.t", true}, stop_);
    EXPECT_EQ(replayed->tables.at(0).table, "public.t");
    EXPECT_EQ(replayed->tables.at(0).changes, 1);
    EXPECT_EQ(replayed->error, "not the next");
    EXPECT_FALSE(stop_.requested());
    EXPECT_TRUE(client.stop());
    EXPECT_TRUE(stop_.requested());
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(client.stop());
}

TEST_F(Control, RefusalsAreSentences) {
  ControlServer server(named_place(path_), board_, stop_, {});
  try {
    ControlClient(named_place(path_)).verify({}, stop_);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("cannot verify while it runs"));
  }
  EXPECT_THROW(ControlServer(named_place(path_), board_, stop_, {}), Error);
  EXPECT_TRUE(ControlClient(named_place(path_)).status().has_value())
      << "the refused one must not take the first one's socket";
}

TEST_F(Control, OneThatStopsMayLeaveAQuestionUnanswered) {
  int fd = bound();
  ASSERT_EQ(listen(fd, 1), 0);
  ControlClient client(named_place(path_));
  EXPECT_TRUE(client.running());
  close(fd);
  EXPECT_FALSE(client.running());
}

TEST_F(Control, ADeadSocketIsReplacedAndAFileIsNot) {
  close(bound());
  {
    ControlServer server(named_place(path_), board_, stop_, {});
  }
  std::ofstream(path_) << "precious";
  EXPECT_THROW(ControlServer(named_place(path_), board_, stop_, {}), Error);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(Control, ClosingCancelsAVerify) {
  std::atomic<bool> cancelled = false;
  std::thread asker;
  {
    ControlWork work;
    work.verify = [&](const pipeline::VerifyRequest&, const StopSignal& cancel) {
      while (cancel.sleep(std::chrono::milliseconds(10))) {
      }
      cancelled = true;
      return pipeline::VerifyReport{{}, false, {}, "stopped"};
    };
    ControlServer server(named_place(path_), board_, stop_, std::move(work));
    asker =
        std::thread([&] { EXPECT_EQ(ControlClient(named_place(path_)).verify({}, stop_)->error, "stopped"); });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  asker.join();
  EXPECT_TRUE(cancelled);
}

TEST(SocketPlaces, BesideTheFileThenInAFolderOfTheUsers) {
  auto places = places_beside("/tmp/shop.duckdb");
  EXPECT_EQ(places.paths.front(), "/tmp/shop.duckdb.tailrace.sock");
  std::string deep = "/tmp/" + std::string(120, 'x') + "/shop.duckdb";
  EXPECT_EQ(places_beside(deep).paths, places_of(deep).paths);
  EXPECT_EQ(places_of(deep).paths.back().find(fmt::format("/tmp/tailrace-{}/", geteuid())), 0U);
}

TEST(SocketPlaces, OnlyWhereNobodyElseWrites) {
  std::string folder = testing::TempDir() + "places";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  SocketPlaces places{{folder + "/shop.duckdb.tailrace.sock", folder + "/own/1.sock"}, false};
  chmod(folder.c_str(), 0700);
  EXPECT_EQ(place_to_listen(places), places.paths[0]);
  chmod(folder.c_str(), 01777);
  EXPECT_EQ(place_to_listen(places), places.paths[1]);
  struct stat info{};
  ASSERT_EQ(stat((folder + "/own").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  chmod((folder + "/own").c_str(), 0777);
  EXPECT_THROW(place_to_listen(places), Error);
  std::filesystem::remove(folder + "/own");
  std::filesystem::create_directory(folder + "/elsewhere");
  std::filesystem::create_directory_symlink(folder + "/elsewhere", folder + "/own");
  EXPECT_THROW(place_to_listen(places), Error);
  chmod(folder.c_str(), 0777);  // without the sticky bit, whoever may write there may put another in its place
  std::filesystem::remove(folder + "/own");
  EXPECT_THROW(place_to_listen(places), Error);
}

}  // namespace
}  // namespace tailrace::serve
