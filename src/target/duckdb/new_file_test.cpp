#include "target/duckdb/new_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "target/duckdb/database.h"

namespace tailrace::target::duckdb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class NewFile : public testing::Test {
 protected:
  NewFile()
      : directory_(std::filesystem::temp_directory_path() / ("tailrace-new-" + std::to_string(getpid()))) {
    std::filesystem::create_directory(directory_);
  }
  ~NewFile() override { std::filesystem::remove_all(directory_); }

  DatabaseOptions options() const { return {path("mirror.duckdb"), 0, false}; }
  std::string path(const std::string& name) const { return directory_ / name; }

  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& each : std::filesystem::directory_iterator(directory_))
      out.push_back(each.path().filename());
    return out;
  }

  /// From here on no file grows beyond so many bytes: the write that tries it ends this process, or fails.
  static void limit_file_size(rlim_t bytes) {
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }

  std::filesystem::path directory_;
};

TEST_F(NewFile, a_kill_between_the_parts_of_the_header_is_survived) {
  for (rlim_t written : {0UL, 4096UL, 8192UL}) {
    EXPECT_EXIT(
        {
          std::signal(SIGXFSZ, SIG_DFL);
          limit_file_size(written);
          Database database(options());
        },
        testing::KilledBySignal(SIGXFSZ), "")
        << written;
    EXPECT_THAT(names(), ElementsAre("mirror.duckdb.tailrace-new")) << written;
    Database database(options());
    EXPECT_THAT(names(), ElementsAre("mirror.duckdb")) << written;
    std::filesystem::remove(path("mirror.duckdb"));
  }
}

TEST_F(NewFile, a_disk_that_is_full_leaves_nothing_behind) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  limit_file_size(4096);
  EXPECT_THROW(Database{options()}, Error);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(NewFile, the_log_of_an_earlier_file_is_not_replayed) {
  {
    Database database(options());
    Session session = database.session();
    session.query("PRAGMA disable_checkpoint_on_shutdown", "testing");
    session.query("CREATE TABLE earlier (id INTEGER)", "testing");
  }
  ASSERT_TRUE(std::filesystem::exists(path("mirror.duckdb.wal")));
  std::filesystem::remove(path("mirror.duckdb"));
  Database database(options());
  Session session = database.session();
  EXPECT_THAT(read_text(session, "SELECT table_name FROM duckdb_tables()"), IsEmpty());
}

TEST_F(NewFile, what_is_there_is_left_as_it_is) {
  std::ofstream(path("notes.txt")) << "not a database";
  EXPECT_THROW(Database({path("notes.txt"), 0, false}), Error);
  std::filesystem::create_symlink(path("elsewhere.duckdb"), path("link.duckdb"));
  {
    Database database({path("link.duckdb"), 0, false});
  }
  EXPECT_TRUE(std::filesystem::is_symlink(path("link.duckdb")));
  EXPECT_TRUE(std::filesystem::exists(path("elsewhere.duckdb")));
  EXPECT_EQ(std::filesystem::file_size(path("notes.txt")), 14u);
}

TEST_F(NewFile, of_two_that_make_it_at_once_one_does) {
  std::atomic<int> made = 0;
  auto make = [&] {
    create_whole(path("mirror.duckdb"), [&](const std::string& there) {
      std::ofstream(there) << ++made;
      // Long enough for the other to come, which then finds it done, or, without the lock, makes its own.
      for (int i = 0; i < 200 && made == 1; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
  };
  std::jthread first(make);
  std::jthread second(make);
  first.join();
  second.join();
  EXPECT_EQ(made, 1);
  EXPECT_THAT(names(), ElementsAre("mirror.duckdb"));
}

TEST_F(NewFile, a_name_that_cannot_be_given_is_told) {
  try {
    create_whole(path("mirror.duckdb"), [](const std::string& there) { std::filesystem::remove(there); });
    FAIL() << "nothing was made, and nothing was said";
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::needs_operator);
    EXPECT_THAT(error.message(), testing::HasSubstr("renaming"));
  }
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(NewFile, a_directory_that_is_not_there_is_told) {
  EXPECT_THROW(Database({path("nowhere/mirror.duckdb"), 0, false}), Error);
  EXPECT_THAT(names(), IsEmpty());
}

}  // namespace
}  // namespace tailrace::target::duckdb
