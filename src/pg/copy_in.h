#pragma once
// CopyIn: COPY ... FROM STDIN (PostgreSQL documentation: "COPY", "Functions for Sending COPY Data"). What is
// not encrypted goes to the socket past libpq, which would copy it once more.

#include <cstdint>
#include <string>
#include <string_view>

#include "pg/connection.h"

namespace tailrace::pg {

/// The fixed beginning of COPY's binary format: signature, flags, length of the header's extension.
constexpr std::string_view copy_binary_header{"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", 19};
constexpr std::string_view copy_binary_trailer{"\xff\xff", 2};

/// Borrows the connection. Destroyed without finish(), it makes the statement fail: no row of it stays.
class CopyIn {
 public:
  /// `sql` is the COPY statement; `purpose` completes "while ..." in errors and must outlive the object.
  CopyIn(Connection& connection, const std::string& sql, std::string_view purpose);
  ~CopyIn();
  CopyIn(const CopyIn&) = delete;
  CopyIn& operator=(const CopyIn&) = delete;

  /// Any part of the stream; cheapest in pieces of some 16 kB. Blocks while the server does not keep up.
  void write(std::string_view bytes);
  /// The number of rows copied.
  std::int64_t finish();

 private:
  bool send(std::string_view bytes);
  bool wait_for_room();

  Connection& connection_;
  std::string_view purpose_;
  bool past_libpq_;
  bool open_ = true;
};

}  // namespace tailrace::pg
