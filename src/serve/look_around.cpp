#include "serve/look_around.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "serve/status_json.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr auto patience = 2s;
constexpr auto patience_with_others = 800ms;
constexpr auto connect_again_after = 50ms;
constexpr std::size_t longest_answer = 64 << 20;

class Question {
 public:
  Question(const MirrorNote& note, Clock::time_point now) : note_(note) {
    bool others = note.owner != ::geteuid() && note.owner != 0;
    if (others) owner_ = note.owner;
    deadline_ = now + (others ? Clock::duration(patience_with_others) : Clock::duration(patience));
    connect();
  }

  bool over() const { return over_; }
  bool waits_for_answer() const { return !over_ && socket_.valid(); }
  int fd() const { return socket_.get(); }
  Clock::time_point deadline() const { return deadline_; }
  Look take() { return std::move(look_); }

  void go_on(bool readable, Clock::time_point now) {
    if (over_) return;
    if (!socket_.valid()) connect();
    if (readable) receive();
    if (!over_ && now >= deadline_) end(Look::Seen::silent);
  }

 private:
  void end(Look::Seen seen) {
    look_.seen = seen;
    over_ = true;
  }

  void connect() {
    int why = 0;
    socket_ = connect_at_once(note_.socket, owner_, why);
    if (socket_.valid()) {
      json request = {{"command", "status"}, {"name", note_.name}};
      send_all(socket_.get(), request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
               [] { return true; });
      return;
    }
    // A server whose queue is full may come to us yet.
    if (why == EAGAIN) return;
    bool nobody = why == ENOENT || why == ENOTDIR || why == ECONNREFUSED || why == EPERM || why == ENAMETOOLONG;
    end(nobody ? Look::Seen::nobody : Look::Seen::silent);
  }

  void receive() {
    bool more = receive_some(socket_.get(), answer_);
    if (answer_.contains('\n')) return read();
    if (!more || answer_.size() > longest_answer) end(Look::Seen::silent);
  }

  void read() {
    auto value = json::parse(answer_, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object() || !value.contains("ok")) return end(Look::Seen::silent);
    // It is another mirror's by now.
    if (value["ok"] != true) return end(Look::Seen::nobody);
    try {
      look_.status = status_from_json(value.at("status").dump());
      end(Look::Seen::runs);
    } catch (const std::exception&) {
      end(Look::Seen::silent);
    }
  }

  const MirrorNote& note_;
  std::optional<uid_t> owner_;
  Clock::time_point deadline_;
  Descriptor socket_;
  std::string answer_;
  Look look_;
  bool over_ = false;
};

}  // namespace

std::vector<Look> look_around(const std::vector<MirrorNote>& notes) {
  std::vector<Question> questions;
  questions.reserve(notes.size());
  for (const auto& note : notes) questions.emplace_back(note, Clock::now());
  while (std::ranges::any_of(questions, [](const Question& each) { return !each.over(); })) {
    std::vector<pollfd> entries;
    auto wait = Clock::duration(patience);
    auto now = Clock::now();
    for (const auto& each : questions) {
      if (each.over()) continue;
      entries.push_back({each.waits_for_answer() ? each.fd() : -1, POLLIN, 0});
      wait = std::min(wait, each.deadline() - now);
      if (!each.waits_for_answer()) wait = std::min(wait, Clock::duration(connect_again_after));
    }
    auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    ::poll(entries.data(), entries.size(), static_cast<int>(std::max<std::int64_t>(milliseconds, 0)));
    now = Clock::now();
    auto entry = entries.begin();
    for (auto& each : questions)
      if (!each.over()) each.go_on((entry++)->revents != 0, now);
  }
  std::vector<Look> out;
  out.reserve(questions.size());
  for (auto& each : questions) out.push_back(each.take());
  return out;
}

}  // namespace tailrace::serve
