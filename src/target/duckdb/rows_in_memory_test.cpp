#include "target/duckdb/rows_in_memory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "target/duckdb/database.h"

namespace tailrace::target::duckdb {
namespace {

constexpr int tables = 60;
constexpr std::size_t columns = 20;

class RowsInMemoryTest : public testing::Test {
 protected:
  RowsInMemoryTest()
      : directory_(testing::TempDir() + "tailrace_rows_in_memory_" + std::to_string(::getpid())),
        database_((std::filesystem::create_directory(directory_),
                   DatabaseOptions{directory_ / "mirror.duckdb", 64 << 20, false, 0600})),
        session_(database_.session()) {
    for (int table = 0; table < tables; ++table) {
      std::string sql = fmt::format("CREATE TABLE t{} (c0 BIGINT", table);
      for (std::size_t column = 1; column < columns; ++column) sql += fmt::format(", c{} VARCHAR", column);
      session_.query(sql + fmt::format("); INSERT INTO t{} (c0) VALUES (1); CHECKPOINT", table),
                     "making a table");
    }
  }

 public:
  ~RowsInMemoryTest() override { std::filesystem::remove_all(directory_); }

 protected:
  std::int64_t log_size() const {
    std::error_code none;
    auto size = std::filesystem::file_size(directory_ / "mirror.duckdb.wal", none);
    return none ? 0 : static_cast<std::int64_t>(size);
  }
  std::string rows() {
    std::string sql = "SELECT (";
    for (int table = 0; table < tables; ++table)
      sql += fmt::format("{}(SELECT count(*) FROM t{})", table == 0 ? "" : " + ", table);
    return read_text(session_, sql + ")::VARCHAR").at(0).at(0);
  }

  std::filesystem::path directory_;
  Database database_;
  Session session_;
};

TEST_F(RowsInMemoryTest, CheckpointsComeInTimeAndSeldom) {
  int checkpoints = 0;
  for (int table = 0; table < tables; ++table) {
    auto before = log_size();
    database_.rows_in_memory().make_room(session_);
    if (log_size() < before) ++checkpoints;
    session_.query(fmt::format("INSERT INTO t{} (c0) VALUES (2)", table), "writing");
    database_.rows_in_memory().wrote(static_cast<Oid>(table), columns, 1);
  }
  // 2.5 MB each, of which 25 may be taken.
  EXPECT_GE(checkpoints, 3);
  EXPECT_LE(checkpoints, 8);
  EXPECT_EQ(rows(), std::to_string(2 * tables));
}

TEST_F(RowsInMemoryTest, AGuessThatIsTooHighMakesNoCheckpoint) {
  for (int row = 0; row < 30; ++row) {
    database_.rows_in_memory().make_room(session_);
    auto before = log_size();
    session_.query("INSERT INTO t1 (c0) VALUES (2)", "writing");
    EXPECT_GT(log_size(), before);
    database_.rows_in_memory().wrote(1, columns, 20'000);
  }
}

TEST_F(RowsInMemoryTest, WaitsForNoTransactionThatAltersATable) {
  Session other = database_.session();
  other.begin();
  other.query("ALTER TABLE t0 ADD COLUMN more INT", "altering");
  for (int table = 1; table < 20; ++table) {
    session_.query(fmt::format("INSERT INTO t{} (c0) VALUES (2)", table), "writing");
    database_.rows_in_memory().wrote(static_cast<Oid>(table), columns, 1);
  }
  EXPECT_NO_THROW(database_.rows_in_memory().make_room(session_));
  EXPECT_GT(log_size(), 0);
  other.commit();
  database_.rows_in_memory().make_room(session_);
  EXPECT_EQ(log_size(), 0) << "the next one makes it";
}

TEST_F(RowsInMemoryTest, MuchIsWhatComesForTheFirstTime) {
  auto& memory = database_.rows_in_memory();
  EXPECT_FALSE(memory.is_much({{1, 20}}));
  std::map<Oid, std::size_t> ten;
  for (Oid table = 1; table <= 10; ++table) ten[table] = 20;
  EXPECT_TRUE(memory.is_much(ten)) << "26 MB, and 16 are a quarter";
  EXPECT_TRUE(memory.is_much({{77, 561}})) << "a wide one, once";
  for (Oid table = 1; table <= 10; ++table) memory.wrote(table, columns, 1);
  EXPECT_FALSE(memory.is_much(ten));
  EXPECT_FALSE(RowsInMemory(64 << 20, 0).is_much(ten)) << "of a file that is only read";
}

}  // namespace
}  // namespace tailrace::target::duckdb
