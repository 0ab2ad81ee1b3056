#include "target/postgres/set_writer.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/sql_text.h"
#include "pg/copy_in.h"
#include "target/postgres/row_encoder.h"
#include "target/postgres/row_writer.h"
#include "target/target.h"

namespace tailrace::target::postgres {
namespace {

// Up to here statements by the pipeline are cheaper than the round trips of a COPY.
constexpr std::size_t few = 40;
constexpr const char* count_column = "tailrace count";

/// What the rows of a COPY hold is the same for all of a stream, but a row may be all NULL.
bool any_binary(const std::vector<std::vector<Value>>& rows) {
  for (const auto& row : rows) {
    if (is_binary(row)) return true;
    bool text = std::ranges::any_of(row, [](const Value& value) { return value.kind == ValueKind::text; });
    if (text) return false;
  }
  return false;
}

}  // namespace

std::string Stages::table(pg::Connection& connection, const TablePlan& plan, const ColumnSet& columns,
                          bool counted) {
  std::string definition;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!columns[i]) continue;
    definition += fmt::format("{}{} {}", definition.empty() ? "" : ", ",
                              quote_identifier(plan.columns[i]->name), plan.columns[i]->type);
  }
  if (counted)
    definition += fmt::format("{}{} int", definition.empty() ? "" : ", ", quote_identifier(count_column));
  auto [found, fresh] = made_.try_emplace(definition);
  if (fresh) {
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

SetWriter::SetWriter(ApplySession& session, Stages& stages, const TablePlan& plan, const TableBatch& batch)
    : session_(session),
      stages_(stages),
      plan_(plan),
      batch_(batch),
      purpose_("applying to " + plan.table.sql_name()),
      contiguous_key_(!plan.key.empty() && plan.key.back() - plan.key.front() + 1 == plan.key.size()) {}

std::string_view SetWriter::key_of(const TupleData& tuple) {
  TupleWalker columns(tuple);
  std::byte* composed = contiguous_key_ ? nullptr : keys_.allocate(tuple.size);
  const std::byte* first = nullptr;
  std::size_t size = 0;
  std::size_t next = 0;
  for (std::size_t i = 0; next < plan_.key.size(); ++i) {
    const std::byte* begin = columns.position();
    columns.next();
    if (i != plan_.key[next]) continue;
    auto length = static_cast<std::size_t>(columns.position() - begin);
    if (first == nullptr) first = begin;
    if (composed != nullptr) std::memcpy(composed + size, begin, length);
    size += length;
    ++next;
  }
  return {reinterpret_cast<const char*>(composed != nullptr ? composed : first), size};
}

/// The fold says which rows must go and which must be there. A row that goes and comes back under its key is an
/// update: so that columns which only the target has, and large values that did not change, stay.
void SetWriter::classify() {
  std::unordered_map<std::string_view, std::uint32_t> going;
  bool keyed = !plan_.key.empty();
  if (keyed && !batch_.deletes.empty()) {
    going.reserve(batch_.deletes.size());
    for (std::uint32_t i = 0; i < batch_.deletes.size(); ++i) going.emplace(key_of(batch_.deletes[i].tuple), i);
  }
  std::vector<bool> stays(batch_.deletes.size());
  for (std::uint32_t i = 0; i < batch_.rows.size(); ++i) {
    const FoldedRow& row = batch_.rows[i];
    if (!row.live) continue;
    auto found = going.empty() ? going.end() : going.find(key_of(row.tuple));
    bool same = found != going.end() && (row.lookup == no_index || row.lookup == found->second);
    if (same) {
      stays[found->second] = true;
      updates_.push_back(i);
    } else if (row.lookup != no_index) {
      throw NeedsRowOrder("a key changed while a large value stayed");
    } else {
      inserts_.push_back(i);
    }
  }
  for (std::uint32_t i = 0; i < batch_.deletes.size(); ++i) {
    if (!stays[i]) deletes_.push_back(i);
  }
  if (plan_.extra_columns && !deletes_.empty() && !inserts_.empty())
    throw NeedsRowOrder("a key may have changed, and the target has columns of its own");
  // What came and went between two states of a row may matter to who wins.
  auto changes = static_cast<std::size_t>(batch_.inserts + batch_.updates + batch_.removes);
  if (plan_.deletions != nullptr && changes != deletes_.size() + updates_.size() + inserts_.size())
    throw NeedsRowOrder("a row changed more than once in a transaction, or its key did");
}

ColumnSet SetWriter::sent_columns(std::uint32_t row) const {
  ColumnSet sent(plan_.columns.size(), true);
  if (!batch_.rows[row].tuple.has_unchanged) return sent;
  auto values = resolved(row);
  for (std::size_t c = 0; c < values.size(); ++c) sent[c] = values[c].kind != ValueKind::unchanged;
  return sent;
}

std::vector<Value> SetWriter::resolved(std::uint32_t row) const {
  std::vector<Value> out(plan_.columns.size());
  resolve_row(batch_, batch_.rows[row], out);
  return out;
}

void SetWriter::write() {
  if (batch_.truncate) throw Error(Retry::fatal, "a truncation came in a batch");
  classify();
  if (deletes_.size() + updates_.size() + inserts_.size() <= few) return write_singly();
  session_.settle();
  try {
    if (plan_.key.empty()) {
      write_deletes_by_row();
    } else {
      write_deletes();
    }
    write_updates();
    write_inserts();
  } catch (const Error& error) {
    if (error.sqlstate().starts_with("23")) throw ConstraintFailed{plan_.oid, Lsn{}, error};
    throw;
  }
}

void SetWriter::write_singly() {
  RowWriter writer(session_, plan_, batch_.commit_time);
  for (auto i : deletes_) {
    for (std::uint32_t n = 0; n < batch_.deletes[i].count; ++n)
      writer.remove(values_of(batch_.deletes[i].tuple), Lsn{});
  }
  for (auto i : updates_) {
    auto row = resolved(i);
    writer.update(row, row, false, Lsn{});
  }
  for (auto i : inserts_) writer.insert(resolved(i), Lsn{});
}

void SetWriter::expect(std::int64_t touched, std::size_t wanted, const char* what) const {
  if (touched != static_cast<std::int64_t>(wanted)) throw RowMissing{plan_.oid, Lsn{}, what};
}

/// COPYs keys, sorted, into a stage that has the key's columns.
void SetWriter::stage_keys(const std::string& stage, const ColumnSet& columns,
                           const std::vector<std::pair<std::string_view, const TupleData*>>& keys) {
  // A key is never NULL, so the first one shows the format of all.
  bool binary = values_of(*keys.front().second)[plan_.key.front()].kind == ValueKind::binary;
  pg::CopyIn copy(session_.direct(),
                  fmt::format("copy {} from stdin{}", stage, binary ? " (format binary)" : ""), purpose_);
  RowEncoder encoder(copy, binary);
  std::vector<Value> row;
  for (const auto& [key, tuple] : keys) {
    row.clear();
    TupleWalker walker(*tuple);
    for (std::size_t c = 0; c < columns.size(); ++c) {
      Value value = walker.next();
      if (columns[c]) row.push_back(value);
    }
    encoder.row(row);
  }
  encoder.finish();
  copy.finish();
}

void SetWriter::write_deletes() {
  if (deletes_.empty()) return;
  std::vector<std::pair<std::string_view, const TupleData*>> keys;
  keys.reserve(deletes_.size());
  for (auto i : deletes_) keys.emplace_back(key_of(batch_.deletes[i].tuple), &batch_.deletes[i].tuple);
  std::ranges::sort(keys);
  ColumnSet columns(plan_.columns.size());
  for (auto i : plan_.key) columns[i] = true;
  auto& connection = session_.direct();
  auto stage = stages_.table(connection, plan_, columns, false);
  stage_keys(stage, columns, keys);
  auto result = connection.query(
      fmt::format("delete from {} t using {} s where {}", plan_.table.sql_name(), stage, plan_.key_condition()),
      purpose_);
  expect(result.affected(), deletes_.size(), "a DELETE");
}

/// After the rows are there: whoever deleted one of them before has committed by now, and is seen.
void SetWriter::check_deletions() {
  if (plan_.deletions == nullptr || !plan_.deletions->later_wins) return;
  auto& connection = session_.direct();
  auto any = connection.query(fmt::format("select exists (select from tailrace.deletions where relation = {})",
                                          plan_.deletions->relation),
                              purpose_);
  if (!any.flag(0, 0)) return;
  std::vector<std::pair<std::string_view, const TupleData*>> keys;
  for (auto i : inserts_) keys.emplace_back(key_of(batch_.rows[i].tuple), &batch_.rows[i].tuple);
  std::ranges::sort(keys);
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
  if (deleted.flag(0, 0)) throw RowMissing{plan_.oid, Lsn{}, "an INSERT"};
}

/// Without a key, rows are found by what they are, all columns; of equal ones as many go as were deleted.
void SetWriter::write_deletes_by_row() {
  if (deletes_.empty()) return;
  ColumnSet columns(plan_.columns.size(), true);
  auto& connection = session_.direct();
  auto stage = stages_.table(connection, plan_, columns, true);
  std::vector<std::vector<Value>> rows;
  for (auto i : deletes_) rows.push_back(values_of(batch_.deletes[i].tuple));
  bool binary = any_binary(rows);
  std::size_t wanted = 0;
  {
    pg::CopyIn copy(connection, fmt::format("copy {} from stdin{}", stage, binary ? " (format binary)" : ""),
                    purpose_);
    RowEncoder encoder(copy, binary);
    for (std::size_t n = 0; n < rows.size(); ++n) {
      std::uint32_t count = batch_.deletes[deletes_[n]].count;
      wanted += count;
      std::array<std::byte, 4> wire{};
      store_big_endian(wire.data(), static_cast<std::int32_t>(count));
      std::string text = std::to_string(count);
      auto row = rows[n];
      if (binary) {
        row.push_back({ValueKind::binary, {reinterpret_cast<const char*>(wire.data()), wire.size()}});
      } else {
        row.push_back({ValueKind::text, text});
      }
      encoder.row(row);
    }
    encoder.finish();
    copy.finish();
  }
  // Equality of the rows' text can be hashed, whatever their types.
  connection.query("set local enable_hashjoin = on; set local enable_seqscan = on", purpose_);
  auto result = connection.query(
      fmt::format("with doomed as (select t.tableoid as part, t.ctid as place, s.{0} as wanted, "
                  "row_number() over (partition by s.ctid) as number from {1} t join {2} s on {3} = {4}) "
                  "delete from {1} t using doomed d where t.tableoid = d.part and t.ctid = d.place "
                  "and d.number <= d.wanted",
                  quote_identifier(count_column), plan_.table.sql_name(), stage, plan_.row_text("t"),
                  plan_.row_text("s")),
      purpose_);
  connection.query("set local enable_hashjoin = off; set local enable_seqscan = off", purpose_);
  expect(result.affected(), wanted, "a DELETE");
}

void SetWriter::write_updates() {
  if (updates_.empty()) return;
  // Rows that leave the same columns alone are updated together.
  struct Group {
    std::vector<std::pair<std::string_view, std::uint32_t>> rows;
  };
  std::map<ColumnSet, Group> groups;
  for (auto i : updates_) {
    groups[sent_columns(i)].rows.emplace_back(key_of(batch_.rows[i].tuple), i);
  }
  auto& connection = session_.direct();
  for (auto& [sent, group] : groups) {
    std::ranges::sort(group.rows);
    ColumnSet assigned = sent;
    for (std::size_t c = 0; c < assigned.size(); ++c)
      assigned[c] = sent[c] && !plan_.is_key(c) && plan_.assignable(c);
    std::string assignments = plan_.assignments(assigned);
    // Nothing but the key was sent, and the key stays; the row is touched all the same, as at the source.
    if (assignments.empty()) {
      ColumnSet first(sent.size());
      first[plan_.key.front()] = plan_.assignable(plan_.key.front());
      assignments = plan_.assignments(first);
      if (assignments.empty()) continue;
    }
    auto stage = stages_.table(connection, plan_, sent, false);
    bool binary = false;
    for (const auto& [key, i] : group.rows) {
      auto values = resolved(i);
      auto known = std::ranges::find_if(values, [](const Value& value) {
        return value.kind == ValueKind::binary || value.kind == ValueKind::text;
      });
      if (known == values.end()) continue;
      binary = known->kind == ValueKind::binary;
      break;
    }
    {
      pg::CopyIn copy(connection, fmt::format("copy {} from stdin{}", stage, binary ? " (format binary)" : ""),
                      purpose_);
      RowEncoder encoder(copy, binary);
      std::vector<Value> row;
      std::vector<Value> values(plan_.columns.size());
      for (const auto& [key, i] : group.rows) {
        resolve_row(batch_, batch_.rows[i], values);
        row.clear();
        for (std::size_t c = 0; c < values.size(); ++c) {
          if (sent[c]) row.push_back(values[c]);
        }
        encoder.row(row);
      }
      encoder.finish();
      copy.finish();
    }
    auto result = connection.query(fmt::format("update {} t set {} from {} s where {}", plan_.table.sql_name(),
                                               assignments, stage, plan_.key_condition(true)),
                                   purpose_);
    expect(result.affected(), group.rows.size(), "an UPDATE");
  }
}

void SetWriter::write_inserts() {
  if (inserts_.empty()) return;
  if (inserts_.size() <= few) {
    RowWriter writer(session_, plan_, batch_.commit_time);
    for (auto i : inserts_) writer.insert(resolved(i), Lsn{});
    return;
  }
  auto& connection = session_.direct();
  bool binary = false;
  for (auto i : inserts_) {
    TupleWalker walker(batch_.rows[i].tuple);
    bool known = false;
    while (!walker.done() && !known) {
      auto kind = walker.next().kind;
      known = kind == ValueKind::binary || kind == ValueKind::text;
      binary = kind == ValueKind::binary;
    }
    if (known) break;
  }
  pg::CopyIn copy(connection,
                  fmt::format("copy {} ({}) from stdin{}", plan_.table.sql_name(), plan_.column_list(),
                              binary ? " (format binary)" : ""),
                  purpose_);
  RowEncoder encoder(copy, binary);
  std::vector<Value> row(plan_.columns.size());
  for (auto i : inserts_) {
    resolve_row(batch_, batch_.rows[i], row);
    encoder.row(row);
  }
  encoder.finish();
  copy.finish();
  check_deletions();
}

}  // namespace tailrace::target::postgres
