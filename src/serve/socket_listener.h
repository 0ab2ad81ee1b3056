#pragma once
// SocketListener: accepts connections and answers each on a thread of its own. What cannot be had for one who
// asks (a descriptor, a thread, memory) costs them the answer, and the process nothing. Internal to this room.

#include <functional>
#include <list>
#include <memory>
#include <thread>

#include "base/stop.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {

/// How a listener treats those who connect.
struct ListenerLimits {
  std::size_t connections = 16;  ///< answered at once
  /// Of as many, the one who came first is cut for one more: whoever asks slowly, or never, must not keep out
  /// those who ask properly. Else the one more is turned away.
  bool cuts_first = false;
  int niceness = 0;  ///< of its threads; above 0 they give way to others
};

class SocketListener {
 public:
  /// On a thread of its own for each connection; what it throws ends the answer. `closing`: requested by
  /// close().
  using Answer = std::function<void(int socket, const StopSignal& closing)>;

  /// `socket`: which listens already. `admit`: on the accepting thread; false turns one away. All is
  /// called until close() has returned.
  SocketListener(Descriptor socket, ListenerLimits limits, std::function<bool(int socket)> admit,
                 Answer answer);
  ~SocketListener();
  SocketListener(const SocketListener&) = delete;
  SocketListener& operator=(const SocketListener&) = delete;

  /// Takes nobody any more. Those who are being answered are still there.
  void close();
  /// After close(): shuts their sockets down, `how` as shutdown(2) takes it, and waits for their answers' ends.
  void end_answers(int how);

 private:
  struct Session;

  void accept_loop();
  void accept_one();

  Descriptor socket_;
  ListenerLimits limits_;
  std::function<bool(int)> admit_;
  Answer answer_;
  Descriptor wake_;
  StopSignal closing_;
  std::list<std::unique_ptr<Session>> sessions_;  ///< touched by the accepting thread, and after its end
  std::thread thread_;
};

}  // namespace tailrace::serve
