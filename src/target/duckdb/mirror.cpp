#include "target/duckdb/mirror.h"

#include <algorithm>
#include <charconv>
#include <ranges>
#include <set>

#include "base/log.h"
#include "target/duckdb/adoption.h"
#include "target/duckdb/mirror_format.h"

namespace tailrace::target::duckdb {
namespace {

template <typename T>
T number(const std::string& text) {
  T value{};
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) {
    throw Error(Retry::fatal, fmt::format("the target file says '{}' where a number was expected", text),
                "Something else wrote into its schema tailrace: restore the file, or start with a new one");
  }
  return value;
}

MirrorColumn read_column(const std::vector<std::string>& line) {
  auto type = parse_column_type(line[9]);
  if (!type) {
    throw Error(Retry::needs_operator, fmt::format("the target file describes a column by '{}'", line[9]),
                "It was written by another version of tailrace; use that one, or start with a new file");
  }
  return {{number<std::int16_t>(line[1]), line[2], number<Oid>(line[4]), number<std::int32_t>(line[5]),
           line[6] == "true", number<std::uint32_t>(line[7])},
          line[3],
          *type,
          line[8] == "true",
          line[10],
          line[11] == "true"};
}

/// A domain by its own name or its base's.
bool is_named(const TypeRule& rule, const schema::Type& type) {
  if (rule.type == "enum" && type.kind == 'e') return true;
  if (rule.type == type.name || rule.type == type.schema + "." + type.name) return true;
  return type.kind == 'd' && type.base && is_named(rule, *type.base);
}

}  // namespace

std::vector<ColumnType> MirrorTable::types() const {
  std::vector<ColumnType> out;
  out.reserve(columns.size());
  for (const auto& column : columns) out.push_back(column.type);
  return out;
}

std::string MirrorTable::note() const {
  std::string out;
  for (const auto& column : columns) {
    if (!column.widened) continue;
    out +=
        fmt::format("{}column {} holds PostgreSQL's exact text (VARCHAR): a value did not fit its DuckDB type",
                    out.empty() ? "" : "; ", column.source.name);
  }
  return out;
}

TableRecord MirrorTable::record() const {
  TableRecord out{
      oid,     schema, name, made() ? sql_name() : "", {}, copied, copied_at, filenode, membership, rows_copied,
      storage, note(), held};
  for (const auto& column : columns) {
    if (column.source.attnum != 0) out.columns.push_back(column.source);
  }
  return out;
}

void Mirror::make(Session& session) {
  if (std::exchange(made_, true)) return;
  bring_up_to_date(session, false);
}

bool Mirror::may_be_ours(Session& session, bool adopting) {
  if (folded(read_text(session, "SELECT current_database()")[0][0]) == "tailrace") {
    throw Error(
        Retry::needs_operator, "the target file cannot be called tailrace",
        "DuckDB names a database after its file, and tailrace keeps its notes in a schema of that name: call "
        "the file otherwise");
  }
  auto found = read_text(session,
                         "SELECT count(*) FILTER (schema_name = 'tailrace')::VARCHAR, "
                         "count(*) FILTER (schema_name <> 'tailrace')::VARCHAR FROM duckdb_tables() "
                         "WHERE database_name = current_database()");
  if (found[0][0] != "0") return true;
  if (found[0][1] != "0" && !adopting) {
    throw Error(Retry::needs_operator, "the target file holds tables that tailrace did not make",
                "Name a new file for the mirror; to query both together, ATTACH one from the other");
  }
  return false;
}

