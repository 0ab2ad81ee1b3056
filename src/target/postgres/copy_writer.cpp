#include "target/postgres/copy_writer.h"

namespace tailrace::target::postgres {
namespace {

// The server goes over a piece three times: a much larger one has left its nearest cache by then, and each much
// smaller one costs a call.
constexpr std::size_t piece_bytes = 16 << 10;
// Then the caller gets to see whether it is to leave.
constexpr std::int64_t most_at_once = 1 << 20;
// A COPY goes round in 16 MB of the shared buffers at most (buffer access strategy BULKWRITE), and each round
// writes those out, from where the making of the key has to read them again. A statement that ends before
// leaves its pages where they are.
constexpr std::size_t renewed_after = 12 << 20;
// What a row is wider there than on its way: its header and its place on the page.
constexpr std::size_t row_overhead = 28;

const char* options_of(const PostgresCopyWriter::Copy& how) {
  if (how.frozen) return how.binary ? " (format binary, freeze)" : " (freeze)";
  return how.binary ? " (format binary)" : "";
}

}  // namespace

PostgresCopyWriter::PostgresCopyWriter(std::unique_ptr<pg::Connection> connection, Copy how,
                                       std::function<void(std::unique_ptr<pg::Connection>)> give_back)
    : connection_(std::move(connection)), how_(std::move(how)), give_back_(std::move(give_back)) {}

void PostgresCopyWriter::open() {
  buffer_.reserve(piece_bytes + 4096);
  copy_ = std::make_unique<pg::CopyIn>(*connection_, how_.sql + options_of(how_), how_.purpose);
  filled_in_this_ = 0;
  if (how_.binary) buffer_ = pg::copy_binary_header;
}

void PostgresCopyWriter::row(std::string_view copy_row) {
  buffer_.append(copy_row);
  filled_ += copy_row.size() + row_overhead;
  filled_in_this_ += copy_row.size() + row_overhead;
  if (!how_.binary) buffer_.push_back('\n');
}

CopyWriter::Rows PostgresCopyWriter::take(pg::CopyOut& stream) {
  Rows out;
  while (out.bytes < most_at_once) {
    std::size_t before = buffer_.size();
    auto last = how_.binary ? pg::copy_binary_trailer : std::string_view();
    std::size_t rows = stream.append_rows(buffer_, piece_bytes, last);
    if (rows == 0) return out;
    std::size_t bytes = buffer_.size() - before;
    out.count += static_cast<std::int64_t>(rows);
    out.bytes += static_cast<std::int64_t>(bytes);
    filled_ += bytes + rows * row_overhead;
    filled_in_this_ += bytes + rows * row_overhead;
    settle();
  }
  return out;
}

void PostgresCopyWriter::settle() {
  if (buffer_.size() < piece_bytes) return;
  send();
  if (filled_in_this_ < renewed_after || filled_ >= how_.cached) return;
  close();
  open();
}

template <typename Work>
void PostgresCopyWriter::heeding(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    how_.refused(error);
    throw;
  }
}

void PostgresCopyWriter::send() {
  heeding([&] { copy_->write(buffer_); });
  buffer_.clear();
}

void PostgresCopyWriter::close() {
  if (how_.binary) buffer_.append(pg::copy_binary_trailer);
  if (!buffer_.empty()) send();
  heeding([&] { copy_->finish(); });
  copy_.reset();
}

void PostgresCopyWriter::finish() {
  close();
  if (how_.frozen) connection_->query("commit", how_.purpose);
  give_back_(std::move(connection_));
}

}  // namespace tailrace::target::postgres
