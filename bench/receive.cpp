// receive MODE HOST PORT DATABASE SLOT PUBLICATION END_LSN [binary]
//
// Reads a slot until a transaction has ended at or after END_LSN, acknowledges nothing, and prints one JSON
// line. Options are those of `tailrace run`. MODE is
//   decode  what tailrace's reader does: ReplicationStream, TransactionAssembler, batches sealed (and dropped)
//   count   BareReader: the floor under every reader

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "bare_reader.h"
#include "source/replication_stream.h"
#include "source/transaction_assembler.h"

namespace tailrace::bench {
namespace {

// As in pipeline/reader.cpp.
constexpr std::size_t full_bytes = 2 << 20;
constexpr std::size_t part_bytes = 4 << 20;

struct Request {
  std::string mode;
  std::string host;
  int port = 0;
  std::string database;
  source::StreamOptions options;
  Lsn end;
};

Counts decode(const Request& request) {
  using Event = source::ReplicationStream::Event;
  auto conninfo = fmt::format("host={} port={} dbname={} user=postgres sslmode=disable", request.host,
                              request.port, request.database);
  source::ReplicationStream stream(pg::Connection::open(conninfo, {pg::Mode::replication, "bench"}),
                                   request.options);
  source::TransactionAssembler assembler({.spool_directory = "/tmp"});
  Counts counts;
  std::string_view payload;
  while (assembler.progress() < request.end) {
    switch (stream.next(payload)) {
      case Event::message: {
        ++counts.messages;
        counts.bytes += payload.size();
        if (assembler.add(payload) == source::TransactionAssembler::Then::replay) {
          while (assembler.replay()) {
            if (assembler.bytes() >= part_bytes) assembler.seal();
          }
        }
        std::size_t bytes = assembler.bytes();
        if (bytes < full_bytes || (assembler.in_transaction() && bytes < part_bytes)) break;
        assembler.seal();
        break;
      }
      case Event::keepalive: break;
      case Event::drained:
        ++counts.reads;
        stream.set_received(assembler.progress());
        stream.wait(std::chrono::milliseconds(100), source::ChangeStream::For::anything);
        break;
      case Event::cut:
      case Event::handed_over:
      case Event::ended: throw Error(Retry::fatal, "the server ended the stream");
    }
  }
  return counts;
}

Counts count(const Request& request) {
  BareReader reader(request.host, request.port, request.database);
  return reader.read(source::start_replication_command(request.options, 150000), request.end);
}

void print(const Counts& counts, double seconds) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto to_seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  fmt::print(R"({{"seconds": {:.3f}, "cpu": {:.3f}, "messages": {}, "bytes": {}, "reads": {}}})"
             "\n",
             seconds, to_seconds(usage.ru_utime) + to_seconds(usage.ru_stime), counts.messages, counts.bytes,
             counts.reads);
}

int run(const Request& request) {
  auto start = std::chrono::steady_clock::now();
  auto counts = request.mode == "count" ? count(request) : decode(request);
  print(counts, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return 0;
}

}  // namespace
}  // namespace tailrace::bench

int main(int count, char** words) {
  using namespace tailrace;
  if (count < 8) {
    std::fputs("usage: receive decode|count HOST PORT DATABASE SLOT PUBLICATION END_LSN [binary]\n", stderr);
    return 2;
  }
  try {
    bench::Request request{words[1], words[2], std::atoi(words[3]), words[4], {}, {}};
    request.options.slot = words[5];
    request.options.publications = {words[6]};
    request.options.binary = count > 8;
    request.options.streaming = true;
    request.end = Lsn::parse(words[7]).value();
    return bench::run(request);
  } catch (const std::exception& error) {
    fmt::print(stderr, "receive: {}\n", error.what());
    return 1;
  }
}
