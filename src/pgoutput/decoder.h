#pragma once
// Decoder: bytes of one pgoutput message -> Message. Pure: no I/O, no catalog. Malformed input throws
// Error(fatal); nothing is guessed. Not thread-safe.

#include <string_view>

#include "base/byte_reader.h"
#include "pgoutput/message.h"

namespace tailrace::pgoutput {

class Decoder {
 public:
  /// `parallel_streaming`: the stream was started with streaming=parallel, whose aborts carry an LSN and time.
  explicit Decoder(bool parallel_streaming = false) : parallel_streaming_(parallel_streaming) {}

  /// Decodes one whole message. The result is valid until the next call, its views as long as `bytes`.
  const Message& decode(std::string_view bytes);

  /// Between stream_start and stream_stop every message carries its (sub)transaction's xid.
  bool in_stream() const { return in_stream_; }
  /// For messages that were spooled out of a stream block and are read again outside of one.
  void set_in_stream(bool in_stream) { in_stream_ = in_stream; }

 private:
  void read_transaction_end(ByteReader& in);
  void read_prepare(ByteReader& in);
  void read_relation(ByteReader& in);
  void read_row(ByteReader& in);
  void read_truncate(ByteReader& in);
  void read_logical_message(ByteReader& in);
  void read_stream_abort(ByteReader& in);

  bool parallel_streaming_;
  bool in_stream_ = false;
  Message out_;
};

/// Reads and validates one TupleData, so that walking it later needs no checks.
TupleData read_tuple(ByteReader& in);

}  // namespace tailrace::pgoutput