Mirror Mirror::load(Session& session, bool adopting) {
  Mirror out;
  out.database_name_ = read_text(session, "SELECT current_database()")[0][0];
  bool metadata_is_there = may_be_ours(session, adopting);
  if (!metadata_is_there && adopting && holds_tables(session)) {
    out.made_ = false;
    out.look_at_file(session);
    return out;
  }
  bring_up_to_date(session, metadata_is_there);
  for (const auto& line : read_text(session,
                                    "SELECT slot, system_identifier, timeline::VARCHAR, "
                                    "lsn::VARCHAR, commit_micros::VARCHAR, seen FROM tailrace.checkpoint")) {
    out.checkpoint_ = Checkpoint{line[0],
                                 line[1],
                                 number<std::uint32_t>(line[2]),
                                 Lsn{number<std::uint64_t>(line[3])},
                                 PgTimestamp{number<std::int64_t>(line[4])},
                                 line[5]};
  }
  for (auto& line : read_text(session,
                              "SELECT oid::VARCHAR, source_schema, source_name, target_schema, target_name, "
                              "copied::VARCHAR, copied_at::VARCHAR, filenode::VARCHAR, rows_copied::VARCHAR, "
                              "membership, coalesce(held, ''), storage "
                              "FROM tailrace.tables")) {
    MirrorTable table{number<Oid>(line[0]),
                      line[1],
                      line[2],
                      line[3],
                      line[4],
                      {},
                      line[5] == "true",
                      Lsn{number<std::uint64_t>(line[6])},
                      number<Oid>(line[7]),
                      number<std::int64_t>(line[8]),
                      line[9],
                      line[10],
                      line[11]};
    out.keep(std::move(table));
  }
  for (const auto& line : read_text(session,
                                    "SELECT table_oid::VARCHAR, attnum::VARCHAR, source_name, target_name, "
                                    "type_oid::VARCHAR, typmod::VARCHAR, is_key::VARCHAR, version::VARCHAR, "
                                    "widened::VARCHAR, column_type, chosen, misfit_is_error::VARCHAR "
                                    "FROM tailrace.columns ORDER BY table_oid, position")) {
    auto of = out.tables_.find(number<Oid>(line[0]));
    TAILRACE_CHECK(of != out.tables_.end());
    of->second.columns.push_back(read_column(line));
  }
  for (const auto& line : read_text(session, "SELECT rules FROM tailrace.types")) out.noted_rules_ = line[0];
  out.look_at_file(session);
  return out;
}

void Mirror::reload(Session& session, bool adopting) {
  Mirror fresh = load(session, adopting);
  for (auto& [oid, claim] : claimed_) fresh.claim(oid, claim.schema, std::move(claim.names));
  fresh.rules_ = std::move(rules_);
  *this = std::move(fresh);
}

/// Tells our tables from what stands in the file besides.
void Mirror::look_at_file(Session& session) {
  std::map<std::pair<std::string, std::string>, MirrorTable*> ours;
  for (auto& [oid, table] : tables_) ours[{folded(table.target_schema), folded(table.target_name)}] = &table;
  bool copies = false;
  std::vector<std::vector<std::string>> found = read_text(
      session,
      "SELECT schema_name, table_name, 'table' FROM duckdb_tables() WHERE database_name = current_database() "
      "UNION ALL SELECT schema_name, view_name, 'view' FROM duckdb_views() "
      "WHERE database_name = current_database() AND NOT internal");
  for (const auto& line : found) copies |= line[0] == "tailrace" && line[1] == "copies";
  std::set<std::pair<std::string, std::string>> hidden;
  if (copies) {
    for (const auto& line : read_text(session, "SELECT target_schema, target_name FROM tailrace.copies"))
      hidden.emplace(folded(line[0]), folded(line[1]));
  }
  for (const auto& line : found) {
    std::pair name{folded(line[0]), folded(line[1])};
    auto known = ours.find(name);
    if (known != ours.end() && line[2] == "table") {
      known->second->there = true;
    } else if (name.first != "tailrace" && !hidden.contains(name)) {
      names_.take(TakenNames::foreign, line[0], line[1]);
    }
  }
  for (auto& [oid, table] : tables_) {
    if (!table.there && std::exchange(table.copied, false)) {
      log::warn("target", "{} is not in the file any more; it will be copied anew", table.sql_name());
    }
  }
}

void Mirror::keep(MirrorTable table) {
  drop_names(table.oid);
  names_.take(table.oid, table.target_schema, table.target_name);
  if (table.target_name != table.name) misnamed_.insert(table.oid);
  tables_.insert_or_assign(table.oid, std::move(table));
}

/// Of what is kept of it.
void Mirror::drop_names(Oid oid) {
  misnamed_.erase(oid);
  if (auto known = tables_.find(oid); known != tables_.end())
    names_.give_back(oid, known->second.target_schema, known->second.target_name);
}

const MirrorTable& Mirror::at(Oid oid) const {
  auto found = tables_.find(oid);
  TAILRACE_CHECK(found != tables_.end());
  return found->second;
}

std::string Mirror::free_name(const std::string& wanted, const std::vector<std::string>& taken) {
  auto is_taken = [&](const std::string& name) {
    return std::any_of(taken.begin(), taken.end(), [&](const auto& other) { return same_name(other, name); });
  };
  std::string name = wanted;
  for (int i = 2; is_taken(name); ++i) name = fmt::format("{}_{}", wanted, i);
  return name;
}

