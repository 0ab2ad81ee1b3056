#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/config_reader.h"
#include "config/units.h"
#include "config/validation.h"

namespace tailrace::config {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string problems_of(const std::string& yaml) {
  auto result = read_text(yaml, "t.yaml");
  return result ? "" : join(result.error());
}

TEST(Config, DefaultsAreDerived) {
  Config config = read_text("name: Shop-EU\n", "t.yaml").value();
  EXPECT_EQ(config.slot.name, "shop_eu");
  EXPECT_EQ(config.publication.names, std::vector<std::string>{"Shop-EU"});
  EXPECT_EQ(config.limits.duckdb_memory, 256ULL << 20);
  EXPECT_TRUE(config.tables.everything());
  EXPECT_TRUE(read_text("", "t.yaml").has_value());
}

TEST(Config, SpoolIsBesideTheTargetUnlessNamed) {
  EXPECT_EQ(spool_directory(read_text("target: duckdb:/data/shop.duckdb\n", "t.yaml").value()), "/data");
  EXPECT_EQ(spool_directory(read_text("target: duckdb:shop.duckdb\n", "t.yaml").value()), ".");
  EXPECT_EQ(spool_directory(read_text("spool: /tmp\n", "t.yaml").value()), "/tmp");
  EXPECT_THAT(problems_of("spool: /nowhere\n"), HasSubstr("t.yaml:1:8: spool: /nowhere is no directory"));
}

TEST(Config, EveryProblemIsReportedAtOnceWithItsPlace) {
  auto text = problems_of(
      "nmae: x\n"
      "snapshot:\n"
      "  readers: 400\n"
      "  raeders: 4\n"
      "limits: {memory: 64 bananas}\n"
      "target: shop.duckdb\n"
      "log: {level: loud}\n"
      "tables: [orders]\n"
      "streaming: maybe\n"
      "name: a\n"
      "name: b\n");
  EXPECT_THAT(text, HasSubstr("t.yaml:1:1: nmae: unknown key; did you mean 'name'?"));
  EXPECT_THAT(text, HasSubstr("t.yaml:3:12: snapshot.readers: must be between 1 and 64"));
  EXPECT_THAT(text, HasSubstr("t.yaml:4:3: snapshot.raeders: unknown key; did you mean 'readers'?"));
  EXPECT_THAT(text, HasSubstr("t.yaml:5:18: limits.memory: '64 bananas' is not understood"));
  EXPECT_THAT(text, HasSubstr("t.yaml:6:9: target: must say what it is: write duckdb:shop.duckdb"));
  EXPECT_THAT(text, HasSubstr("t.yaml:7:14: log.level: must be one of: debug, info, warn, error"));
  EXPECT_THAT(text, HasSubstr("t.yaml:8:10: tables[0]: 'orders' has no schema: write 'public.orders'"));
  EXPECT_THAT(text, HasSubstr("t.yaml:9:12: streaming: must be on or off"));
  EXPECT_THAT(text, HasSubstr("t.yaml:11:1: name: this key is given twice"));
}

TEST(Config, PublicationsAreOneOfOursOrSeveralOfOthers) {
  Config config = read_text("publication: mine\n", "t.yaml").value();
  EXPECT_TRUE(makes_publication(config));
  config = read_text("publication: [a, b]\n", "t.yaml").value();
  EXPECT_EQ(config.publication.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(makes_publication(config));
  config = read_text("publication: {name: [a, b], create: off}\n", "t.yaml").value();
  EXPECT_THAT(describe(config), HasSubstr("create: off"));
  EXPECT_THAT(problems_of("publication: {name: [a, b], create: on}\n"),
              HasSubstr("publication.create: tailrace makes one publication of its own"));
  EXPECT_THAT(problems_of("publication: [a, a]\n"), HasSubstr("'a' is listed twice"));
  EXPECT_THAT(problems_of("publication: []\n"), HasSubstr("must be a publication's name, or a list"));
}

TEST(Config, SchemaIsAWordOrAMapping) {
  Config config = read_text("schema: expect\n", "t.yaml").value();
  EXPECT_EQ(config.schema.mode, SchemaMode::expect);
  config = read_text("schema: {mode: copy, owners: on, privileges: on}\n", "t.yaml").value();
  EXPECT_TRUE(config.schema.owners && config.schema.privileges);
  EXPECT_THAT(describe(config), HasSubstr("owners: on"));
  EXPECT_THAT(problems_of("schema: sometimes\n"),
              HasSubstr("t.yaml:1:9: schema: must be one of: copy, expect"));
  EXPECT_THAT(problems_of("schema:\n  mode: expect\n  owners: on\n"),
              HasSubstr("t.yaml:3:11: schema.owners: nothing is made with mode: expect"));
  EXPECT_THAT(problems_of("target: duckdb:x\nschema: {privileges: on}\n"),
              HasSubstr("schema.privileges: a DuckDB file has none"));
}

TEST(Config, AFileModeIsAsChmodTakesIt) {
  auto mode_of = [](const std::string& mode) {
    return read_text("file_mode: " + mode + "\n", "t.yaml").value().file_mode;
  };
  EXPECT_EQ(mode_of("0640"), 0640U);
  EXPECT_EQ(mode_of("644"), 0644U);
  EXPECT_THAT(describe(read_text("file_mode: 640\n", "t.yaml").value()), HasSubstr("file_mode: 0640"));
  for (const char* bad : {"0400", "rw-r--r--", "0755", "04600", "0689", "-1", "\"\""})
    EXPECT_THAT(problems_of(fmt::format("file_mode: {}\n", bad)),
                HasSubstr("t.yaml:1:12: file_mode: must be permissions as chmod takes them"));
  EXPECT_THAT(problems_of("target: postgres://h/d\nfile_mode: 0640\n"),
              HasSubstr("file_mode: is for a DuckDB"));
}

TEST(Config, AnHttpAddressIsAPortOrAHostAndAPort) {
  auto address = [](const std::string& text) {
    return read_text("http: \"" + text + "\"\n", "t.yaml").value().http.value().str();
  };
  EXPECT_EQ(address("9187"), "127.0.0.1:9187");
  EXPECT_EQ(address("0.0.0.0:80"), "0.0.0.0:80");
  EXPECT_EQ(address("localhost:1"), "localhost:1");
  EXPECT_EQ(address("[::1]:9187"), "[::1]:9187");
  EXPECT_THAT(describe(read_text("http: 9187\n", "t.yaml").value()), HasSubstr("http: 127.0.0.1:9187"));
  for (const char* bad : {"", "0", "65536", ":9187", "::1:9187", "[::1]", "host:", "host:x", "-1", "9187 "})
    EXPECT_THAT(problems_of(fmt::format("http: \"{}\"\n", bad)),
                HasSubstr("t.yaml:1:7: http: must be a port, or an address and a port"))
        << bad;
}

TEST(Config, SequencesAreKeptAheadUnlessTwoDatabasesFollowEachOther) {
  auto kept = [](const std::string& yaml) {
    return keeps_sequences(read_text("target: postgres://b/x\n" + yaml, "t.yaml").value());
  };
  EXPECT_TRUE(kept(""));
  EXPECT_FALSE(kept("sequences: off\n"));
  EXPECT_FALSE(kept("origin: none\n"));
  EXPECT_FALSE(keeps_sequences(read_text("target: duckdb:x\n", "t.yaml").value()));
  Config config = read_text("sequences: {margin: 50, interval: 2s}\n", "t.yaml").value();
  EXPECT_EQ(config.sequences.margin, 50);
  EXPECT_EQ(config.sequences.interval, Milliseconds(2000));
  EXPECT_THAT(problems_of("sequences:\n  margin: -1\n"),
              HasSubstr("t.yaml:2:11: sequences.margin: must not be"));
  EXPECT_THAT(problems_of("origin: none\nsequences: on\n"), HasSubstr("sequences.enabled: with origin: none"));
  EXPECT_THAT(problems_of("target: duckdb:x\nsequences: {enabled: on}\n"),
              HasSubstr("sequences.enabled: a DuckDB file has no sequences"));
}

TEST(Config, BrokenYamlHasAPlaceAndAHint) {
  EXPECT_THAT(problems_of("tables:\n  - *.*\n"), HasSubstr("t.yaml:2:"));
  EXPECT_THAT(problems_of("tables:\n  - *.*\n"), HasSubstr("double quotes"));
  EXPECT_THAT(problems_of("a: [1\n"), HasSubstr("t.yaml:"));
  EXPECT_THAT(problems_of("just a word"), HasSubstr("must be a mapping"));
  EXPECT_THAT(problems_of("target:\n"), HasSubstr("t.yaml:1:1: target: has no value"));
}

TEST(Config, TablesTakePatternsAndOptions) {
  Config config = read_text(
                      "tables:\n"
                      "  - public.*\n"
                      "  - !public.audit_*\n"
                      "  - \"!public.log\"\n"
                      "  - table: public.orders\n"
                      "    columns: [id, total]\n"
                      "    where: \"total > 0\"\n",
                      "t.yaml")
                      .value();
  ASSERT_EQ(config.tables.rules.size(), 4U);
  EXPECT_FALSE(config.tables.selects("public", "audit_x"));
  EXPECT_FALSE(config.tables.selects("public", "log"));
  EXPECT_EQ(config.tables.decide("public", "orders")->columns, (std::vector<std::string>{"id", "total"}));
  EXPECT_EQ(config.tables.decide("public", "orders")->where, "total > 0");
}

TEST(Config, EnvironmentExpandsAndItsAbsenceIsAProblem) {
  setenv("TAILRACE_TEST_HOST", "db:1", 1);
  Config config =
      read_text("source: postgres://a@${TAILRACE_TEST_HOST}/${TAILRACE_TEST_NO:-shop}$${x}\n", "t").value();
  EXPECT_EQ(config.source, "postgres://a@db:1/shop${x}");
  EXPECT_THAT(problems_of("source: ${TAILRACE_TEST_NO}\n"),
              HasSubstr("t.yaml:1:9: source: the environment variable TAILRACE_TEST_NO is not set"));
  EXPECT_THAT(problems_of("source: ${TAILRACE\n"), HasSubstr("never closed"));
}

class SecretFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("tailrace_config_" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
    write("password", "p@ss 'w\\rd\n");
    write("source", "host=db user=app password=zzz\n");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  std::expected<Config, Problems> read(const std::string& yaml) {
    return read_text(yaml, (folder_ / "t.yaml").string());
  }
  std::filesystem::path folder_;
};

TEST_F(SecretFile, PasswordJoinsTheSourceInItsNotation) {
  EXPECT_EQ(read("source: postgres://app@db/shop\npassword_file: password\n").value().source,
            "postgres://app@db/shop?password=%70%40%73%73%20%27%77%5C%72%64");
  EXPECT_EQ(read("source_file: source\npassword_file: password\n").value().source,
            "host=db user=app password=zzz password='p@ss \\'w\\\\rd'");
}

TEST_F(SecretFile, NeverShown) {
  Config config = read("source: postgres://app@db/shop\npassword_file: password\n").value();
  EXPECT_THAT(describe(config), Not(HasSubstr("70%40")));
  EXPECT_THAT(describe(config), HasSubstr("app@db"));
  EXPECT_THAT(join(read("source_file: absent\n").error()),
              HasSubstr(":1:14: source_file: cannot read the file"));
  EXPECT_THAT(join(read("source: x\nsource_file: source\n").error()),
              HasSubstr("either source or source_file"));
}

TEST(Config, DescriptionReadsBack) {
  auto text = describe(read_text("name: x\ntables: [\"!a.b\", {table: c.d, columns: [e], where: \"e > ''\"}]\n"
                                 "binary: off\nlimits: {memory: 1GB}\nintervals: {status: 1500ms}\n",
                                 "t.yaml")
                           .value());
  EXPECT_EQ(describe(read_text(text, "again.yaml").value()), text);
  EXPECT_THAT(text, HasSubstr("status: 1500ms"));
}

TEST(Config, TheDocumentedExampleIsValid) {
  std::ifstream file(std::filesystem::path(TAILRACE_DOCS) / "configuration.md");
  std::stringstream content;
  content << file.rdbuf();
  std::string text = content.str();
  auto begin = text.find("```yaml\n") + 8;
  ASSERT_GT(begin, 8U);
  auto result = read_text(text.substr(begin, text.find("```", begin) - begin), "configuration.md");
  ASSERT_TRUE(result.has_value()) << join(result.error());
  EXPECT_EQ(result->name, "shop");
  EXPECT_EQ(result->tables.rules.size(), 4U);
}

TEST(Config, Conflicts) {
  auto result = read_text(
      "source: postgres://a/b\ntarget: postgres://c/d\nconflicts: {policy: last_update_wins, record: on, "
      "keep_deletions: 2h, tables: [{table: public.t, policy: error}, {table: public.u, inserts: nothing}]}",
      "x.yaml");
  ASSERT_TRUE(result.has_value()) << join(result.error());
  EXPECT_EQ(result->conflicts.rules_for("public", "x").policy, ConflictPolicy::last_update_wins);
  EXPECT_EQ(result->conflicts.rules_for("public", "t").policy, ConflictPolicy::error);
  EXPECT_EQ(result->conflicts.rules_for("public", "u"),
            (ConflictRules{ConflictPolicy::last_update_wins, InsertPolicy::nothing}));
  auto again = read_text(describe(*result), "y.yaml");
  ASSERT_TRUE(again.has_value()) << join(again.error());
  EXPECT_EQ(describe(*again), describe(*result));
  auto wrong = read_text("conflicts: {policy: newest, tables: [{policy: error}]}\ntarget: duckdb:x", "z.yaml");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_THAT(join(wrong.error()), HasSubstr("conflicts.policy: must be one of: error, apply_remote"));
  EXPECT_THAT(join(wrong.error()), HasSubstr("conflicts.tables[0]: needs 'table'"));
  Config file;
  file.target = {"duckdb", "x"};
  file.conflicts.record = true;
  EXPECT_THAT(join(complete(file)), HasSubstr("conflicts: is for a PostgreSQL target"));
}

TEST(Validation, NeedsAndRelations) {
  Config config;
  EXPECT_THAT(join(complete(config, {true, true})), HasSubstr("source: is missing"));
  config.slot.name = "Bad-Name";
  config.limits.duckdb_memory = 600ULL << 20;
  config.connect.backoff_max = Milliseconds(1);
  auto text = join(complete(config));
  EXPECT_THAT(text, HasSubstr("slot.name: must be"));
  EXPECT_THAT(text, HasSubstr("limits.memory: is 512MB"));
  EXPECT_THAT(text, HasSubstr("connect.backoff_max"));
}

TEST(Validation, Targets) {
  EXPECT_EQ(parse_target("duckdb:a/b.duckdb")->path, "a/b.duckdb");
  EXPECT_EQ(parse_target("duckdb:///tmp/x")->path, "/tmp/x");
  EXPECT_FALSE(parse_target("duckdb:").has_value());
  EXPECT_FALSE(parse_target("kafka://x").has_value());
}

TEST(Units, SizesAndDurations) {
  EXPECT_EQ(parse_size("64MB").value(), 64ULL << 20);
  EXPECT_EQ(parse_size("1.5 gib").value(), 3ULL << 29);
  EXPECT_EQ(parse_size("123").value(), 123U);
  EXPECT_FALSE(parse_size("-1MB").has_value());
  EXPECT_FALSE(parse_size("1e30TB").has_value());
  EXPECT_EQ(parse_duration("5min").value(), std::chrono::minutes(5));
  EXPECT_EQ(parse_duration("0").value(), std::chrono::minutes(0));
  EXPECT_FALSE(parse_duration("10").has_value());
  EXPECT_EQ(format_size(64ULL << 20), "64MB");
  EXPECT_EQ(format_size(0), "0B");
  EXPECT_EQ(format_duration(std::chrono::milliseconds(90'000)), "90s");
}

}  // namespace
}  // namespace tailrace::config
