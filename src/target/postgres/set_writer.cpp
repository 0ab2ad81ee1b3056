#include "target/postgres/set_writer.h"

#include <algorithm>
#include <array>

#include "base/byte_reader.h"
#include "base/sql_text.h"
#include "pg/copy_in.h"
#include "target/postgres/bad_change.h"
#include "target/postgres/row_encoder.h"
#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {
namespace {

// Up to here statements by the pipeline are cheaper than the round trips of a COPY.
constexpr std::size_t few = 40;
constexpr const char* count_column = "tailrace count";

/// What rows hold is the same for all of a stream, but a row may be all NULL.
bool holds_binary(const TableBatch& batch) {
  auto kind_of = [](const TupleData& tuple) {
    TupleWalker columns(tuple);
    while (!columns.done()) {
      auto kind = columns.next().kind;
      if (kind == ValueKind::binary || kind == ValueKind::text) return kind;
    }
    return ValueKind::null;
  };
  for (const auto& row : batch.rows) {
    if (auto kind = kind_of(row.tuple); kind != ValueKind::null) return kind == ValueKind::binary;
  }
  for (const auto& row : batch.deletes) {
    if (auto kind = kind_of(row.tuple); kind != ValueKind::null) return kind == ValueKind::binary;
  }
  return false;
}

}  // namespace

std::string Stages::table(pg::Connection& connection, const TablePlan& plan, const ColumnSet& columns,
                          bool counted) {
  std::string definition;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!columns[i]) continue;
    const auto& column = *plan.columns[i];
    definition +=
        fmt::format("{}{} {}", definition.empty() ? "" : ", ", quote_identifier(column.name), column.type);
    // What is compressed in the stage stays so in the table.
    if (!column.compression.empty()) definition += " compression " + column.compression;
  }
  if (counted)
    definition += fmt::format("{}{} int", definition.empty() ? "" : ", ", quote_identifier(count_column));
  auto [found, fresh] = made_.try_emplace(definition);
  if (fresh) {
    if (made_.size() == 1) oldest_ = std::chrono::steady_clock::now();
    found->second = fmt::format("pg_temp.tailrace_{}", ++serial_);
    connection.query(
        fmt::format("create temp table tailrace_{} ({}) on commit delete rows", serial_, definition),
        "making a stage");
  } else {
    // The same stage may serve twice in one transaction.
    connection.query("truncate " + found->second, "emptying a stage");
  }
  return found->second;
}

void Stages::forget(pg::Connection& connection) {
  connection.query("discard temp", "dropping stages");
  made_.clear();
}

std::chrono::steady_clock::duration Stages::age() const {
  if (made_.empty()) return {};
  return std::chrono::steady_clock::now() - oldest_;
}

SetWriter::SetWriter(ApplySession& session, Stages& stages, const TablePlan& plan, const TableBatch& batch)
    : session_(session),
      stages_(stages),
      plan_(plan),
      batch_(batch),
      purpose_("applying to " + plan.table.sql_name()),
      binary_(holds_binary(batch)),
      values_(plan.columns.size()) {
  if (batch_.truncate) throw Error(Retry::fatal, "a truncation came in a batch");
}

ColumnSet SetWriter::sent_columns(std::uint32_t row) {
  ColumnSet sent(plan_.columns.size(), true);
  if (!batch_.rows[row].tuple.has_unchanged) return sent;
  auto values = resolved(row);
  for (std::size_t c = 0; c < values.size(); ++c) sent[c] = values[c].kind != ValueKind::unchanged;
  return sent;
}

std::span<const Value> SetWriter::resolved(std::uint32_t row) {
  resolve_row(batch_, batch_.rows[row], values_);
  return values_;
}

void SetWriter::write(const SetChanges& changes) {
  if (changes.count() <= few) return write_singly(changes);
  session_.settle();
  try {
    if (plan_.key.empty()) {
      write_deletes_by_row(changes.deletes);
    } else {
      write_deletes(changes.deletes);
    }
    write_updates(changes);
    write_inserts(changes.inserts);
  } catch (const Error& error) {
    if (about_a_change(error)) throw ConstraintFailed{plan_.oid, Lsn{}, error, 0};
    throw;
  }
}

