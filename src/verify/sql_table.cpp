#include "verify/sql_table.h"

#include <algorithm>
#include <charconv>

#include "base/sql_text.h"
#include "pg/copy_stream.h"
#include "pg/copy_text.h"

namespace tailrace::verify {
namespace {

// A function takes 100 arguments at most, and a row may have 1,600 columns: what is more is spelled as a
// record, which costs twice as much.
constexpr std::size_t most_plain = 30;
constexpr std::size_t most_own_parts = 12;
constexpr std::int64_t rows_a_bucket = 2000;
constexpr std::size_t fewest_buckets = 1 << 12;
constexpr std::size_t most_buckets = 1 << 16;
constexpr std::int64_t piece_bytes = 128 << 20;
constexpr int tid_ranges_since = 140000;

// No value of these types has the separator in its text.
constexpr Oid plain_types[] = {16, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950};
constexpr const char* separator = "E'\\x1f'";
constexpr const char* bytewise = "collate pg_catalog.\"C\"";

bool is_plain(const schema::Column& column) {
  const schema::Type* type = column.type.get();
  while (type->base) type = type->base.get();
  return std::ranges::find(plain_types, type->oid) != std::end(plain_types);
}

std::string joined(const std::vector<std::string>& items, const std::string& between) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : between) + item;
  return out;
}

std::string hash_of(const std::vector<std::string>& parts, int seed) {
  std::string out = std::to_string(seed);
  for (const auto& part : parts) out = fmt::format("pg_catalog.hashtextextended({}, {})", part, out);
  return out;
}

/// numeric text to its value modulo 2^64.
std::uint64_t wrapped(std::string_view text) {
  bool negative = text.starts_with('-');
  std::uint64_t out = 0;
  for (char digit : text.substr(negative ? 1 : 0)) out = out * 10 + static_cast<std::uint64_t>(digit - '0');
  return negative ? ~out + 1 : out;
}

}  // namespace

/// A row's first part is its plain columns and which of the others are NULL; each of the others is a part of
/// its own, so that no value can pass for a piece of its neighbour. concat() spells values as COPY does and,
/// unlike a cast, keeps the blanks of char(n).
ChecksumPlan::ChecksumPlan(const schema::Table& table, const RowShape& shape) {
  std::vector<std::string> plain;
  std::vector<std::string> own;
  std::vector<std::string> rest;
  for (const auto& name : shape.columns) {
    auto column = std::ranges::find(table.columns, name, &schema::Column::name);
    auto quoted = quote_identifier(name);
    bool plainly = column != table.columns.end() && is_plain(*column);
    if (plainly && plain.size() < most_plain) {
      plain.push_back(quoted);
    } else if (own.size() < most_own_parts) {
      own.push_back(quoted);
    } else {
      rest.push_back(quoted);
    }
  }
  std::vector<std::string> first = plain;
  if (!plain.empty()) first.push_back(fmt::format("pg_catalog.num_nulls({})", joined(plain, ", ")));
  first.emplace_back("''");
  std::string nulls;
  for (const auto& column : own) nulls += fmt::format(", {} is null", column);
  auto text = [](const std::string& of) { return fmt::format("pg_catalog.concat({}) {}", of, bytewise); };
  std::vector<std::string> spelled{text(joined(first, fmt::format(", {}, ", separator)) + nulls)};
  for (const auto& column : own) spelled.push_back(text(column));
  if (!rest.empty())
    spelled.push_back(fmt::format("(row({})::pg_catalog.text) {}", joined(rest, ", "), bytewise));

  std::vector<std::string> names;
  for (std::size_t i = 0; i < spelled.size(); ++i) {
    names.push_back(fmt::format("x{}", i));
    parts += fmt::format("{}{} as {}", i == 0 ? "" : ", ", spelled[i], names[i]);
  }
  first_hash = hash_of(names, 1);
  second_hash = hash_of(names, 2);

  auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(table.estimated_rows, 0) / rows_a_bucket);
  for (buckets = fewest_buckets; buckets < wanted && buckets < most_buckets;) buckets *= 2;
  auto folded = [&](const std::string& hash) { return fmt::format("({} & {})", hash, buckets - 1); };
  if (shape.key.empty()) {
    bucket = folded(first_hash);
    row_bucket = folded(hash_of(spelled, 1));
  } else {
    std::vector<std::string> key;
    for (std::size_t position : shape.key) key.push_back(quote_identifier(shape.columns[position]));
    auto key_text = text(joined(key, fmt::format(", {}, ", separator)));
    parts += fmt::format(", {} as k", key_text);
    bucket = folded(hash_of({"k"}, 0));
    row_bucket = folded(hash_of({key_text}, 0));
  }
}

std::string in_buckets(const ChecksumPlan& plan, const std::vector<bool>& buckets) {
  std::string list;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i]) list += fmt::format("{}{}", list.empty() ? "" : ",", i);
  }
  return fmt::format("{} = any('{{{}}}'::pg_catalog.int8[])", plan.row_bucket, list);
}

