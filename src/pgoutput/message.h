#pragma once
// The messages of the logical replication stream, protocol versions 1 to 4 (PostgreSQL documentation:
// "Logical Replication Message Formats"). Views borrow the bytes that were decoded.

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/lsn.h"
#include "model/change_batch.h"
#include "model/relation.h"
#include "model/tuple.h"

namespace tailrace::pgoutput {

enum class MessageType : char {
  begin = 'B',
  commit = 'C',
  origin = 'O',
  relation = 'R',
  type = 'Y',
  insert = 'I',
  update = 'U',
  remove = 'D',
  truncate = 'T',
  message = 'M',
  stream_start = 'S',
  stream_stop = 'E',
  stream_commit = 'c',
  stream_abort = 'A',
  begin_prepare = 'b',
  prepare = 'P',
  commit_prepared = 'K',
  rollback_prepared = 'r',
  stream_prepare = 'p',
};

/// One decoded message; which fields count depends on `type`. Reused by the decoder from call to call.
struct Message {
  MessageType type = MessageType::begin;
  /// The (sub)transaction, inside a stream block only; else 0. For stream_*, prepares and begin: the
  /// transaction.
  Xid xid = 0;
  Xid subxid = 0;  ///< stream_abort

  // begin: commit_lsn, time. commit, stream_commit: commit_lsn, end_lsn, time.
  // begin_prepare, prepare, stream_prepare: commit_lsn is the prepare's, end_lsn, time, gid.
  // commit_prepared: commit_lsn, end_lsn, time, gid.
  // rollback_prepared: commit_lsn is the prepare's end, end_lsn the rollback's, time the rollback's, gid.
  Lsn commit_lsn;
  Lsn end_lsn;
  PgTimestamp time;
  std::string_view gid;
  bool first_segment = false;  ///< stream_start

  std::string_view name;    ///< origin: its name; type: its name; message: its prefix
  std::string_view schema;  ///< type
  Oid oid = 0;              ///< insert, update, remove: the relation; type: the type

  OldTuple old_kind = OldTuple::none;
  TupleData old_tuple;
  TupleData new_tuple;

  std::vector<Oid> truncated;  ///< truncate
  bool cascade = false;
  bool restart_identity = false;

  bool transactional = false;  ///< message
  Lsn message_lsn;             ///< message; origin: the position at the origin
  std::string_view content;    ///< message

  Relation relation;  ///< relation
};

}  // namespace tailrace::pgoutput