void SetWriter::write_singly(const SetChanges& changes) {
  RowWriter writer(session_, plan_, batch_.commit_time);
  for (const auto& change : changes.deletes) {
    const auto& row = batch_.deletes[change.index];
    for (std::uint32_t n = 0; n < row.count; ++n) writer.remove(values_of(row.tuple), Lsn{});
  }
  for (const auto& change : changes.updates) {
    auto row = resolved(change.index);
    writer.update(row, row, false, Lsn{});
  }
  for (auto i : changes.inserts) writer.insert(resolved(i), Lsn{});
}

/// Which one it is, and of which transaction, is found row by row.
void SetWriter::expect(std::int64_t touched, std::size_t wanted) const {
  if (touched != static_cast<std::int64_t>(wanted)) throw RowMissing{plan_.oid, Lsn{}, "a change", 0};
}

void SetWriter::write_deletes(const Keyed& deletes) {
  if (deletes.empty()) return;
  auto keys = single_keys(deletes);
  auto in_array = keys ? plan_.in_array_condition(dense_range(*keys)) : std::string();
  expect(in_array.empty() ? delete_by_stage(deletes) : delete_by_array(in_array, *keys), deletes.size());
}

/// As an array can hold them. None where the key has more columns than one, or a column that holds NULL at the
/// source.
std::optional<std::vector<std::string_view>> SetWriter::single_keys(const Keyed& deletes) const {
  if (!binary_ || plan_.key.size() != 1) return std::nullopt;
  std::vector<std::string_view> out;
  out.reserve(deletes.size());
  for (std::size_t i = 0; i < deletes.size(); ++i) {
    if (i + rounds_ahead < deletes.size()) fetch_soon(deletes[i + rounds_ahead].key.data());
    // What a key holds of its tuple: one column.
    TupleWalker walker({reinterpret_cast<const std::byte*>(deletes[i].key.data()), 0, 1});
    Value value = walker.next();
    if (value.kind != ValueKind::binary) return std::nullopt;
    out.push_back(value.bytes);
  }
  return out;
}

/// Of integers of which every third or more is there: rows that stay are looked at in vain, two for one that
/// goes at most, which costs less than descents even where they do not lie beside each other.
std::optional<KeyRange> SetWriter::dense_range(const std::vector<std::string_view>& keys) {
  constexpr Oid integers[] = {21, 23, 20};
  constexpr int hashes_arrays = 140000;
  if (!std::ranges::count(integers, plan_.columns[plan_.key.front()]->type_oid) ||
      session_.direct().server_version() < hashes_arrays)
    return std::nullopt;
  return dense_integers(keys);
}

/// One scan of the index finds all, and nothing is staged.
std::int64_t SetWriter::delete_by_array(const std::string& condition,
                                        const std::vector<std::string_view>& keys) {
  auto at = plan_.key.front();
  // As array_send() writes it: dimensions, whether there are NULLs, the type; length and lower bound of the
  // dimension; the values.
  std::string array;
  array.reserve(20 + keys.size() * 16);
  auto number = [&](std::size_t value) {
    std::array<char, 4> wire{};
    store_big_endian(reinterpret_cast<std::byte*>(wire.data()), static_cast<std::int32_t>(value));
    array.append(wire.data(), wire.size());
  };
  for (std::size_t value : {1UL, 0UL, std::size_t{plan_.columns[at]->type_oid}, keys.size(), 1UL})
    number(value);
  for (auto key : keys) {
    number(key.size());
    array.append(key);
  }
  auto result = session_.direct().query_binary(
      fmt::format("delete from {} t where {}", plan_.table.sql_own_rows(), condition), array, purpose_);
  return result.affected();
}

