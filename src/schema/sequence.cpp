#include "schema/sequence.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/sql_text.h"

namespace tailrace::schema {
namespace {

constexpr const char* purpose = "looking after sequences";
// Each is read by a part of one statement.
constexpr std::size_t read_at_once = 200;

constexpr const char* columns =
    "c.oid, n.nspname, c.relname, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle, "
    "pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_sequence_privilege(c.oid, 'select'), "
    "pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_sequence_privilege(c.oid, 'update') "
    "from pg_catalog.pg_sequence s join pg_catalog.pg_class c on c.oid = s.seqrelid "
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace ";

/// A transaction whose statements wait for locks a while and no longer. In good order it ends by commit(),
/// which may leave by StopRequested as a destructor may not.
class Impatient {
 public:
  Impatient(pg::Connection& connection, std::chrono::milliseconds patience) : connection_(connection) {
    connection_.query(fmt::format("begin; set local lock_timeout = {}", patience.count()), purpose);
  }
  ~Impatient() {
    if (!open_) return;
    try {
      connection_.query("rollback", purpose);
    } catch (const std::exception& error) {
      // The connection is gone, and with it the transaction, or a stop is requested; what is under way says
      // why.
      log::debug("schema", "{}", error.what());
    }
  }
  Impatient(const Impatient&) = delete;
  Impatient& operator=(const Impatient&) = delete;
  void commit() {
    open_ = false;
    connection_.query("commit", purpose);
  }

