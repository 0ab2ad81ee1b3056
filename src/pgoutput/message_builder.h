#pragma once
// MessageBuilder: makes the bytes of pgoutput messages by hand, for tests, fuzz seeds and simulated sources. It
// writes what it is told to, also what no server would send.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_reader.h"
#include "base/lsn.h"
#include "model/relation.h"
#include "model/tuple_builder.h"

namespace tailrace::pgoutput {

/// Big-endian fields, one after the other.
class MessageWriter {
 public:
  template <typename T>
  MessageWriter& number(T value) {
    std::byte raw[sizeof(T)];
    store_big_endian(raw, value);
    out_.append(reinterpret_cast<const char*>(raw), sizeof(T));
    return *this;
  }
  MessageWriter& letter(char value) {
    out_.push_back(value);
    return *this;
  }
  MessageWriter& flag(bool value) { return letter(value ? '\1' : '\0'); }
  MessageWriter& lsn(Lsn value) { return number(value.value); }
  MessageWriter& time(PgTimestamp value) { return number(value.micros); }
  MessageWriter& c_string(std::string_view value) {
    out_.append(value);
    return letter('\0');
  }
  MessageWriter& counted(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    out_.append(value);
    return *this;
  }
  MessageWriter& tuple(const Cells& cells) {
    number(static_cast<std::uint16_t>(cells.size()));
    append_columns(cells, out_);
    return *this;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

/// Messages outside of a stream block; with `stream_xid`, as between stream_start and stream_stop, where each
/// carries its (sub)transaction.
class MessageBuilder {
 public:
  explicit MessageBuilder(Xid stream_xid = 0) : stream_xid_(stream_xid) {}

  std::string begin(Xid xid, Lsn commit_lsn, PgTimestamp time = {}) const {
    return MessageWriter().letter('B').lsn(commit_lsn).time(time).number(xid).take();
  }
  std::string commit(Lsn commit_lsn, Lsn end_lsn, PgTimestamp time = {}) const {
    return MessageWriter().letter('C').letter('\0').lsn(commit_lsn).lsn(end_lsn).time(time).take();
  }
  std::string origin(Lsn lsn, std::string_view name) const {
    return MessageWriter().letter('O').lsn(lsn).c_string(name).take();
  }
  std::string relation(const Relation& relation) const {
    auto out = content('R');
    out.number(relation.oid).c_string(relation.schema).c_string(relation.name);
    out.letter(static_cast<char>(relation.identity))
        .number(static_cast<std::uint16_t>(relation.columns.size()));
    for (const auto& column : relation.columns) {
      out.flag(column.is_key).c_string(column.name).number(column.type_oid).number(column.typmod);
    }
    return out.take();
  }
  std::string type(Oid oid, std::string_view schema, std::string_view name) const {
    return content('Y').number(oid).c_string(schema).c_string(name).take();
  }
  std::string insert(Oid oid, const Cells& row) const {
    return content('I').number(oid).letter('N').tuple(row).take();
  }
  std::string update(Oid oid, const Cells& row) const {
    return content('U').number(oid).letter('N').tuple(row).take();
  }
  /// `old_kind`: K for a key, O for a whole row.
  std::string update(Oid oid, char old_kind, const Cells& old_row, const Cells& row) const {
    return content('U').number(oid).letter(old_kind).tuple(old_row).letter('N').tuple(row).take();
  }
  std::string remove(Oid oid, char old_kind, const Cells& old_row) const {
    return content('D').number(oid).letter(old_kind).tuple(old_row).take();
  }
  /// `flags`: 1 CASCADE, 2 RESTART IDENTITY.
  std::string truncate(const std::vector<Oid>& tables, std::uint8_t flags = 0) const {
    auto out = content('T');
    out.number(static_cast<std::uint32_t>(tables.size())).number(flags);
    for (Oid oid : tables) out.number(oid);
    return out.take();
  }
  std::string message(bool transactional, Lsn lsn, std::string_view prefix,
                      std::string_view content_bytes) const {
    return content('M').flag(transactional).lsn(lsn).c_string(prefix).counted(content_bytes).take();
  }
  std::string stream_start(Xid xid, bool first) const {
    return MessageWriter().letter('S').number(xid).flag(first).take();
  }
  std::string stream_stop() const { return "E"; }
  std::string stream_commit(Xid xid, Lsn commit_lsn, Lsn end_lsn, PgTimestamp time = {}) const {
    return MessageWriter().letter('c').number(xid).letter('\0').lsn(commit_lsn).lsn(end_lsn).time(time).take();
  }
  std::string stream_abort(Xid xid, Xid subxid) const {
    return MessageWriter().letter('A').number(xid).number(subxid).take();
  }
  /// As with streaming=parallel.
  std::string stream_abort(Xid xid, Xid subxid, Lsn lsn, PgTimestamp time) const {
    return MessageWriter().letter('A').number(xid).number(subxid).lsn(lsn).time(time).take();
  }
  std::string begin_prepare(Xid xid, Lsn prepare_lsn, Lsn end_lsn, std::string_view gid,
                            PgTimestamp time = {}) const {
    return MessageWriter()
        .letter('b')
        .lsn(prepare_lsn)
        .lsn(end_lsn)
        .time(time)
        .number(xid)
        .c_string(gid)
        .take();
  }
  std::string prepare(Xid xid, Lsn prepare_lsn, Lsn end_lsn, std::string_view gid,
                      PgTimestamp time = {}) const {
    return outcome('P', xid, prepare_lsn, end_lsn, gid, time);
  }
  std::string stream_prepare(Xid xid, Lsn prepare_lsn, Lsn end_lsn, std::string_view gid,
                             PgTimestamp time = {}) const {
    return outcome('p', xid, prepare_lsn, end_lsn, gid, time);
  }
  std::string commit_prepared(Xid xid, Lsn commit_lsn, Lsn end_lsn, std::string_view gid,
                              PgTimestamp time = {}) const {
    return outcome('K', xid, commit_lsn, end_lsn, gid, time);
  }
  std::string rollback_prepared(Xid xid, Lsn prepare_end, Lsn rollback_end, std::string_view gid,
                                PgTimestamp prepare_time = {}, PgTimestamp rollback_time = {}) const {
    auto out = MessageWriter();
    out.letter('r').letter('\0').lsn(prepare_end).lsn(rollback_end).time(prepare_time).time(rollback_time);
    return out.number(xid).c_string(gid).take();
  }

 private:
  MessageWriter content(char type) const {
    MessageWriter out;
    out.letter(type);
    if (stream_xid_ != 0) out.number(stream_xid_);
    return out;
  }
  static std::string outcome(char type, Xid xid, Lsn lsn, Lsn end_lsn, std::string_view gid, PgTimestamp time) {
    auto out = MessageWriter();
    return out.letter(type).letter('\0').lsn(lsn).lsn(end_lsn).time(time).number(xid).c_string(gid).take();
  }

  Xid stream_xid_;
};

/// A table with columns c0, c1, ... of type text, of which `key` are the replica identity.
inline Relation make_relation(Oid oid, std::string name, std::size_t columns,
                              const std::vector<std::size_t>& key,
                              ReplicaIdentity identity = ReplicaIdentity::by_default) {
  constexpr Oid text_oid = 25;
  Relation out{oid, "public", std::move(name), identity, {}};
  for (std::size_t i = 0; i < columns; ++i)
    out.columns.push_back({"c" + std::to_string(i), text_oid, -1, false});
  for (std::size_t i : key) out.columns[i].is_key = true;
  if (identity == ReplicaIdentity::full) {
    for (auto& column : out.columns) column.is_key = true;
  }
  return out;
}

}  // namespace tailrace::pgoutput