std::int64_t SetWriter::delete_by_stage(const Keyed& deletes) {
  ColumnSet columns(plan_.columns.size());
  for (auto i : plan_.key) columns[i] = true;
  auto& connection = session_.direct();
  auto stage = stages_.table(connection, plan_, columns, false);
  std::vector<const TupleData*> keys;
  for (const auto& change : deletes) keys.push_back(&batch_.deletes[change.index].tuple);
  stage_keys(stage, columns, keys);
  auto result = connection.query(fmt::format("delete from {} t using {} s where {}", plan_.table.sql_own_rows(),
                                             stage, plan_.key_condition()),
                                 purpose_);
  return result.affected();
}

/// COPYs keys into a stage that has the key's columns.
void SetWriter::stage_keys(const std::string& stage, const ColumnSet& columns,
                           const std::vector<const TupleData*>& keys) {
  pg::CopyIn copy(session_.direct(), fmt::format("copy {} from stdin{}", stage, format()), purpose_);
  RowEncoder encoder(copy, binary_);
  std::vector<Value> row;
  for (const TupleData* tuple : keys) {
    row.clear();
    TupleWalker walker(*tuple);
    for (std::size_t c = 0; row.size() < plan_.key.size(); ++c) {
      Value value = walker.next();
      if (columns[c]) row.push_back(value);
    }
    encoder.row(row);
  }
  encoder.finish();
  copy.finish();
}

/// After the rows are there: whoever deleted one of them before has committed by now, and is seen.
void SetWriter::check_deletions(const std::vector<std::uint32_t>& inserts) {
  if (plan_.deletions == nullptr || !plan_.deletions->later_wins) return;
  auto& connection = session_.direct();
  auto any = connection.query(fmt::format("select exists (select from tailrace.deletions where relation = {})",
                                          plan_.deletions->relation),
                              purpose_);
  if (!any.flag(0, 0)) return;
  std::vector<const TupleData*> keys;
  for (auto i : inserts) keys.push_back(&batch_.rows[i].tuple);
  ColumnSet columns(plan_.columns.size());
  std::vector<std::string> values;
  for (auto i : plan_.key) {
    columns[i] = true;
    values.push_back("s." + quote_identifier(plan_.columns[i]->name));
  }
  auto stage = stages_.table(connection, plan_, columns, false);
  stage_keys(stage, columns, keys);
  auto deleted =
      connection.query(fmt::format("select exists (select from {} s join tailrace.deletions d on {} where {})",
                                   stage, plan_.deletion_of(plan_.key_object(values)),
                                   plan_.deleted_since(std::to_string(batch_.commit_time.micros))),
                       purpose_);
  if (deleted.flag(0, 0)) throw RowMissing{plan_.oid, Lsn{}, "an INSERT", 0};
}

/// Without a key, rows are found by what they are, all columns; of equal ones as many go as were deleted.
void SetWriter::write_deletes_by_row(const Keyed& deletes) {
  if (deletes.empty()) return;
  auto& connection = session_.direct();
  auto stage = stages_.table(connection, plan_, ColumnSet(plan_.columns.size(), true), true);
  std::size_t wanted = 0;
  {
    pg::CopyIn copy(connection, fmt::format("copy {} from stdin{}", stage, format()), purpose_);
    RowEncoder encoder(copy, binary_);
    for (const auto& change : deletes) {
      const auto& removed = batch_.deletes[change.index];
      wanted += removed.count;
      auto row = values_of(removed.tuple);
      std::array<char, 4> wire{};
      store_big_endian(reinterpret_cast<std::byte*>(wire.data()), static_cast<std::int32_t>(removed.count));
      std::string text = std::to_string(removed.count);
      row.push_back(binary_ ? Value{ValueKind::binary, {wire.data(), wire.size()}}
                            : Value{ValueKind::text, text});
      encoder.row(row);
    }
    encoder.finish();
    copy.finish();
  }
  // Equality of the rows' text can be hashed, whatever their types.
  connection.query("set local enable_hashjoin = on; set local enable_seqscan = on", purpose_);
  auto result = connection.query(
      fmt::format("with doomed as (select t.tableoid as part, t.ctid as place, s.{0} as wanted, "
                  "pg_catalog.row_number() over (partition by s.ctid) as number "
                  "from {1} t join {2} s on {3} = {4}) "
                  "delete from {1} t using doomed d where t.tableoid = d.part and t.ctid = d.place "
                  "and d.number <= d.wanted",
                  quote_identifier(count_column), plan_.table.sql_own_rows(), stage, plan_.row_text("t"),
                  plan_.row_text("s")),
      purpose_);
  connection.query("set local enable_hashjoin = off; set local enable_seqscan = off", purpose_);
  expect(result.affected(), wanted);
}

