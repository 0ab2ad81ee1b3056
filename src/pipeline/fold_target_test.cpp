// The fold and the real target together: whatever happens to a table, its mirror holds the same rows.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "pgoutput/message_builder.h"
#include "pipeline/fold.h"
#include "pipeline/random_changes.h"
#include "target/open_target.h"

namespace tailrace::pipeline {
namespace {

struct TypedColumn {
  const char* type;
  std::vector<std::string> values;
};

struct Shape {
  const char* name;
  std::vector<TypedColumn> columns;
  std::vector<std::size_t> key;
  ReplicaIdentity identity = ReplicaIdentity::by_default;
};

void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.name;
}

const TypedColumn number{"int4", {"1", "2", "3", "-2147483648", "2147483647"}};
const TypedColumn text{"text", {"", "a", "A", "'", "NULL", "\\N", "a longer text than a vector holds"}};
const TypedColumn blob{"bytea", {"\\x", "\\x00", "\\x0001"}};
const TypedColumn amount{"float8", {"1.5", "NaN", "Infinity", "0", "1e-300"}};
// Equal for DuckDB, not for PostgreSQL: rows with them must still be told apart.
const TypedColumn span{"interval", {"1 mon", "30 days", "720:00:00", "00:00:00"}};
const TypedColumn zoned{"timetz", {"12:00:00+00", "13:00:00+01", "11:00:00-01"}};
const TypedColumn list{"_text", {"{}", "{a}", "{NULL}", "{a,b}"}};
const TypedColumn flag{"bool", {"t", "f"}};

schema::Table source_table(const Shape& shape, Oid oid) {
  schema::Table out;
  out.oid = oid;
  out.schema = "public";
  out.name = shape.name;
  out.identity = shape.identity;
  for (std::size_t i = 0; i < shape.columns.size(); ++i) {
    auto type = std::make_shared<schema::Type>();
    type->name = shape.columns[i].type;
    type->builtin = true;
    if (type->name[0] == '_') {
      auto element = std::make_shared<schema::Type>();
      element->name = type->name.substr(1);
      element->builtin = true;
      type->element = element;
    }
    schema::Column column;
    column.attnum = static_cast<std::int16_t>(i + 1);
    column.name = "c" + std::to_string(i);
    column.type = type;
    out.columns.push_back(column);
  }
  return out;
}

std::multiset<Cells> mirrored(target::Target& target, Oid oid) {
  std::multiset<Cells> out;
  target.view()->scan(oid, [&](const std::vector<std::optional<std::string_view>>& row) {
    Cells cells;
    for (const auto& value : row) cells.push_back(value ? text_cell(std::string(*value)) : null_cell());
    out.insert(std::move(cells));
  });
  return out;
}

class FoldAndTarget : public testing::TestWithParam<Shape> {
 protected:
  FoldAndTarget()
      : file_(testing::TempDir() + "tailrace_fold_" + GetParam().name + std::to_string(getpid()) + ".duckdb") {
    remove_file();
  }
  ~FoldAndTarget() override { remove_file(); }

  void remove_file() const {
    std::filesystem::remove(file_);
    std::filesystem::remove(file_ + ".wal");
  }

  std::string file_;
};

TEST_P(FoldAndTarget, MirrorWhateverHappens) {
  const Shape& shape = GetParam();
  auto target = target::open({"duckdb", file_, "", 0});
  std::vector<std::vector<std::string>> values;
  for (const auto& column : shape.columns) values.push_back(column.values);
  for (Oid oid = 1; oid <= 3; ++oid) {
    auto relation = std::make_shared<const Relation>(
        pgoutput::make_relation(oid, shape.name, shape.columns.size(), shape.key, shape.identity));
    target->create_table(source_table(shape, oid));
    target->finish_copy(oid, {50}, 0);
    RandomTable source(relation, oid, values);
    Lsn lsn{100};
    for (int commit = 0; commit < 12; ++commit) {
      // Several batches in one commit: the later ones meet rows that are not committed yet.
      target->begin();
      auto batches = 1 + source.below(3);
      for (std::size_t batch = 0; batch < batches; ++batch) {
        TupleStore store;
        TableFold fold(relation);
        for (std::size_t i = source.below(40); i > 0; --i) {
          Change change = source.next(store);
          if (change.kind == ChangeKind::truncate) {
            fold.truncate();
          } else {
            fold.add(change);
          }
        }
        TableBatch folded = std::move(fold).finish();
        if (!folded.empty()) target->apply(oid, folded);
      }
      target->commit({"slot", "system", 1, {++lsn.value}, {}});
      ASSERT_EQ(mirrored(*target, oid), source.row_set())
          << shape.name << ", seed " << oid << ", commit " << commit;
    }
  }
  // And it is all in the file.
  std::vector<std::multiset<Cells>> before;
  for (Oid oid = 1; oid <= 3; ++oid) before.push_back(mirrored(*target, oid));
  target.reset();
  target = target::open({"duckdb", file_, "", 0});
  for (Oid oid = 1; oid <= 3; ++oid) EXPECT_EQ(mirrored(*target, oid), before[oid - 1]);
}

INSTANTIATE_TEST_SUITE_P(Shapes, FoldAndTarget,
                         testing::Values(Shape{"OneKeyColumn", {number, text, blob, list}, {0}},
                                         Shape{"ScatteredKey", {text, amount, number, span}, {0, 2}},
                                         Shape{"NothingButKey", {blob, flag}, {0, 1}},
                                         Shape{"WholeRow", {flag, amount, text}, {}, ReplicaIdentity::full},
                                         Shape{"WholeLooseRow", {span, zoned}, {}, ReplicaIdentity::full},
                                         Shape{"WholeList", {list}, {}, ReplicaIdentity::full},
                                         Shape{"NoColumns", {}, {}, ReplicaIdentity::full},
                                         Shape{"NoKey", {number, span}, {}}),
                         [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace tailrace::pipeline
