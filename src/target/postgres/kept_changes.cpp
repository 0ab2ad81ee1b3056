#include "target/postgres/kept_changes.h"

#include <algorithm>

#include "base/sql_text.h"
#include "pg/codec/bytes_codec.h"
#include "target/postgres/books_rights.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* keeping_changes = "keeping changes in quarantine";
constexpr int page = 100;

constexpr const char* create = R"(
create table if not exists tailrace.skips (
  subscription text, lsn pg_lsn, state text not null,
  noted_at timestamptz not null default pg_catalog.now(),
  closed_at timestamptz, left_out text not null default '', primary key (subscription, lsn));
create table if not exists tailrace.held (
  subscription text, oid oid, table_name text not null,
  held_since timestamptz not null default pg_catalog.now(), error text not null,
  primary key (subscription, oid));
create table if not exists tailrace.quarantine (
  subscription text, number bigint, oid oid not null, table_name text not null, operation text not null,
  commit_lsn pg_lsn not null, position bigint not null, xid bigint not null, commit_time timestamptz not null,
  sqlstate text, error text, old_row json, new_row json, columns json, replica_identity "char",
  old_kind text, old_tuple bytea, new_tuple bytea, cascade boolean, restart_identity boolean,
  recorded_at timestamptz not null default pg_catalog.now(), primary key (subscription, number)))";

/// JSON of ASCII alone: the target's encoding need not have the source's characters.
std::string ascii_json(const std::string& text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      if (byte < 0x20 || byte == 0x7f || byte == '"' || byte == '\\') {
        out += fmt::format("\\u{:04x}", byte);
      } else {
        out.push_back(text[i]);
      }
      ++i;
      continue;
    }
    std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    std::uint32_t point = byte & (0x7fU >> length);
    for (std::size_t k = 1; k < length && i + k < text.size(); ++k)
      point = point << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3f);
    i += length;
    if (point < 0x10000) {
      out += fmt::format("\\u{:04x}", point);
    } else {
      point -= 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (point >> 10), 0xdc00 + (point & 0x3ff));
    }
  }
  return out + "\"";
}

/// For eyes: a value that did not change and was not sent is left out. Of a key alone only the key counts.
std::string row_json(const Relation& relation, const TupleData& tuple, bool key_only) {
  std::string out = "{";
  TupleWalker walker(tuple);
  for (const auto& column : relation.columns) {
    Value value = walker.next();
    if (value.kind == ValueKind::unchanged || (key_only && !column.is_key)) continue;
    out += fmt::format("{}{}: {}", out.size() > 1 ? ", " : "", ascii_json(column.name),
                       value.kind == ValueKind::null ? "null" : ascii_json(value_text(column, value)));
  }
  return out + "}";
}

const char* name_of(OldTuple kind) {
  switch (kind) {
    case OldTuple::none: return "none";
    case OldTuple::key: return "key";
    case OldTuple::full: return "full";
  }
  return "";
}

OldTuple old_tuple_named(const std::string& name) {
  for (auto kind : {OldTuple::none, OldTuple::key, OldTuple::full})
    if (name == name_of(kind)) return kind;
  throw Error(Retry::fatal, fmt::format("tailrace.quarantine holds an old row of unknown kind '{}'", name));
}

/// The tuple that these bytes are, checked: they lay where anybody could write.
TupleData tuple_of(const std::string& bytes, std::size_t columns) {
  TupleData out{reinterpret_cast<const std::byte*>(bytes.data()), static_cast<std::uint32_t>(bytes.size()),
                static_cast<std::uint16_t>(columns), false};
  ByteReader in(out.data, out.size);
  for (std::size_t i = 0; i < columns; ++i) {
    auto kind = static_cast<ValueKind>(in.u8());
    out.has_unchanged |= kind == ValueKind::unchanged;
    if (kind == ValueKind::null || kind == ValueKind::unchanged) continue;
    in.bytes(in.u32());
  }
  return out;
}

ChangeKind kind_of(const std::string& operation) {
  if (operation == "insert") return ChangeKind::insert;
  if (operation == "update") return ChangeKind::update;
  if (operation == "delete") return ChangeKind::remove;
  if (operation == "truncate") return ChangeKind::truncate;
  throw Error(Retry::fatal, fmt::format("tailrace.quarantine holds an unknown operation '{}'", operation));
}

}  // namespace