SqlTable::SqlTable(pg::Connection& connection, schema::SeenTable table, std::string filter, Around around)
    : connection_(connection),
      table_(std::move(table)),
      name_(quote_qualified(table_.schema, table_.name)),
      from_((table_.partitioned ? "" : "only ") + name_),
      filter_(std::move(filter)),
      purpose_("comparing " + name_),
      around_(std::move(around)) {}

void SqlTable::guarded(const std::function<void()>& query) const {
  if (around_) return around_(query);
  query();
}

std::string SqlTable::dialect() {
  auto row = connection_.query(
      fmt::format("select pg_catalog.current_setting('server_encoding'), "
                  "pg_catalog.hashtextextended(pg_catalog.concat(1, true, 0.1::pg_catalog.float8, "
                  "'2020-01-02 03:04:05.6+00'::pg_catalog.timestamptz, '1 day'::pg_catalog.interval) {}, 1)",
                  bytewise),
      purpose_);
  return row.str(0, 0) + " " + row.str(0, 1);
}

std::string SqlTable::where(const std::string& condition, const std::string& more) const {
  std::string out;
  for (const auto& each : {filter_, condition, more}) {
    if (!each.empty()) out += fmt::format("{}({})", out.empty() ? " where " : " and ", each);
  }
  return out;
}

/// Conditions that cut the table into pieces of some seconds each, so that it is seen to go on and can be
/// stopped. Older servers would read the whole table for each of them.
std::vector<std::string> SqlTable::pieces() {
  if (connection_.server_version() < tid_ranges_since) return {""};
  auto size = connection_.query(
      fmt::format("select relkind = 'r', pg_catalog.pg_relation_size(oid), "
                  "pg_catalog.current_setting('block_size') from pg_catalog.pg_class where oid = "
                  "{}::pg_catalog.regclass",
                  quote_literal(name_)),
      purpose_);
  if (size.rows() == 0 || !size.flag(0, 0)) return {""};
  std::int64_t blocks = size.i64(0, 1) / size.i64(0, 2);
  std::int64_t step = piece_bytes / size.i64(0, 2);
  std::vector<std::string> out;
  for (std::int64_t from = 0; from == 0 || from < blocks; from += step) {
    std::string condition = fmt::format("ctid >= '({},0)'", from);
    if (from + step < blocks) condition += fmt::format(" and ctid < '({},0)'", from + step);
    out.push_back(std::move(condition));
  }
  return out;
}

void SqlTable::sum(const ChecksumPlan& plan, TableDigest& digest, const StopSignal& stop,
                   const std::function<void(std::int64_t)>& counted) {
  connection_.leave_on(stop);
  schema::read_as_seen(connection_, table_, [&] { sum_pieces(plan, digest, stop, counted); });
}

void SqlTable::sum_pieces(const ChecksumPlan& plan, TableDigest& digest, const StopSignal& stop,
                          const std::function<void(std::int64_t)>& counted) {
  // Compiling costs more than it gains here, and sorting all rows by their bucket much more.
  connection_.query("set local jit = off; set local enable_sort = off", purpose_);
  for (const auto& piece : pieces()) {
    if (stop.requested()) throw StopRequested();
    // OFFSET 0 keeps the server from working each part out twice.
    auto sql = fmt::format(
        "select {}, pg_catalog.count(*), pg_catalog.sum({}), pg_catalog.sum({}) "
        "from (select {} from {}{} offset 0) s group by 1",
        plan.bucket, plan.first_hash, plan.second_hash, plan.parts, from_, where(piece));
    std::int64_t rows = 0;
    guarded([&] {
      auto sums = connection_.query(sql, purpose_);
      for (int i = 0; i < sums.rows(); ++i) {
        rows += sums.i64(i, 1);
        digest.add_sums(static_cast<std::size_t>(sums.i64(i, 0)), static_cast<std::uint64_t>(sums.i64(i, 1)),
                        wrapped(sums.get(i, 2)), wrapped(sums.get(i, 3)));
      }
    });
    counted(rows);
  }
}

void SqlTable::read(const std::vector<std::string>& columns, const std::string& condition,
                    const StopSignal& stop, const RowVisitor& visit) {
  std::vector<std::string> list;
  for (const auto& column : columns) list.push_back(quote_identifier(column));
  connection_.leave_on(stop);
  auto sql = fmt::format("copy (select {} from {}{}) to stdout", joined(list, ", "), from_, where(condition));
  schema::read_as_seen(connection_, table_, [&] {
    guarded([&] { connection_.query(sql, purpose_); });
    pg::CopyStream stream(connection_, purpose_);
    Row row(columns.size());
    std::vector<std::string> scratch(columns.size());
    std::string_view line;
    std::size_t count = 0;
    while (stream.next_blocking(line)) {
      line.remove_suffix(1);
      pg::split_copy_row(line, row, scratch);
      visit(row);
      if (++count % 4096 == 0 && stop.requested()) throw StopRequested();
    }
  });
}

}  // namespace tailrace::verify