 private:
  pg::Connection& connection_;
  bool open_ = true;
};

std::vector<Sequence> sequences_from(const pg::Result& rows) {
  std::vector<Sequence> out;
  for (int i = 0; i < rows.rows(); ++i) {
    out.push_back({rows.oid(i, 0),
                   rows.str(i, 1),
                   rows.str(i, 2),
                   rows.i64(i, 3),
                   rows.i64(i, 4),
                   rows.i64(i, 5),
                   rows.flag(i, 6),
                   rows.flag(i, 7),
                   rows.flag(i, 8),
                   {}});
  }
  return out;
}

void read_values(pg::Connection& connection, std::vector<Sequence>& sequences) {
  for (std::size_t from = 0; from < sequences.size(); from += read_at_once) {
    std::string sql;
    for (std::size_t i = from; i < std::min(sequences.size(), from + read_at_once); ++i) {
      if (!sequences[i].readable) continue;
      sql += fmt::format("{}select {} as i, last_value, is_called from {}", sql.empty() ? "" : " union all ", i,
                         quote_qualified(sequences[i].schema, sequences[i].name));
    }
    if (sql.empty()) continue;
    auto rows = connection.query(sql, purpose);
    for (int i = 0; i < rows.rows(); ++i)
      sequences[static_cast<std::size_t>(rows.i64(i, 0))].value = {rows.i64(i, 1), rows.flag(i, 2)};
  }
}

std::string array_of(const std::vector<std::string>& elements) {
  std::string out;
  for (const auto& element : elements) out += (out.empty() ? "" : ", ") + quote_literal(element);
  return "array[" + out + "]::pg_catalog.text[]";
}

/// In the direction of the increment: true when `a` is short of `b`.
bool is_behind(std::int64_t increment, SequenceValue a, SequenceValue b) {
  if (a.last != b.last) return (a.last < b.last) == (increment > 0);
  return !a.called && b.called;
}

}  // namespace

std::vector<Sequence> read_sequences_of(pg::Connection& source, const std::vector<Oid>& tables,
                                        std::chrono::milliseconds patience) {
  std::string oids = "{";
  for (Oid table : tables) oids += fmt::format("{}{}", oids.size() > 1 ? "," : "", table);
  Impatient transaction(source, patience);
  // 1247.. are catalogs in pg_depend: 1259 pg_class, 2604 pg_attrdef. A standby has no unlogged sequences.
  auto rows = source.query(
      fmt::format(
          "with recursive chosen(oid) as (select pg_catalog.unnest($1::pg_catalog.oid[]) union "
          "select i.inhrelid from pg_catalog.pg_inherits i join chosen on chosen.oid = i.inhparent "
          "join pg_catalog.pg_class k on k.oid = i.inhrelid and k.relispartition) "
          "select {}"
          "left join pg_catalog.pg_depend d on d.classid = 1259 and d.objid = c.oid and d.refclassid = 1259 "
          "and d.deptype in ('a', 'i') "
          "where c.relpersistence <> 't' and (c.relpersistence = 'p' or not pg_catalog.pg_is_in_recovery()) "
          "and not exists (select from pg_catalog.pg_depend e where e.classid = 1259 and e.objid = c.oid "
          "and e.deptype = 'e') "
          "and (d.refobjid in (select oid from chosen) or d.refobjid is null and (c.relnamespace in "
          "(select relnamespace from pg_catalog.pg_class where oid in (select oid from chosen)) "
          "or exists (select from pg_catalog.pg_depend u join pg_catalog.pg_attrdef a on u.classid = 2604 and "
          "u.objid = a.oid where u.refclassid = 1259 and u.refobjid = c.oid and a.adrelid in "
          "(select oid from chosen)))) "
          "order by n.nspname, c.relname",
          columns),
      {oids + "}"}, purpose);
  auto out = sequences_from(rows);
  read_values(source, out);
  transaction.commit();
  return out;
}

std::vector<Sequence> read_sequences_named(pg::Connection& target,
                                           const std::vector<std::pair<std::string, std::string>>& names,
                                           std::chrono::milliseconds patience) {
  if (names.empty()) return {};
  std::vector<std::string> schemas;
  std::vector<std::string> of_schema;
  for (const auto& [schema, name] : names) {
    schemas.push_back(schema);
    of_schema.push_back(name);
  }
  Impatient transaction(target, patience);
  auto rows = target.query(fmt::format("select {} join unnest({}, "
                                       "{}) with ordinality w(schema, name, at) "
                                       "on w.schema = n.nspname and w.name = c.relname order by w.at",
                                       columns, array_of(schemas), array_of(of_schema)),
                           purpose);
  auto out = sequences_from(rows);
  read_values(target, out);
  transaction.commit();
  return out;
}

std::optional<SequenceValue> value_ahead(const Sequence& source, const Sequence& target, std::int64_t margin) {
  SequenceValue wanted = source.value;
  if (margin != 0) {
    // Wider than any sequence, so that a margin beyond the end is seen.
    __extension__ typedef __int128 Wide;
    Wide last = static_cast<Wide>(source.value.last) + static_cast<Wide>(margin) * source.increment;
    wanted = {static_cast<std::int64_t>(std::clamp<Wide>(last, INT64_MIN, INT64_MAX)), true};
  }
  wanted.last = std::clamp(wanted.last, target.least, target.most);
  if (!is_behind(source.increment, target.value, wanted)) return std::nullopt;
  return wanted;
}

void set_sequence(pg::Connection& connection, const Sequence& target, SequenceValue value, bool unless_beyond,
                  std::chrono::milliseconds patience) {
  Impatient transaction(connection, patience);
  connection.query(set_sequence_sql(target, value, unless_beyond), purpose);
  transaction.commit();
}

std::string set_sequence_sql(const Sequence& target, SequenceValue value, bool unless_beyond) {
  std::string name = quote_qualified(target.schema, target.name);
  std::string sql =
      fmt::format("select pg_catalog.setval({}, {}, {})", quote_literal(name), value.last, value.called);
  if (!unless_beyond) return sql;
  return fmt::format("{} from {} where last_value {} {}{}", sql, name, target.increment > 0 ? "<" : ">",
                     value.last,
                     value.called ? fmt::format(" or last_value = {} and not is_called", value.last) : "");
}

}  // namespace tailrace::schema