KeptChanges::KeptChanges(pg::Connection& books, ApplySession& session, const std::string& subscription)
    : books_(books), session_(session), literal_(quote_literal(subscription)) {
  insert_sql_ = fmt::format(
      "insert into tailrace.quarantine (subscription, number, oid, table_name, operation, commit_lsn, "
      "position, xid, commit_time, sqlstate, error, old_row, new_row, columns, replica_identity, old_kind, "
      "old_tuple, new_tuple, cascade, restart_identity) values ({}, $1::bigint, $2::pg_catalog.oid, "
      "$3::pg_catalog.text, $4::pg_catalog.text, $5::pg_catalog.pg_lsn, $6::bigint, $7::bigint, "
      "$8::pg_catalog.timestamptz, $9::pg_catalog.text, $10::pg_catalog.text, $11::pg_catalog.json, "
      "$12::pg_catalog.json, $13::pg_catalog.json, $14::pg_catalog.\"char\", $15::pg_catalog.text, "
      "$16::pg_catalog.bytea, $17::pg_catalog.bytea, $18::boolean, $19::boolean)",
      literal_);
  auto there =
      books_.query("select pg_catalog.to_regclass('tailrace.quarantine') is not null", keeping_changes);
  if (!there.flag(0, 0)) add_books(books_, create, keeping_changes);
  load();
}

void KeptChanges::load() {
  all_.clear();
  rows_.clear();
  auto kept = books_.query(
      fmt::format("select oid, pg_catalog.count(*), pg_catalog.max(number), (pg_catalog.array_agg(error order "
                  "by number desc) filter (where error is not null))[1] from tailrace.quarantine where "
                  "subscription = {} group by oid",
                  literal_),
      keeping_changes);
  for (int i = 0; i < kept.rows(); ++i) {
    all_[kept.oid(i, 0)] = {kept.i64(i, 1), false, kept.str(i, 3)};
    number_ = std::max(number_, kept.i64(i, 2));
  }
  auto held = books_.query(
      fmt::format("select oid, error from tailrace.held where subscription = {}", literal_), keeping_changes);
  for (int i = 0; i < held.rows(); ++i) {
    auto& one = all_[held.oid(i, 0)];
    one.held = true;
    one.error = held.str(i, 1);
  }
}

bool KeptChanges::held(Oid table) const {
  auto found = all_.find(table);
  return found != all_.end() && found->second.held;
}

bool KeptChanges::any_of(Oid table) const {
  auto found = all_.find(table);
  return found != all_.end() && found->second.changes > 0;
}

/// What names the rows that a change is about, before and after: the values of the replica identity, as text
/// where that is known, since the next run's stream may be in another format. Of a table without one, nothing.
KeptChanges::RowNames KeptChanges::names_of(const Relation& relation, const Change& change) {
  RowNames out;
  std::string key;
  std::string before;
  std::string after;
  bool has_before = change.old_tuple.present();
  TupleWalker old_walker(has_before ? change.old_tuple : change.new_tuple);
  TupleWalker new_walker(change.new_tuple.present() ? change.new_tuple : change.old_tuple);
  for (const auto& column : relation.columns) {
    Value then = old_walker.next();
    Value now = new_walker.next();
    if (!column.is_key) continue;
    // The same value may look different in another type.
    key += fmt::format("{}:{} {} {},", column.name.size(), column.name, column.type_oid, column.typmod);
    if (now.kind == ValueKind::unchanged) now = then;
    auto add = [&](std::string& name, const Value& value) {
      if (value.kind == ValueKind::null) {
        name += "null,";
        return;
      }
      auto text = value_text(column, value);
      name += fmt::format("{}:{},", text.size(), text);
      if (!has_value_text(column)) (value.kind == ValueKind::text ? out.as_text : out.as_bytes) = true;
    };
    add(before, then);
    add(after, now);
  }
  out.keys.insert(key);
  if (!key.empty()) out.rows = {before, after};
  return out;
}

void KeptChanges::RowNames::add(RowNames other) {
  keys.merge(other.keys);
  rows.merge(other.rows);
  as_text |= other.as_text;
  as_bytes |= other.as_bytes;
}

bool KeptChanges::RowNames::comparable(const RowNames& other) const {
  return keys == other.keys && keys.size() == 1 &&
         !((as_text || other.as_text) && (as_bytes || other.as_bytes));
}

KeptChanges::SameRow KeptChanges::has_row_of(const TableRecord& table, const Relation& relation,
                                             const Change& change) {
  if (!any_of(table.oid)) return SameRow::no;
  // Once there are some, insert() adds the others.
  if (rows_.try_emplace(table.oid).second) {
    read(table, [&](const Kept& kept) {
      if (kept.relation) rows_.at(table.oid).add(names_of(*kept.relation, kept.change));
    });
  }
  const auto& kept = rows_.at(table.oid);
  auto asked = names_of(relation, change);
  if (!kept.comparable(asked)) return SameRow::cannot_tell;
  bool same = std::ranges::any_of(asked.rows, [&](const auto& name) { return kept.rows.contains(name); });
  return same ? SameRow::yes : SameRow::no;
}

