#pragma once
#include <cstddef>
namespace tailrace::pg {
class ReadPacer {
 public:
  ReadPacer(int socket, bool unix_socket);
  void pause();
  void got(std::size_t bytes) { bytes_ += bytes; }

 private:
  int socket_;
  bool unix_socket_;
  std::size_t bytes_ = 0;
};
}  // namespace tailrace::pg
