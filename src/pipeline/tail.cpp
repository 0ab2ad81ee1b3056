#include <chrono>

#include "base/json.h"
#include "base/log.h"
#include "pg/connection.h"
#include "pipeline/engine.h"
#include "pipeline/published_tables.h"
#include "source/replication_stream.h"
#include "source/slot_waits.h"
#include "source/transaction_assembler.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

void append_values(const Relation& relation, const TupleData& tuple, bool key_only, std::string& out) {
  out += '{';
  TupleWalker columns(tuple);
  bool first = true;
  for (const auto& column : relation.columns) {
    Value value = columns.next();
    // An unchanged TOAST value was not sent: it is left out and named apart, for it is not null.
    if (value.kind == ValueKind::unchanged || (key_only && !column.is_key)) continue;
    if (!first) out += ',';
    first = false;
    append_json_string(out, column.name);
    out += ':';
    if (value.kind == ValueKind::null) {
      out += "null";
    } else {
      append_json_string(out, value.bytes);
    }
  }
  out += '}';
}

void append_unchanged(const Relation& relation, const TupleData& tuple, std::string& out) {
  out += ",\"unchanged\":[";
  TupleWalker columns(tuple);
  bool first = true;
  for (const auto& column : relation.columns) {
    if (columns.next().kind != ValueKind::unchanged) continue;
    if (!first) out += ',';
    first = false;
    append_json_string(out, column.name);
  }
  out += ']';
}

void append_position(const TransactionSpan& transaction, std::string& out) {
  out += fmt::format(R"(,"lsn":"{}","xid":{},"time":"{}")", transaction.commit_lsn.str(), transaction.xid,
                     transaction.commit_time.str());
}

void append_change(const ChangeBatch& batch, const Change& change, const TransactionSpan& transaction,
                   std::string& out) {
  static constexpr const char* names[] = {"insert", "update", "delete", "truncate", "message"};
  out += fmt::format(R"({{"op":"{}")", names[static_cast<std::size_t>(change.kind)]);
  append_position(transaction, out);
  if (change.kind == ChangeKind::message) {
    const auto& message = batch.messages[change.index];
    out += ",\"prefix\":" + json_quote(message.prefix) + ",\"content\":" + json_quote(message.content);
  } else if (change.kind == ChangeKind::truncate) {
    const auto& truncate = batch.truncates[change.index];
    out += ",\"tables\":[";
    for (std::size_t i = 0; i < truncate.relations.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, batch.relations[truncate.relations[i]]->qualified());
    }
    out += fmt::format(R"(],"cascade":{},"restart_identity":{})", truncate.cascade, truncate.restart_identity);
  } else {
    const Relation& relation = *batch.relations[change.index];
    out += ",\"schema\":" + json_quote(relation.schema) + ",\"table\":" + json_quote(relation.name);
    if (change.old_tuple.present()) {
      out += change.old_kind == OldTuple::key ? ",\"key\":" : ",\"old\":";
      append_values(relation, change.old_tuple, change.old_kind == OldTuple::key, out);
    }
    if (change.new_tuple.present()) {
      out += ",\"new\":";
      append_values(relation, change.new_tuple, false, out);
      if (change.new_tuple.has_unchanged) append_unchanged(relation, change.new_tuple, out);
    }
  }
  out += "}\n";
}

void print(const ChangeBatch& batch, std::FILE* out) {
  std::string text;
  for (const auto& transaction : batch.transactions) {
    if (transaction.begins) {
      text += R"({"op":"begin")";
      append_position(transaction, text);
      if (!transaction.origin.empty()) text += ",\"origin\":" + json_quote(transaction.origin);
      text += "}\n";
    }
    for (std::size_t i = 0; i < transaction.change_count; ++i) {
      append_change(batch, batch.changes[transaction.first_change + i], transaction, text);
    }
    if (transaction.ends) {
      text += R"({"op":"commit")";
      append_position(transaction, text);
      text += fmt::format(R"(,"end_lsn":"{}"}})", transaction.end_lsn.str()) + "\n";
    }
  }
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size() || std::fflush(out) != 0) {
    throw Error(Retry::needs_operator, "the output cannot be written",
                "Whoever reads it went away, or its disk is full");
  }
}

}  // namespace

/// A temporary slot: it sees what commits from now on, holds nothing back afterwards, and disturbs no other
/// reader.
void tail(const config::Config& config, std::FILE* out, const StopSignal& stop) {
  auto sql = pg::Connection::open(config.source);
  auto spec = publication_spec(config);
  auto existing = source::read_publications(sql, spec.names);
  bool made = false;
  if (!existing) {
    source::ensure_publication(sql, spec);
    made = true;
  }
  struct Cleanup {
    pg::Connection& connection;
    const std::string& name;
    bool needed;
    ~Cleanup() {
      if (!needed) return;
      try {
        source::drop_publication(connection, name);
      } catch (const Error& error) {
        log::warn("tail", "publication {} stays behind: {}", name, error.what());
      }
    }
  } cleanup{sql, spec.names.front(), made};
  auto replication = pg::Connection::open(config.source, {pg::Mode::replication, config.name + " tail"});
  auto slot = source::create_slot_telling(
      replication, fmt::format("{}_tail_{}", config.slot.name.substr(0, 40), replication.backend_pid()),
      {true, false, false}, {config.source, config.name, [](const std::string&) {}});
  source::StreamOptions options;
  options.slot = slot.name;
  options.publications = spec.names;
  options.start = options.durable = slot.consistent_point;
  options.status_interval = config.intervals.status;
  options.local_only = config.origin == config::Origin::none;
  source::ReplicationStream stream(std::move(replication), options);
  source::TransactionAssembler assembler(
      {.spool_directory = "/tmp", .applied = slot.consistent_point, .local_only = options.local_only});
  std::string_view payload;
  constexpr std::size_t part_bytes = 1 << 20;
  auto hand_out = [&] {
    auto batch = assembler.seal();
    print(*batch, out);
    stream.set_durable(assembler.progress());
  };
  while (!stop.requested()) {
    switch (stream.next(payload)) {
      case source::ReplicationStream::Event::message:
        if (assembler.add(payload) == source::TransactionAssembler::Then::replay) {
          while (assembler.replay()) {
            if (assembler.bytes() > part_bytes) hand_out();
            stream.keep_alive();
          }
        }
        if (assembler.bytes() > part_bytes) hand_out();
        break;
      case source::ReplicationStream::Event::keepalive: break;
      case source::ReplicationStream::Event::drained:
        if (!assembler.in_transaction()) {
          hand_out();
          assembler.advance(stream.server_position());
          stream.set_durable(assembler.progress());
        }
        stream.wait(100ms, source::ChangeStream::For::anything);
        break;
      case source::ReplicationStream::Event::cut:
      case source::ReplicationStream::Event::handed_over:
      case source::ReplicationStream::Event::ended:
        throw Error(Retry::needs_operator, "the server ended the stream: it is shutting down",
                    "Start again when it is back");
    }
  }
  stream.finish();
}

}  // namespace tailrace::pipeline