const KeptChanges::Shape& KeptChanges::shape_of(const std::shared_ptr<const Relation>& relation) {
  Shape& shape = shapes_[relation->oid];
  if (shape.relation == relation) return shape;
  shape = {relation, "["};
  for (const auto& column : relation->columns) {
    // Types of a user's own have other numbers here; their names are the source's to say.
    constexpr Oid first_of_users = 16384;
    std::string type;
    if (column.type_oid < first_of_users) {
      auto row =
          books_.query(fmt::format("select pg_catalog.format_type({}, {})", column.type_oid, column.typmod),
                       keeping_changes);
      type = row.str(0, 0);
    }
    shape.json +=
        fmt::format("{}{{\"name\": {}, \"type\": {}, \"type_oid\": {}, \"typmod\": {}, \"key\": {}}}",
                    shape.json.size() > 1 ? ", " : "", ascii_json(column.name),
                    type.empty() ? "null" : ascii_json(type), column.type_oid, column.typmod, column.is_key);
  }
  shape.json += "]";
  return shape;
}

void KeptChanges::insert(const TableRecord& table, const char* operation, const ChangePlace& place,
                         const Shape* shape, const Change* change, const Truncate* how,
                         const Refusal* refusal) {
  using Text = std::optional<std::string>;
  auto row = [&](const TupleData& tuple, bool key_only) {
    return tuple.present() ? Text(row_json(*shape->relation, tuple, key_only)) : Text();
  };
  const auto& transaction = *place.transaction;
  std::vector<Text> texts = {
      std::to_string(++number_),
      std::to_string(table.oid),
      table.qualified(),
      operation,
      transaction.commit_lsn.str(),
      std::to_string(place.position),
      std::to_string(transaction.xid),
      transaction.commit_time.str(),
      refusal != nullptr ? Text(refusal->sqlstate) : Text(),
      refusal != nullptr ? Text(refusal->words) : Text(),
      change ? row(change->old_tuple, change->old_kind == OldTuple::key) : Text(),
      change ? row(change->new_tuple, false) : Text(),
      shape != nullptr ? Text(shape->json) : Text(),
      shape != nullptr ? Text(std::string(1, static_cast<char>(shape->relation->identity))) : Text(),
      change != nullptr ? Text(name_of(change->old_kind)) : Text()};
  std::vector<pg::Parameter> parameters;
  for (const auto& text : texts) parameters.push_back({text ? text->c_str() : nullptr, 0, false});
  for (const TupleData* tuple :
       {change ? &change->old_tuple : nullptr, change ? &change->new_tuple : nullptr}) {
    bool there = tuple != nullptr && tuple->present();
    parameters.push_back({there ? reinterpret_cast<const char*>(tuple->data) : nullptr,
                          there ? static_cast<int>(tuple->size) : 0, true});
  }
  auto flag = [&](bool value) { return how == nullptr ? nullptr : value ? "t" : "f"; };
  parameters.push_back({flag(how != nullptr && how->cascade), 0, false});
  parameters.push_back({flag(how != nullptr && how->restart_identity), 0, false});
  // Of no table: if this fails, the change that it is about is not to blame.
  session_.change(0, keeping_changes, transaction.commit_lsn, insert_sql_, parameters);
  auto& kept = all_[table.oid];
  if (++kept.changes == 1) rows_[table.oid] = {};
  if (change != nullptr && rows_.contains(table.oid))
    rows_.at(table.oid).add(names_of(*shape->relation, *change));
  if (refusal != nullptr) kept.error = refusal->words;
  changed_ = true;
}

void KeptChanges::record(const TableRecord& table, const RowRun& run, std::size_t from, std::size_t to,
                         const Refusal* refusal) {
  const Shape& shape = shape_of(run.relation);
  for (std::size_t i = from; i < to; ++i) {
    const auto& entry = run.entries[i];
    const char* operation = entry.change->kind == ChangeKind::insert   ? "insert"
                            : entry.change->kind == ChangeKind::update ? "update"
                                                                       : "delete";
    insert(table, operation, entry.place, &shape, entry.change, nullptr, i == from ? refusal : nullptr);
  }
  session_.settle();
}

void KeptChanges::record_truncate(const TableRecord& table, const Truncate& how, const ChangePlace& place,
                                  const Refusal* refusal) {
  insert(table, "truncate", place, nullptr, nullptr, &how, refusal);
  session_.settle();
}

