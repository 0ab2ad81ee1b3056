#include "pg/session_settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace tailrace::pg {
namespace {

class SessionSettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv("PGOPTIONS");
    unsetenv("PGSERVICE");
    unsetenv("PGSERVICEFILE");
  }
  void TearDown() override { SetUp(); }
};

TEST_F(SessionSettingsTest, TheUsersOwnOptionsComeFirstAndOursLast) {
  EXPECT_EQ(with_pinned_start(server_options_of("dbname=d")), "-c search_path= -c role=none");
  EXPECT_EQ(with_pinned_start(server_options_of("postgres://h/d?options=-c%20work_mem%3D1MB")),
            "-c work_mem=1MB -c search_path= -c role=none");
}

TEST_F(SessionSettingsTest, ARoleThatTheUserChoseIsKept) {
  for (auto chosen : {"-c role=app", "-crole=app", "-c work_mem=1MB --role=app", "-c Role=app"}) {
    EXPECT_TRUE(choose_role(chosen)) << chosen;
    EXPECT_EQ(with_pinned_start(chosen), std::string(chosen) + " -c search_path=");
  }
  EXPECT_FALSE(choose_role("-c app.role=x -c x=role=1"));
}

TEST_F(SessionSettingsTest, OptionsOfTheEnvironmentAreKept) {
  setenv("PGOPTIONS", "-c geqo=off", 1);
  EXPECT_EQ(server_options_of("dbname=d"), "-c geqo=off");
  EXPECT_EQ(server_options_of("dbname=d options='-c jit=off'"), "-c jit=off");
}

TEST_F(SessionSettingsTest, OptionsOfAServiceAreKept) {
  auto file = std::filesystem::temp_directory_path() / ("tailrace-service-" + std::to_string(getpid()));
  std::ofstream(file) << "[shop]\nhost=db1,db2\nport=1,2\noptions=-c jit=off\n";
  setenv("PGSERVICEFILE", file.c_str(), 1);
  setenv("PGOPTIONS", "-c geqo=off", 1);
  EXPECT_EQ(server_options_of("service=shop"), "-c jit=off");
  setenv("PGSERVICE", "shop", 1);
  EXPECT_EQ(server_options_of("dbname=d"), "-c jit=off");
  std::filesystem::remove(file);
}

TEST_F(SessionSettingsTest, ThePathIsPinnedBeforeAllElse) {
  auto sql = pin_session(130000, false);
  EXPECT_TRUE(sql.starts_with("select pg_catalog.set_config('search_path', '', false); select"));
  EXPECT_TRUE(sql.contains("'role'"));
  EXPECT_FALSE(pin_session(130000, true).contains("'role'"));
  EXPECT_FALSE(sql.contains("idle_session_timeout"));
  EXPECT_TRUE(pin_session(170000, true).contains("transaction_timeout"));
}

}  // namespace
}  // namespace tailrace::pg