/// Rows that leave the same columns alone are updated together.
void SetWriter::write_updates(const SetChanges& changes) {
  std::map<ColumnSet, std::vector<std::uint32_t>> groups;
  std::vector<std::uint32_t>* all = nullptr;
  if (!changes.leaves_values && !changes.updates.empty()) all = &groups[ColumnSet(plan_.columns.size(), true)];
  for (const auto& change : changes.updates)
    (all != nullptr ? *all : groups[sent_columns(change.index)]).push_back(change.index);
  for (const auto& [sent, rows] : groups) write_group(sent, rows);
}

/// First where the row is said to be, then what it holds.
void SetWriter::fetch_row_soon(const std::vector<std::uint32_t>& rows, std::size_t i) const {
  if (i + 2 * rounds_ahead < rows.size()) fetch_soon(&batch_.rows[rows[i + 2 * rounds_ahead]]);
  if (i + rounds_ahead >= rows.size()) return;
  const auto& tuple = batch_.rows[rows[i + rounds_ahead]].tuple;
  fetch_soon(tuple.data);
  fetch_soon(tuple.data + 64);
}

void SetWriter::write_group(const ColumnSet& sent, const std::vector<std::uint32_t>& rows) {
  ColumnSet assigned = sent;
  for (std::size_t c = 0; c < assigned.size(); ++c)
    assigned[c] = sent[c] && !plan_.is_key(c) && plan_.assignable(c);
  std::string assignments = plan_.assignments(assigned);
  // Nothing but the key was sent, and the key stays; the row is touched all the same, as at the source.
  if (assignments.empty()) {
    ColumnSet first(sent.size());
    first[plan_.key.front()] = plan_.assignable(plan_.key.front());
    assignments = plan_.assignments(first);
    if (assignments.empty()) return;
  }
  auto& connection = session_.direct();
  auto stage = stages_.table(connection, plan_, sent, false);
  {
    pg::CopyIn copy(connection, fmt::format("copy {} from stdin{}", stage, format()), purpose_);
    RowEncoder encoder(copy, binary_);
    std::vector<Value> row;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      fetch_row_soon(rows, i);
      auto values = resolved(rows[i]);
      row.clear();
      for (std::size_t c = 0; c < values.size(); ++c) {
        if (sent[c]) row.push_back(values[c]);
      }
      encoder.row(row);
    }
    encoder.finish();
    copy.finish();
  }
  auto result =
      connection.query(fmt::format("update {} t set {} from {} s where {}", plan_.table.sql_own_rows(),
                                   assignments, stage, plan_.key_condition(true)),
                       purpose_);
  expect(result.affected(), rows.size());
}

void SetWriter::write_inserts(const std::vector<std::uint32_t>& inserts) {
  if (inserts.empty()) return;
  if (inserts.size() <= few) {
    RowWriter writer(session_, plan_, batch_.commit_time);
    for (auto i : inserts) writer.insert(resolved(i), Lsn{});
    return;
  }
  pg::CopyIn copy(session_.direct(), plan_.copy_sql() + format(), purpose_);
  RowEncoder encoder(copy, binary_);
  for (auto i : inserts) encoder.row(resolved(i));
  encoder.finish();
  copy.finish();
  check_deletions(inserts);
}

}  // namespace tailrace::target::postgres
