#include "pipeline/mending.h"

#include <algorithm>
#include <numeric>

#include "base/sql_text.h"
#include "pipeline/fold.h"
#include "verify/comparison.h"
#include "verify/sql_table.h"

namespace tailrace::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto longest_work = std::chrono::seconds(2);
constexpr std::size_t most_keys = 1000;
constexpr std::size_t most_bytes = 32 << 20;
// Enough of a row to find few others; all of it is compared here.
constexpr std::size_t most_lookup_columns = 8;

/// PostgreSQL's own types with an order have their operator in pg_catalog; so an index can find them.
bool has_plain_equality(const schema::Column& column) {
  const schema::Type* type = column.type.get();
  while (type->base) type = type->base.get();
  return type->kind == 'e' || (type->builtin && type->kind == 'b');
}

TupleData tuple_of(const verify::Row& row, Arena& arena) {
  std::string bytes;
  for (const auto& value : row) {
    bytes.push_back(static_cast<char>(value ? ValueKind::text : ValueKind::null));
    if (!value) continue;
    auto length = static_cast<std::uint32_t>(value->size());
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(length >> shift));
    bytes.append(*value);
  }
  const auto* data = arena.copy(bytes.data(), bytes.size());
  return {data, static_cast<std::uint32_t>(bytes.size()), static_cast<std::uint16_t>(row.size()), false};
}

/// `keyed`: rows are told by the table's key; else each is told by all of it, and may be there more than once.
std::shared_ptr<const Relation> relation_of(const schema::Table& table, const verify::RowShape& shape,
                                            bool keyed) {
  auto out = std::make_shared<Relation>();
  out->oid = table.oid;
  out->schema = table.schema;
  out->name = table.name;
  out->identity = keyed ? ReplicaIdentity::by_default : ReplicaIdentity::full;
  for (const auto& name : shape.columns) {
    auto column = std::ranges::find(table.columns, name, &schema::Column::name);
    out->columns.push_back({name, column->type->oid, column->typmod, keyed && column->is_key});
  }
  return out;
}

void write_once(target::Target& target, const std::shared_ptr<const Relation>& relation,
                const std::vector<Change>& changes, const Checkpoint& checkpoint) {
  // Of no transaction of the source's; it says where the target stands.
  TransactionSpan transaction;
  transaction.commit_lsn = checkpoint.lsn;
  transaction.commit_time = checkpoint.commit_time;
  target.begin();
  RowRun run{relation, {}};
  for (const auto& change : changes)
    run.entries.push_back({&change, checkpoint.lsn, {&transaction, run.entries.size()}});
  if (!target.mend(relation->oid, run)) {
    TableFold fold(relation);
    for (const auto& change : changes) fold.add(change);
    target.apply(relation->oid, std::move(fold).finish());
  }
  target.commit(checkpoint);
}

}  // namespace

void Mending::work(pg::Connection& source, const schema::Table& table, const verify::Around& around,
                   target::Target& target, const Checkpoint& checkpoint, const StopSignal& stop) {
  if (auto* quarantine = target.quarantine(); quarantine && quarantine->kept_back().contains(table.oid)) {
    throw Error(Retry::needs_operator,
                fmt::format("changes of {} wait in quarantine, so its rows are not to be mended yet",
                            table.qualified()),
                "'tailrace replay' applies them");
  }
  auto until = Clock::now() + longest_work;
  auto view = target.view();
  verify::TableReport differences;
  auto shape = common_shape(table, *view, differences);
  if (!shape || !differences.equal || *shape != shape_) {
    throw Error(
        Retry::needs_operator,
        fmt::format("the columns of {} are not the same on both sides, so it cannot be mended row by row",
                    table.qualified()),
        fmt::format("'tailrace run --recopy {}' copies it anew", table.qualified()));
  }
  as_shown_ = verify::AsShown(view->shown(table.oid));
  // Where a lookup reads the whole table, it looks for all of them.
  bool by_index = !shape_.key.empty() && view->queryable(table.oid).has_value();
  std::size_t most = by_index ? most_keys : keys_.size();
  do {
    auto count = std::min(most, keys_.size());
    chosen_ = {keys_.end() - static_cast<std::ptrdiff_t>(count), keys_.end()};
    bytes_ = 0;
    auto here = read_source(source, table, around, stop);
    auto there = read_target(*view, table, stop);
    if (bytes_ > most_bytes && count > 1) {
      most = count / 2;
      continue;
    }
    auto unique = [](const Rows& rows) {
      return std::ranges::all_of(rows, [](const auto& entry) { return entry.second.size() == 1; });
    };
    bool keyed = !shape_.key.empty() && unique(here) && unique(there);
    write(table, target, checkpoint, changes(here, there, keyed), keyed);
    keys_.resize(keys_.size() - count);
  } while (!keys_.empty() && Clock::now() < until);
  // What was mended is not forgotten by a crash. DuckDB wants no transaction open beside that.
  view.reset();
  target.tidy();
}

/// A condition that holds for every row with one of the keys, and for few others.
std::string Mending::condition(const schema::Table& table, bool typed) const {
  auto columns = shape_.key;
  if (columns.empty()) {
    columns.resize(std::min(shape_.columns.size(), most_lookup_columns));
    std::iota(columns.begin(), columns.end(), 0);
  }
  // What is looked for is spelled as the target shows it.
  if (columns.empty() || std::ranges::any_of(columns, [&](std::size_t i) { return as_shown_.changes(i); }))
    return "true";
  for (std::size_t i : columns) {
    auto column = std::ranges::find(table.columns, shape_.columns[i], &schema::Column::name);
    typed = typed && !shape_.key.empty() && has_plain_equality(*column);
  }
  std::string left;
  for (std::size_t i : columns) {
    auto name = quote_identifier(shape_.columns[i]);
    left += fmt::format("{}{}", left.empty() ? "" : ", ",
                        typed ? name : fmt::format("pg_catalog.concat({}) collate pg_catalog.\"C\"", name));
  }
  std::string right;
  for (const auto& key : chosen_) {
    verify::Row values = verify::read_canonical(key);
    std::string one;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      one += fmt::format("{}{}", one.empty() ? "" : ", ",
                         quote_literal(values[i] ? *values[i] : std::string_view()));
    }
    right += fmt::format("{}({})", right.empty() ? "" : ", ", one);
  }
  return fmt::format("({}) in ({})", left, right);
}