bool Mirror::find_loaded(Session& session, MirrorTable& planned) const {
  for (const auto& line : read_text(session,
                                    "SELECT schema_name, table_name FROM duckdb_tables() WHERE "
                                    "database_name = current_database()")) {
    if (!same_name(line[0], planned.schema) || !same_name(line[1], planned.name)) continue;
    if (!names_.has(TakenNames::foreign, line[0], line[1])) continue;
    planned.target_schema = line[0];
    planned.target_name = line[1];
    return true;
  }
  return false;
}

void Mirror::claim(Oid oid, const std::string& schema, std::vector<std::string> names) {
  release(oid);
  for (const auto& name : names) names_.take(oid, schema, name);
  claimed_[oid] = {schema, std::move(names)};
}

void Mirror::release(Oid oid) {
  auto claimed = claimed_.find(oid);
  if (claimed == claimed_.end()) return;
  for (const auto& name : claimed->second.names) names_.give_back(oid, claimed->second.schema, name);
  claimed_.erase(claimed);
}

const MirrorTable* Mirror::misnamed(const std::set<Oid>& but) const {
  for (Oid oid : misnamed_) {
    const auto& table = at(oid);
    if (but.contains(oid) || !table.there || !table.held.empty()) continue;
    if (free_table_name(oid, table.target_schema, table.name) == table.name) return &table;
  }
  return nullptr;
}

void Mirror::note_types(Session& session) {
  if (!chooses_otherwise()) return;
  auto rules = to_text(rules_);
  session.query(
      fmt::format("DELETE FROM tailrace.types; INSERT INTO tailrace.types VALUES ({})", quote_literal(rules)),
      "writing the metadata");
  noted_rules_ = std::move(rules);
}

void Mirror::set_type(MirrorColumn& column, const std::string& schema, const std::string& table,
                      const schema::Type& type, std::int32_t typmod, int dimensions) const {
  column.type = map_column(type, typmod, dimensions);
  column.chosen.clear();
  column.misfit_is_error = false;
  for (const auto& rule : std::ranges::reverse_view(rules_)) {
    if (rule.column ? !rule.column->matches(schema, table, column.source.name) : !is_named(rule, type))
      continue;
    // What has an exact type stays that, where no column is named.
    bool exact = rule.becomes.kind != ChosenType::Kind::text && column.type.codec != Codec::text;
    if (!rule.column && exact) continue;
    auto becomes = map_column(type, typmod, dimensions, rule.becomes);
    if (!becomes) continue;
    // It is that without being told.
    if (*becomes == column.type) return;
    column.type = std::move(*becomes);
    column.chosen = rule.becomes.text();
    column.misfit_is_error = rule.becomes.misfit == ChosenType::Misfit::error;
    return;
  }
}

MirrorTable Mirror::plan(const schema::Table& table, Names names) const {
  auto known = tables_.find(table.oid);
  MirrorTable out;
  out.oid = table.oid;
  out.schema = table.schema;
  out.name = table.name;
  out.filenode = table.filenode;
  out.membership = table.membership;
  out.storage = table.storage.str();
  // These are DuckDB's and our own; "main" and "public" are free for a mirror.
  static const std::vector<std::string> reserved = {"tailrace", "information_schema", "pg_catalog", "temp",
                                                    "system"};
  out.target_schema = table.schema;
  std::vector<std::string> other_schemas = reserved;
  other_schemas.push_back(database_name_);
  out.target_schema = free_name(out.target_schema, other_schemas);
  out.target_name =
      names == Names::as_found ? table.name : free_table_name(table.oid, out.target_schema, table.name);
  std::vector<std::string> column_names = {std::string(row_identifier)};
  for (const auto& column : table.columns) {
    MirrorColumn planned;
    planned.source = {column.attnum, column.name,   column.type->oid,
                      column.typmod, column.is_key, column.version};
    planned.name = free_name(column.name, column_names);
    column_names.push_back(planned.name);
    set_type(planned, table.schema, table.name, *column.type, column.typmod, column.dimensions);
    if (known != tables_.end()) {
      for (const auto& old : known->second.columns) {
        bool same = old.source.attnum == column.attnum && old.source.type_oid == column.type->oid;
        // An enum's list is of now, so what was not in it may be.
        bool fits_now = planned.type.codec == Codec::enumeration;
        if (old.widened && same && old.chosen == planned.chosen && !fits_now) {
          planned.type = widen_to_text(planned.type);
          planned.widened = true;
        }
      }
    }
    out.columns.push_back(std::move(planned));
  }
  if (out.columns.empty()) {
    MirrorColumn placeholder;
    placeholder.name = no_columns_placeholder;
    placeholder.type.codec = Codec::boolean;
    placeholder.type.sql = "BOOLEAN";
    placeholder.type.wire = PgWire::boolean;
    placeholder.type.binary_readable = true;
    out.columns.push_back(std::move(placeholder));
  }
  return out;
}

