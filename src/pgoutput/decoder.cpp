#include "pgoutput/decoder.h"

namespace tailrace::pgoutput {
namespace {

[[noreturn]] void malformed(const char* what) {
  throw Error(Retry::fatal, fmt::format("the replication stream is malformed: {}", what),
              "This is damage on the wire or an unknown protocol version; nothing of it was applied");
}

PgTimestamp read_time(ByteReader& in) {
  return {in.i64()};
}
Lsn read_lsn(ByteReader& in) {
  return {in.u64()};
}

}  // namespace

TupleData read_tuple(ByteReader& in) {
  TupleData out;
  out.column_count = in.u16();
  out.data = in.position();
  for (std::uint16_t i = 0; i < out.column_count; ++i) {
    switch (in.u8()) {
      case 'n': break;
      case 'u': out.has_unchanged = true; break;
      case 't':
      case 'b': in.bytes(in.u32()); break;
      default: malformed("a column value has an unknown kind");
    }
  }
  out.size = static_cast<std::uint32_t>(in.position() - out.data);
  return out;
}

const Message& Decoder::decode(std::string_view bytes) {
  ByteReader in(bytes);
  out_.type = static_cast<MessageType>(in.u8());
  out_.xid = 0;
  switch (out_.type) {
    case MessageType::insert:
    case MessageType::update:
    case MessageType::remove: read_row(in); break;
    case MessageType::begin:
      out_.commit_lsn = read_lsn(in);
      out_.time = read_time(in);
      out_.xid = in.u32();
      break;
    case MessageType::commit: read_transaction_end(in); break;
    case MessageType::origin:
      out_.message_lsn = read_lsn(in);
      out_.name = in.c_string();
      break;
    case MessageType::relation: read_relation(in); break;
    case MessageType::type:
      if (in_stream_) out_.xid = in.u32();
      out_.oid = in.u32();
      out_.schema = in.c_string();
      out_.name = in.c_string();
      break;
    case MessageType::truncate: read_truncate(in); break;
    case MessageType::message: read_logical_message(in); break;
    case MessageType::stream_start:
      if (in_stream_) malformed("a stream block begins inside another");
      out_.xid = in.u32();
      out_.first_segment = in.u8() != 0;
      in_stream_ = true;
      break;
    case MessageType::stream_stop:
      if (!in_stream_) malformed("a stream block ends that never began");
      in_stream_ = false;
      break;
    case MessageType::stream_commit:
      out_.xid = in.u32();
      read_transaction_end(in);
      break;
    case MessageType::stream_abort: read_stream_abort(in); break;
    case MessageType::begin_prepare:
      out_.commit_lsn = read_lsn(in);
      out_.end_lsn = read_lsn(in);
      out_.time = read_time(in);
      out_.xid = in.u32();
      out_.gid = in.c_string();
      break;
    case MessageType::prepare:
    case MessageType::stream_prepare:
    case MessageType::commit_prepared: read_prepare(in); break;
    case MessageType::rollback_prepared:
      in.u8();
      out_.commit_lsn = read_lsn(in);
      out_.end_lsn = read_lsn(in);
      read_time(in);
      out_.time = read_time(in);
      out_.xid = in.u32();
      out_.gid = in.c_string();
      break;
    default: malformed("a message has an unknown type");
  }
  if (!in.at_end()) malformed("a message is longer than its fields");
  return out_;
}

void Decoder::read_transaction_end(ByteReader& in) {
  in.u8();  // flags, unused so far
  out_.commit_lsn = read_lsn(in);
  out_.end_lsn = read_lsn(in);
  out_.time = read_time(in);
}

void Decoder::read_prepare(ByteReader& in) {
  read_transaction_end(in);
  out_.xid = in.u32();
  out_.gid = in.c_string();
}

void Decoder::read_relation(ByteReader& in) {
  if (in_stream_) out_.xid = in.u32();
  Relation& relation = out_.relation;
  relation.oid = in.u32();
  relation.schema = in.c_string();
  if (relation.schema.empty()) relation.schema = "pg_catalog";
  relation.name = in.c_string();
  auto identity = in.u8();
  if (identity != 'd' && identity != 'n' && identity != 'f' && identity != 'i') {
    malformed("a relation has an unknown replica identity");
  }
  relation.identity = static_cast<ReplicaIdentity>(identity);
  relation.columns.clear();
  std::uint16_t count = in.u16();
  for (std::uint16_t i = 0; i < count; ++i) {
    RelationColumn column;
    column.is_key = (in.u8() & 1) != 0;
    column.name = in.c_string();
    column.type_oid = in.u32();
    column.typmod = in.i32();
    relation.columns.push_back(std::move(column));
  }
}

void Decoder::read_row(ByteReader& in) {
  if (in_stream_) out_.xid = in.u32();
  out_.oid = in.u32();
  out_.old_kind = OldTuple::none;
  out_.old_tuple = {};
  out_.new_tuple = {};
  auto marker = in.u8();
  if (marker == 'K' || marker == 'O') {
    if (out_.type == MessageType::insert) malformed("an insert carries an old row");
    out_.old_kind = marker == 'K' ? OldTuple::key : OldTuple::full;
    out_.old_tuple = read_tuple(in);
    if (out_.type == MessageType::remove) return;
    marker = in.u8();
  }
  if (marker != 'N' || out_.type == MessageType::remove) malformed("a row change has an unknown part");
  out_.new_tuple = read_tuple(in);
}

void Decoder::read_truncate(ByteReader& in) {
  if (in_stream_) out_.xid = in.u32();
  std::uint32_t count = in.u32();
  auto flags = in.u8();
  out_.cascade = (flags & 1) != 0;
  out_.restart_identity = (flags & 2) != 0;
  if (in.remaining() != static_cast<std::size_t>(count) * 4)
    malformed("a truncate lists more tables than it holds");
  out_.truncated.clear();
  for (std::uint32_t i = 0; i < count; ++i) out_.truncated.push_back(in.u32());
}

void Decoder::read_logical_message(ByteReader& in) {
  if (in_stream_) out_.xid = in.u32();
  out_.transactional = (in.u8() & 1) != 0;
  out_.message_lsn = read_lsn(in);
  out_.name = in.c_string();
  out_.content = in.bytes(in.u32());
}

void Decoder::read_stream_abort(ByteReader& in) {
  out_.xid = in.u32();
  out_.subxid = in.u32();
  if (parallel_streaming_) {
    out_.commit_lsn = read_lsn(in);
    out_.time = read_time(in);
  }
}

}  // namespace tailrace::pgoutput