void KeptChanges::hold(const TableRecord& table, const std::string& error) {
  session_.direct().query(
      fmt::format("insert into tailrace.held (subscription, oid, table_name, error) values ({}, {}, {}, {})",
                  literal_, table.oid, quote_literal(table.qualified()), quote_literal(error)),
      keeping_changes);
  auto& kept = all_[table.oid];
  kept.held = true;
  kept.error = error;
  rows_.erase(table.oid);  // there may be any number of changes from now on, and all of them wait
  changed_ = true;
}

void KeptChanges::release(Oid table, std::int64_t number) {
  session_.direct().query(
      fmt::format("delete from tailrace.quarantine where subscription = {0} and oid = {1} and number <= {2}; "
                  "delete from tailrace.held where subscription = {0} and oid = {1}",
                  literal_, table, number),
      keeping_changes);
  all_.erase(table);
  rows_.erase(table);
  changed_ = true;
}

void KeptChanges::forget_uncommitted() {
  if (std::exchange(changed_, false)) load();
}

std::int64_t KeptChanges::remove(Oid table) {
  auto gone = books_.query(fmt::format("delete from tailrace.held where subscription = {0} and oid = {1};"
                                       "delete from tailrace.quarantine where subscription = {0} and oid = {1}",
                                       literal_, table),
                           keeping_changes);
  all_.erase(table);
  rows_.erase(table);
  return gone.affected();
}

void KeptChanges::remove_all(pg::Connection& connection, const std::string& subscription) {
  auto there =
      connection.query("select pg_catalog.to_regclass('tailrace.quarantine') is not null", keeping_changes);
  if (!there.flag(0, 0)) return;
  connection.query(fmt::format("delete from tailrace.quarantine where subscription = {0};"
                               "delete from tailrace.held where subscription = {0};"
                               "delete from tailrace.skips where subscription = {0}",
                               quote_literal(subscription)),
                   keeping_changes);
}

std::shared_ptr<const Relation> KeptChanges::relation_of(const TableRecord& table, const std::string& identity,
                                                         const std::string& json) {
  auto out = std::make_shared<Relation>();
  out->oid = table.oid;
  out->schema = table.schema;
  out->name = table.name;
  out->identity = static_cast<ReplicaIdentity>(identity.at(0));
  auto columns = books_.query(
      fmt::format(
          "select c ->> 'name', (c ->> 'type_oid')::bigint, (c ->> 'typmod')::int, (c ->> 'key')::boolean from "
          "pg_catalog.json_array_elements({}::pg_catalog.json) with ordinality j (c, position) order by "
          "position",
          quote_literal(json)),
      keeping_changes);
  for (int i = 0; i < columns.rows(); ++i) {
    out->columns.push_back({columns.str(i, 0), columns.oid(i, 1), static_cast<std::int32_t>(columns.i64(i, 2)),
                            columns.flag(i, 3)});
  }
  return out;
}

void KeptChanges::read(const TableRecord& table, const std::function<void(const Kept&)>& visit) {
  std::map<std::string, std::shared_ptr<const Relation>> relations;
  std::int64_t last = 0;
  for (;;) {
    auto rows = books_.query(
        fmt::format("select number, commit_lsn, operation, replica_identity, columns, old_kind, old_tuple, "
                    "new_tuple, restart_identity from tailrace.quarantine "
                    "where subscription = {} and oid = {} and number > {} order by number limit {}",
                    literal_, table.oid, last, page),
        keeping_changes);
    if (rows.rows() == 0) return;
    for (int i = 0; i < rows.rows(); ++i) {
      Kept kept;
      kept.number = last = rows.i64(i, 0);
      kept.commit_lsn = rows.lsn(i, 1);
      kept.change.kind = kind_of(rows.str(i, 2));
      kept.restart_identity = rows.flag(i, 8);
      std::string old_bytes;
      std::string new_bytes;
      if (kept.change.kind != ChangeKind::truncate) {
        auto& relation = relations[rows.str(i, 3) + rows.str(i, 4)];
        if (!relation) relation = relation_of(table, rows.str(i, 3), rows.str(i, 4));
        kept.relation = relation;
        kept.change.old_kind = old_tuple_named(rows.str(i, 5));
        auto tuple = [&](int column, std::string& bytes) {
          if (rows.is_null(i, column)) return TupleData{};
          TAILRACE_CHECK(pg::codec::parse_bytea(rows.get(i, column), bytes));
          return tuple_of(bytes, relation->columns.size());
        };
        kept.change.old_tuple = tuple(6, old_bytes);
        kept.change.new_tuple = tuple(7, new_bytes);
      }
      visit(kept);
    }
  }
}

}  // namespace tailrace::target::postgres
