#pragma once
// Pipeline: many statements without waiting for each one's answer (PostgreSQL documentation: "Pipeline Mode").

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pg/connection.h"

namespace tailrace::pg {

/// A value as it travels; `data` null is NULL. Borrowed until the call that takes it returns.
struct Parameter {
  const char* data = nullptr;
  int size = 0;
  bool binary = false;
};

/// Borrows the connection, which is of no other use until the Pipeline is gone. What is sent runs in order;
/// after a failure nothing more runs until the next wait().
class Pipeline {
 public:
  explicit Pipeline(Connection& connection);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// What came of the n-th statement since the last wait() (counted from 0), in order.
  using Visitor = std::function<void(std::size_t statement, const Result& result)>;

  void prepare(const std::string& name, const std::string& sql);
  void execute(const std::string& name, const std::vector<Parameter>& parameters);
  void query(const std::string& sql);
  std::size_t sent() const { return sent_; }

  /// Sends what is buffered and waits for everything's answer. Throws the first failure, as Failed.
  void wait(std::string_view purpose, const Visitor& visit = {});

  /// Which statement failed, and the server's words.
  struct Failed {
    std::size_t statement = 0;
    Error error;
  };

 private:
  void check_sent(bool sent);
  void leave() noexcept;

  Connection& connection_;
  std::size_t sent_ = 0;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
};

}  // namespace tailrace::pg
