#pragma once
// BareReader: the least that a reader of a logical replication stream can do. It speaks just enough of the
// frontend protocol to start the stream (trust authentication, no TLS), reads into one large buffer, steps from
// message to message and looks only at commits, to know where to stop. Nothing can be faster but a better
// rhythm of reading, and that it shares with tailrace (pg::ReadPacer).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/lsn.h"
#include "pg/read_pacer.h"

namespace tailrace::bench {

struct Counts {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t reads = 0;
};

class BareReader {
 public:
  /// `host`: an IPv4 address, or the directory of a Unix socket.
  BareReader(const std::string& host, int port, const std::string& database);
  ~BareReader();
  BareReader(const BareReader&) = delete;
  BareReader& operator=(const BareReader&) = delete;

  /// Sends START_REPLICATION and reads until a transaction has ended at or after `end`.
  Counts read(const std::string& start_replication, Lsn end);

 private:
  bool is_unix() const { return host_.starts_with('/'); }
  void connect();
  void send(char type, std::string_view body);
  void send_status();
  void await(char type);
  bool wait_readable(int milliseconds) const;
  std::size_t receive();
  /// The next whole message in the buffer, or false.
  bool take(char& type, std::string_view& body);

  std::string host_;
  int port_;
  std::string database_;
  int socket_ = -1;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::chrono::steady_clock::time_point last_status_;
};

}  // namespace tailrace::bench
