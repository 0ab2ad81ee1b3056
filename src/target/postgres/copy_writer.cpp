#include "target/postgres/copy_writer.h"

namespace tailrace::target::postgres {
namespace {

constexpr std::size_t piece_bytes = 128 << 10;

}  // namespace

PostgresCopyWriter::PostgresCopyWriter(std::unique_ptr<pg::Connection> connection, const std::string& copy_sql,
                                       std::string purpose, bool binary,
                                       std::function<void(std::unique_ptr<pg::Connection>)> give_back)
    : connection_(std::move(connection)),
      purpose_(std::move(purpose)),
      binary_(binary),
      give_back_(std::move(give_back)),
      copy_(std::make_unique<pg::CopyIn>(*connection_, copy_sql, purpose_)) {
  buffer_.reserve(piece_bytes + 4096);
  if (binary_) buffer_ = pg::copy_binary_header;
}

void PostgresCopyWriter::row(std::string_view copy_row) {
  buffer_.append(copy_row);
  if (!binary_) buffer_.push_back('\n');
}

void PostgresCopyWriter::settle() {
  if (buffer_.size() < piece_bytes) return;
  copy_->write(buffer_);
  buffer_.clear();
}

void PostgresCopyWriter::finish() {
  if (binary_) buffer_.append(pg::copy_binary_trailer);
  if (!buffer_.empty()) copy_->write(buffer_);
  copy_->finish();
  copy_.reset();
  give_back_(std::move(connection_));
}

}  // namespace tailrace::target::postgres
