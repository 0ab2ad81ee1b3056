#pragma once
// PostgresCopyWriter: the rows of a COPY at the source as the rows of a COPY at the target, byte for byte.

#include <functional>
#include <memory>
#include <string>

#include "pg/copy_in.h"
#include "target/target.h"

namespace tailrace::target::postgres {

class PostgresCopyWriter : public CopyWriter {
 public:
  struct Copy {
    std::string sql;
    std::string purpose;
    bool binary = false;
    bool frozen = false;     ///< in the transaction that the connection has open, and ends with it
    std::size_t cached = 0;  ///< so many bytes of it may stay in the shared buffers; only where it is frozen
    /// Told what the target said to rows that it refused; may throw something that says more.
    std::function<void(const Error&)> refused;
  };

  /// Nothing is asked of the connection before open(). `give_back` takes the connection when the copy is
  /// finished; after a failure it is not of use any more.
  PostgresCopyWriter(std::unique_ptr<pg::Connection> connection, Copy how,
                     std::function<void(std::unique_ptr<pg::Connection>)> give_back);

  void open();

  void row(std::string_view copy_row) override;
  Rows take(pg::CopyOut& stream) override;
  void settle() override;
  void finish() override;

 private:
  template <typename Work>
  void heeding(const Work& work);
  void send();
  void close();

  std::unique_ptr<pg::Connection> connection_;
  Copy how_;
  std::function<void(std::unique_ptr<pg::Connection>)> give_back_;  ///< goes before the connection
  std::string buffer_;
  std::size_t filled_ = 0;            ///< bytes of the table, about
  std::size_t filled_in_this_ = 0;    ///< by this statement
  std::unique_ptr<pg::CopyIn> copy_;  ///< goes before the connection
};

}  // namespace tailrace::target::postgres
