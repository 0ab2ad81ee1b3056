#include "target/postgres/sequence_keeper.h"

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/books_format.h"

namespace tailrace::target::postgres {
namespace {

using namespace std::chrono_literals;

// The thread that calls has changes to apply.
constexpr auto brief = 200ms;
constexpr auto patient = 30'000ms;

struct Pair {
  schema::Sequence source;
  const schema::Sequence* target = nullptr;  ///< null: the target has none of its name
  bool strange = false;                      ///< what it has there is not ours
};

/// Those of them that are not ours.
std::set<Oid> strange_ones(pg::Connection& target, const std::vector<schema::Sequence>& sequences,
                           const SequenceOwnership& ours) {
  std::string oids;
  for (const auto& sequence : sequences) oids += fmt::format("{}{}", oids.empty() ? "" : ",", sequence.oid);
  auto rows = target.query(
      fmt::format(
          "with recursive ours(oid) as (select target_oid from tailrace.tables where subscription = {0} "
          "and target_oid <> 0 union "
          "select i.inhrelid from pg_catalog.pg_inherits i join ours on ours.oid = i.inhparent), "
          "owner as (select d.objid, d.refobjid from pg_catalog.pg_depend d where d.classid = 1259 and "
          "d.refclassid = 1259 and d.deptype in ('a', 'i') and d.objid = any('{{{1}}}'::pg_catalog.oid[])) "
          "select c.oid from pg_catalog.pg_class c where c.oid = any('{{{1}}}'::pg_catalog.oid[]) "
          "and not exists (select from tailrace.made m where m.subscription = {0} and m.catalog = 1259 "
          "and m.oid = c.oid) "
          "and not exists (select from owner o join ours on ours.oid = o.refobjid where o.objid = c.oid) "
          "and not exists (select from pg_catalog.pg_depend u join pg_catalog.pg_attrdef a "
          "on u.classid = 2604 and u.objid = a.oid join ours on ours.oid = a.adrelid "
          "where u.refclassid = 1259 and u.refobjid = c.oid) "
          "and (not {2} or exists (select from owner o where o.objid = c.oid))",
          quote_literal(ours.subscription), oids, ours.by_name),
      "looking whose the target's sequences are");
  std::set<Oid> out;
  for (int i = 0; i < rows.rows(); ++i) out.insert(rows.oid(i, 0));
  return out;
}

std::vector<Pair> pairs_of(std::vector<schema::Sequence> sources, const std::vector<schema::Sequence>& targets,
                           const std::set<Oid>& strange) {
  std::map<std::pair<std::string, std::string>, const schema::Sequence*> found;
  for (const auto& target : targets) found.emplace(std::pair(target.schema, target.name), &target);
  std::vector<Pair> out;
  for (auto& source : sources) {
    auto target = found.find({source.schema, source.name});
    if (target == found.end()) {
      out.push_back({std::move(source)});
    } else {
      out.push_back({std::move(source), target->second, strange.contains(target->second->oid)});
    }
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> names_of(const std::vector<schema::Sequence>& sequences) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& sequence : sequences) out.emplace_back(sequence.schema, sequence.name);
  return out;
}

/// Why the two cannot be brought together; empty if they can.
std::string obstacle(const Pair& pair) {
  std::string name = pair.source.qualified();
  if (!pair.source.readable)
    return fmt::format("sequence {} cannot be read at the source (GRANT SELECT ON SEQUENCE {} there)", name,
                       name);
  if (pair.target == nullptr) return fmt::format("the target has no sequence {}", name);
  if (pair.strange)
    return fmt::format(
        "the target's sequence {} is not of tailrace's making, and no replicated table there uses "
        "it (ALTER SEQUENCE {} OWNED BY a column of one, if it is to be set)",
        name, name);
  if (!pair.target->readable || !pair.target->writable)
    return fmt::format("sequence {} may not be set at the target (GRANT SELECT, UPDATE ON SEQUENCE {} there)",
                       name, name);
  if ((pair.source.increment > 0) != (pair.target->increment > 0))
    return fmt::format("sequence {} counts the other way at the target", name);
  return {};
}

bool is_outage(const Error& error) {
  return error.sqlstate().empty() || error.sqlstate().starts_with("57") || error.sqlstate().starts_with("08");
}

}  // namespace

std::int64_t SequenceKeeper::keep_ahead(pg::Connection& source, const std::vector<Oid>& tables,
                                        std::int64_t margin) {
  try {
    kept_ = keep(source, tables, margin);
  } catch (const Error& error) {
    if (is_outage(error)) throw;
    // A lock, or a sequence that was dropped between two looks: the next call sees.
    log::debug("target", "the sequences are left for the next time: {}", error.message());
  }
  return kept_;
}

std::int64_t SequenceKeeper::keep(pg::Connection& source, const std::vector<Oid>& tables, std::int64_t margin) {
  auto sources = schema::read_sequences_of(source, tables, brief);
  std::int64_t kept = 0;
  std::vector<schema::Sequence> moved;
  for (auto& sequence : sources) {
    auto seen = seen_.find({sequence.schema, sequence.name});
    if (seen != seen_.end() && seen->second.value == sequence.value && !seen->second.again) {
      ++kept;
    } else {
      moved.push_back(std::move(sequence));
    }
  }
  if (moved.empty()) return kept;
  auto targets = schema::read_sequences_named(target_, names_of(moved), brief);
  auto strange = strange_ones(target_, targets, ours_);
  for (const auto& pair : pairs_of(std::move(moved), targets, strange)) {
    if (auto why = obstacle(pair); !why.empty()) {
      warn_once(why + ": it is not kept ahead");
      continue;
    }
    set_ahead(pair.source, *pair.target, margin);
    ++kept;
  }
  return kept;
}

void SequenceKeeper::set_ahead(const schema::Sequence& source, const schema::Sequence& target,
                               std::int64_t margin) {
  auto seen = seen_.find({source.schema, source.name});
  // One that began again from its other end is followed there, once.
  bool wrapped = seen != seen_.end() && source.cycles &&
                 (source.increment > 0 ? source.value.last < seen->second.value.last
                                       : source.value.last > seen->second.value.last);
  auto from = target;
  if (wrapped) from.value = {source.increment > 0 ? target.least : target.most, false};
  if (auto value = schema::value_ahead(source, from, margin))
    schema::set_sequence(target_, target, *value, /*unless_beyond=*/!wrapped, brief);
  // Only now: what was put off comes next time.
  seen_.insert_or_assign({source.schema, source.name}, Seen{source.value, false});
}

void SequenceKeeper::look_again() {
  for (auto& [name, seen] : seen_) seen.again = true;
}

void SequenceKeeper::warn_once(const std::string& text) {
  if (warned_.insert(text).second) log::warn("target", "{}", text);
}

SequencesSet set_sequences_exactly(pg::Connection& source, const std::vector<Oid>& tables,
                                   pg::Connection& target, const SequenceOwnership& ours) {
  SequencesSet out;
  auto sources = schema::read_sequences_of(source, tables, patient);
  auto targets = schema::read_sequences_named(target, names_of(sources), patient);
  std::set<Oid> strange;
  if (is_up_to_date(target) && is_set_up(target, ours.subscription))
    strange = strange_ones(target, targets, ours);
  for (const auto& pair : pairs_of(std::move(sources), targets, strange)) {
    auto why = obstacle(pair);
    if (why.empty() &&
        (pair.source.value.last < pair.target->least || pair.source.value.last > pair.target->most)) {
      why = fmt::format("sequence {} stands at {}, beyond the bounds that it has at the target",
                        pair.source.qualified(), pair.source.value.last);
    }
    if (!why.empty()) {
      out.problems.push_back(std::move(why));
      continue;
    }
    if (!(pair.target->value == pair.source.value))
      schema::set_sequence(target, *pair.target, pair.source.value, /*unless_beyond=*/false, patient);
    ++out.set;
  }
  return out;
}

}  // namespace tailrace::target::postgres
