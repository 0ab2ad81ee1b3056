#include "target/postgres/copy_writer.h"

namespace tailrace::target::postgres {
namespace {

constexpr std::size_t piece_bytes = 128 << 10;

const char* options_of(const PostgresCopyWriter::Copy& how) {
  if (how.frozen) return how.binary ? " (format binary, freeze)" : " (freeze)";
  return how.binary ? " (format binary)" : "";
}

}  // namespace

PostgresCopyWriter::PostgresCopyWriter(std::unique_ptr<pg::Connection> connection, Copy how,
                                       std::function<void(std::unique_ptr<pg::Connection>)> give_back)
    : connection_(std::move(connection)),
      how_(std::move(how)),
      give_back_(std::move(give_back)),
      copy_(std::make_unique<pg::CopyIn>(*connection_, how_.sql + options_of(how_), how_.purpose)) {
  buffer_.reserve(piece_bytes + 4096);
  if (how_.binary) buffer_ = pg::copy_binary_header;
}

void PostgresCopyWriter::row(std::string_view copy_row) {
  buffer_.append(copy_row);
  if (!how_.binary) buffer_.push_back('\n');
}

void PostgresCopyWriter::settle() {
  if (buffer_.size() < piece_bytes) return;
  copy_->write(buffer_);
  buffer_.clear();
}

void PostgresCopyWriter::finish() {
  if (how_.binary) buffer_.append(pg::copy_binary_trailer);
  if (!buffer_.empty()) copy_->write(buffer_);
  copy_->finish();
  copy_.reset();
  if (how_.frozen) connection_->query("commit", how_.purpose);
  give_back_(std::move(connection_));
}

}  // namespace tailrace::target::postgres