void Mending::keep(const verify::Row& row, Rows& rows) {
  std::string key;
  verify::append_canonical_key(row, shape_, key);
  if (!chosen_.contains(key)) return;
  std::string canonical;
  verify::append_canonical(row, canonical);
  bytes_ += canonical.size();
  // Too much: it is counted on, and begun again with fewer keys.
  if (bytes_ > most_bytes && chosen_.size() > 1) return;
  rows[key].push_back(std::move(canonical));
}

Mending::Rows Mending::read_source(pg::Connection& source, const schema::Table& table,
                                   const verify::Around& around, const StopSignal& stop) {
  Rows out;
  verify::SqlTable from(source, {table.oid, table.schema, table.name, table.partitioned}, table.row_filter,
                        around);
  read_chosen(source, from, table, stop, out);
  return out;
}

Mending::Rows Mending::read_target(target::TargetView& view, const schema::Table& table,
                                   const StopSignal& stop) {
  Rows out;
  if (auto there = view.queryable(table.oid)) {
    verify::SqlTable from(*there->connection, there->table, "");
    read_chosen(*there->connection, from, table, stop, out);
  } else {
    view.scan(table.oid, [&](const verify::Row& row) {
      if (stop.requested()) throw StopRequested();
      keep(row, out);
    });
  }
  return out;
}

/// What one side has as a key the other side's type may not be able to read; then texts are compared.
void Mending::read_chosen(pg::Connection& connection, verify::SqlTable& from, const schema::Table& table,
                          const StopSignal& stop, Rows& out) {
  // Of a target that speaks PostgreSQL, nothing is shown otherwise.
  auto visit = [&](const verify::Row& row) {
    as_shown_(row, [&](const verify::Row& shown) { keep(shown, out); });
  };
  connection.query("savepoint looking_up", "looking up rows");
  try {
    from.read(shape_.columns, condition(table, true), stop, visit);
  } catch (const Error& error) {
    if (!error.sqlstate().starts_with("22")) throw;
    connection.query("rollback to looking_up", "looking up rows");
    from.read(shape_.columns, condition(table, false), stop, visit);
  }
  connection.query("release looking_up", "looking up rows");
}

Mending::Changes Mending::changes(Rows& here, Rows& there, bool keyed) {
  Changes out;
  std::vector<Change> updates;
  std::vector<Change> inserts;
  for (const auto& key : chosen_) {
    std::vector<std::string> wanted = std::move(here[key]);
    std::vector<std::string> found = std::move(there[key]);
    std::ranges::sort(wanted);
    std::ranges::sort(found);
    std::vector<std::string> missing;
    std::vector<std::string> surplus;
    std::ranges::set_difference(wanted, found, std::back_inserter(missing));
    std::ranges::set_difference(found, wanted, std::back_inserter(surplus));
    auto tuple = [&](const std::string& row) { return tuple_of(verify::read_canonical(row), out.arena); };
    std::size_t pairs = std::min(missing.size(), surplus.size());
    for (std::size_t i = 0; i < pairs; ++i) {
      Change change{ChangeKind::update, keyed ? OldTuple::none : OldTuple::full, 0, {}, tuple(missing[i])};
      if (!keyed) change.old_tuple = tuple(surplus[i]);
      updates.push_back(change);
    }
    for (std::size_t i = pairs; i < surplus.size(); ++i) {
      out.list.push_back(
          {ChangeKind::remove, keyed ? OldTuple::key : OldTuple::full, 0, tuple(surplus[i]), {}});
      ++out.counts.deleted;
    }
    for (std::size_t i = pairs; i < missing.size(); ++i)
      inserts.push_back({ChangeKind::insert, OldTuple::none, 0, {}, tuple(missing[i])});
  }
  out.counts.updated = static_cast<std::int64_t>(updates.size());
  out.counts.inserted = static_cast<std::int64_t>(inserts.size());
  // What makes room comes first.
  out.list.insert(out.list.end(), updates.begin(), updates.end());
  out.list.insert(out.list.end(), inserts.begin(), inserts.end());
  return out;
}

void Mending::write(const schema::Table& table, target::Target& target, const Checkpoint& checkpoint,
                    const Changes& changes, bool keyed) {
  if (changes.list.empty()) return;
  auto relation = relation_of(table, shape_, keyed);
  for (bool again = false;; again = true) {
    try {
      write_once(target, relation, changes.list, checkpoint);
      break;
    } catch (const target::NeedsRowOrder& order) {
      target.rollback();
      if (again)
        throw Error(Retry::needs_operator, fmt::format("mending {}: {}", table.qualified(), order.what()));
    } catch (Error& error) {
      target.rollback();
      error.with_context("mending " + table.qualified());
      throw;
    } catch (...) {
      target.rollback();
      throw;
    }
  }
  mended_.inserted += changes.counts.inserted;
  mended_.updated += changes.counts.updated;
  mended_.deleted += changes.counts.deleted;
}

}  // namespace tailrace::pipeline