void Mirror::put(Session& session, MirrorTable table) {
  std::string sql = fmt::format(
      "DELETE FROM tailrace.tables WHERE oid = {0}; DELETE FROM tailrace.columns WHERE table_oid = {0};"
      "INSERT INTO tailrace.tables (oid, source_schema, source_name, target_schema, target_name, copied, "
      "copied_at, filenode, rows_copied, membership, note, held, storage) "
      "VALUES ({0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}, {11}, {12});",
      table.oid, quote_literal(table.schema), quote_literal(table.name), quote_literal(table.target_schema),
      quote_literal(table.target_name), table.copied, table.copied_at.value, table.filenode, table.rows_copied,
      quote_literal(table.membership), quote_literal(table.note()), quote_literal(table.held),
      quote_literal(table.storage));
  std::string values;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const auto& column = table.columns[i];
    values +=
        fmt::format("{}({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})", i == 0 ? "" : ", ", table.oid, i,
                    column.source.attnum, quote_literal(column.source.name), quote_literal(column.name),
                    column.source.type_oid, column.source.typmod, column.source.is_key, column.source.version,
                    column.widened, quote_literal(serialize(column.type)), quote_literal(column.chosen),
                    column.misfit_is_error);
  }
  if (!values.empty()) sql += "INSERT INTO tailrace.columns VALUES " + values;
  session.query(sql, "writing the metadata");
  if (table.there) names_.give_back(TakenNames::foreign, table.target_schema, table.target_name);
  keep(std::move(table));
}

void Mirror::remove(Session& session, Oid table) {
  session.query(
      fmt::format(
          "DELETE FROM tailrace.tables WHERE oid = {0}; DELETE FROM tailrace.columns WHERE table_oid = {0}",
          table),
      "writing the metadata");
  drop_names(table);
  tables_.erase(table);
}

void Mirror::put_checkpoint(Session& session, const Checkpoint& checkpoint) {
  bool same_slot = checkpoint_ && checkpoint_->slot == checkpoint.slot &&
                   checkpoint_->system_identifier == checkpoint.system_identifier &&
                   checkpoint_->timeline == checkpoint.timeline && checkpoint_->seen == checkpoint.seen;
  std::int64_t unix_micros = checkpoint.commit_time.micros + pg_epoch_unix_seconds * 1'000'000;
  if (same_slot) {
    session.query(fmt::format("UPDATE tailrace.checkpoint SET lsn = {}, commit_micros = {}, "
                              "commit_time = make_timestamptz({}::BIGINT)",
                              checkpoint.lsn.value, checkpoint.commit_time.micros, unix_micros),
                  "writing the checkpoint");
  } else {
    session.query(
        fmt::format("DELETE FROM tailrace.checkpoint; INSERT INTO tailrace.checkpoint SELECT "
                    "version, {}, {}, {}, {}, make_timestamptz({}::BIGINT), {}, {} FROM tailrace.format",
                    quote_literal(checkpoint.slot), quote_literal(checkpoint.system_identifier),
                    checkpoint.timeline, checkpoint.lsn.value, unix_micros, checkpoint.commit_time.micros,
                    quote_literal(checkpoint.seen)),
        "writing the checkpoint");
  }
  checkpoint_ = checkpoint;
}

void Mirror::forget_copies(Session& session) {
  session.query("UPDATE tailrace.tables SET copied = false, held = ''", "writing the metadata");
  for (auto& [oid, table] : tables_) {
    table.copied = false;
    table.held.clear();
  }
}

std::optional<Checkpoint> peek_checkpoint(Session& session) {
  auto there = read_text(session,
                         "SELECT count(*)::VARCHAR FROM duckdb_tables() WHERE schema_name = 'tailrace' AND "
                         "table_name = 'checkpoint' AND database_name = current_database()");
  if (there[0][0] == "0") return std::nullopt;
  auto lines = read_text(session,
                         "SELECT slot, system_identifier, timeline::VARCHAR, lsn::VARCHAR, "
                         "commit_micros::VARCHAR FROM tailrace.checkpoint");
  if (lines.empty()) return std::nullopt;
  const auto& line = lines[0];
  return Checkpoint{line[0], line[1], number<std::uint32_t>(line[2]), Lsn{number<std::uint64_t>(line[3])},
                    PgTimestamp{number<std::int64_t>(line[4])}};
}

}  // namespace tailrace::target::duckdb
