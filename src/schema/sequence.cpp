#include "schema/sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/log.h"
#include "base/sql_text.h"
#include "schema/role_rights.h"

namespace tailrace::schema {
namespace {

constexpr const char* purpose = "looking after sequences";
// Each is read by a part of one statement.
constexpr std::size_t read_at_once = 200;

constexpr const char* columns =
    "c.oid, n.nspname, c.relname, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle, "
    "pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_sequence_privilege(c.oid, 'select'), "
    "pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_sequence_privilege(c.oid, 'update'), "
    "s.seqstart from pg_catalog.pg_sequence s join pg_catalog.pg_class c on c.oid = s.seqrelid "
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace ";

/// Whoever owns a sequence, or its schema, can put a view in its place, which would run what he wrote with a
/// superuser's rights: so a superuser asks for what the server tells of an identity. That says nothing of one
/// which nobody used yet. Only its name does, which is held meanwhile.
struct Caution {
  bool needed = false;
  bool can_hold = false;  ///< a name: at a standby nobody can
};

Caution caution_at(pg::Connection& connection) {
  if (!may_be_superuser(connection)) return {};
  auto row = connection.query(
      "select pg_catalog.has_table_privilege('pg_catalog.pg_namespace', 'update') and not "
      "pg_catalog.pg_is_in_recovery()",
      purpose);
  return {true, row.flag(0, 0)};
}

/// A transaction whose statements wait for locks a while and no longer. In good order it ends by commit(),
/// which may leave by StopRequested as a destructor may not.
class Impatient {
 public:
  Impatient(pg::Connection& connection, bool locks, std::chrono::milliseconds patience)
      : connection_(connection) {
    connection_.query(
        fmt::format("begin{}; set local lock_timeout = {}", locks ? " read write" : "", patience.count()),
        purpose);
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
                   {rows.i64(i, 9), false}});
  }
  return out;
}

std::string oids_of(const std::vector<Sequence*>& sequences) {
  std::string out = "{";
  for (const auto* sequence : sequences) out += fmt::format("{}{}", out.size() > 1 ? "," : "", sequence->oid);
  return out + "}";
}

/// Leaves in `sequences` those that nobody used yet.
void read_by_identity(pg::Connection& connection, std::vector<Sequence*>& sequences) {
  // The function keeps the lock that nextval() takes, so that none of them is dropped, moved or renamed.
  auto rows = connection.query(
      "select c.oid, v.last from pg_catalog.pg_class c cross join lateral "
      "pg_catalog.pg_sequence_last_value(c.oid::pg_catalog.regclass) v (last) "
      "where c.oid = any($1::pg_catalog.oid[]) and c.relkind = 'S'",
      {oids_of(sequences)}, purpose);
  std::map<Oid, std::int64_t> last;
  for (int i = 0; i < rows.rows(); ++i) {
    if (!rows.is_null(i, 1)) last[rows.oid(i, 0)] = rows.i64(i, 1);
  }
  std::erase_if(sequences, [&](Sequence* sequence) {
    auto found = last.find(sequence->oid);
    if (found == last.end()) return false;
    sequence->value = {found->second, true};
    return true;
  });
}

/// Once they are locked: to the end of the transaction each is what its name means, which is that of now. Those
/// that are gone have no identity, and leave `sequences`.
void hold_names(pg::Connection& connection, std::vector<Sequence*>& sequences) {
  auto oids = oids_of(sequences);
  // A superuser's schema is renamed by superusers alone. pg_database_owner (6171) is whoever owns the database.
  connection.query(
      "select from pg_catalog.pg_namespace n where n.oid in (select c.relnamespace from pg_catalog.pg_class c "
      "where c.oid = any($1::pg_catalog.oid[])) and exists (select from pg_catalog.pg_roles r where not "
      "r.rolsuper and r.oid = case when n.nspowner <> 6171 then n.nspowner else (select datdba from "
      "pg_catalog.pg_database where datname = pg_catalog.current_database()) end) for share",
      {oids}, purpose);
  auto rows = connection.query(
      "select c.oid, n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = "
      "c.relnamespace where c.oid = any($1::pg_catalog.oid[]) and c.relkind = 'S'",
      {oids}, purpose);
  std::map<Oid, std::pair<std::string, std::string>> held;
  for (int i = 0; i < rows.rows(); ++i) held[rows.oid(i, 0)] = {rows.str(i, 1), rows.str(i, 2)};
  std::erase_if(sequences, [&](Sequence* sequence) {
    auto found = held.find(sequence->oid);
    if (found == held.end()) {
      sequence->oid = 0;
      return true;
    }
    std::tie(sequence->schema, sequence->name) = found->second;
    return false;
  });
}

void read_by_name(pg::Connection& connection, const std::vector<Sequence*>& sequences) {
  for (std::size_t from = 0; from < sequences.size(); from += read_at_once) {
    std::string sql;
    for (std::size_t i = from; i < std::min(sequences.size(), from + read_at_once); ++i) {
      sql += fmt::format("{}select {} as i, last_value, is_called from {}", sql.empty() ? "" : " union all ", i,
                         quote_qualified(sequences[i]->schema, sequences[i]->name));
    }
    auto rows = connection.query(sql, purpose);
    for (int i = 0; i < rows.rows(); ++i)
      sequences[static_cast<std::size_t>(rows.i64(i, 0))]->value = {rows.i64(i, 1), rows.flag(i, 2)};
  }
}

void read_values(pg::Connection& connection, Caution caution, std::vector<Sequence>& sequences) {
  std::vector<Sequence*> wanted;
  for (auto& sequence : sequences) {
    if (sequence.readable) wanted.push_back(&sequence);
  }
  if (caution.needed && !wanted.empty()) {
    read_by_identity(connection, wanted);
    if (!caution.can_hold) wanted.clear();
    if (!wanted.empty()) hold_names(connection, wanted);
  }
  read_by_name(connection, wanted);
  std::erase_if(sequences, [](const Sequence& sequence) { return sequence.oid == 0; });
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
  auto caution = caution_at(source);
  Impatient transaction(source, caution.can_hold, patience);
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
  read_values(source, caution, out);
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
  auto caution = caution_at(target);
  Impatient transaction(target, caution.can_hold, patience);
  auto rows = target.query(fmt::format("select {} join unnest({}, "
                                       "{}) with ordinality w(schema, name, at) "
                                       "on w.schema = n.nspname and w.name = c.relname order by w.at",
                                       columns, array_of(schemas), array_of(of_schema)),
                           purpose);
  auto out = sequences_from(rows);
  read_values(target, caution, out);
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
  Impatient transaction(connection, /*locks=*/false, patience);
  connection.query(set_sequence_sql(target, value, unless_beyond), purpose);
  transaction.commit();
}

std::string set_sequence_sql(const Sequence& target, SequenceValue value, bool unless_beyond) {
  auto identity = fmt::format("{}::pg_catalog.oid::pg_catalog.regclass", target.oid);
  auto sql = fmt::format("select pg_catalog.setval({}, {}, {})", identity, value.last, value.called);
  if (!unless_beyond) return sql;
  // Its name may mean something else by now. Of one that nobody used the identity tells no value.
  return fmt::format(
      "{} from pg_catalog.pg_sequence_last_value({}) at (last) where coalesce(last, {}) {} {}{}", sql, identity,
      target.value.last, target.increment > 0 ? "<" : ">", value.last,
      value.called ? fmt::format(" or last is null and {} = {}", target.value.last, value.last) : "");
}

}  // namespace tailrace::schema
