#include "serve/control_client.h"

#include <fmt/format.h>

#include <exception>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "serve/status_json.h"
#include "serve/unix_socket.h"

namespace tailrace::serve {
namespace {

/// The part of a good answer under `key`, as JSON; the server's own words as an Error otherwise.
std::string part_of(const std::string& response, const char* key) {
  auto value = nlohmann::json::parse(response, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object() || !value.contains("ok"))
    throw Error(Retry::fatal, "the running tailrace gave an answer that this version does not understand",
                "Use the same version for both");
  if (!value["ok"].get<bool>())
    throw Error(Retry::needs_operator,
                fmt::format("the running tailrace refused: {}", value.value("error", "")));
  return value.contains(key) ? value[key].dump() : "";
}

}  // namespace

Descriptor ControlClient::connect(std::string& path) const {
  std::exception_ptr failure;
  auto try_place = [&](const std::string& place, std::optional<uid_t> another) {
    try {
      path = place;
      return connect_unix(place, places_.named, another);
    } catch (const Error&) {
      // Who sits in one place must not hide the right one in another.
      if (!failure) failure = std::current_exception();
      return Descriptor();
    }
  };
  for (const std::string& place : places_.paths)
    if (Descriptor socket = try_place(place, std::nullopt); socket.valid()) return socket;
  for (const auto& place : places_.of_others)
    if (Descriptor socket = try_place(place.path, place.owner); socket.valid()) return socket;
  if (failure) std::rethrow_exception(failure);
  return Descriptor();
}

std::optional<std::string> ControlClient::ask(const std::string& request, const StopSignal* stop) const {
  std::string path;
  Descriptor socket = connect(path);
  if (!socket.valid()) return std::nullopt;
  std::string response;
  auto whole = nlohmann::json::parse(request);
  if (!name_.empty()) whole["name"] = name_;
  bool sent = send_all(socket.get(), whole.dump() + "\n");
  auto deadline = std::chrono::steady_clock::now() + patience_;
  while (sent && !response.contains('\n')) {
    if (wait_readable(socket.get(), 200)) {
      if (!receive_some(socket.get(), response)) break;
    } else if (stop != nullptr && stop->requested()) {
      throw Error(Retry::needs_operator, "it was stopped before the running tailrace had answered");
    } else if (stop == nullptr && std::chrono::steady_clock::now() > deadline) {
      throw Error(Retry::transient, fmt::format("no answer from the tailrace at {}", path),
                  "It may be very busy or stuck; its log says more");
    }
  }
  if (!response.contains('\n'))
    throw Error(Retry::transient, fmt::format("the tailrace at {} went away before it answered", path));
  return response;
}

bool ControlClient::running() const {
  std::string path;
  return connect(path).valid();
}

std::optional<std::string> ControlClient::status_json() const {
  auto response = ask(R"({"command":"status"})", nullptr);
  if (!response) return std::nullopt;
  return part_of(*response, "status");
}

std::optional<pipeline::Status> ControlClient::status() const {
  auto json = status_json();
  if (!json) return std::nullopt;
  return status_from_json(*json);
}

std::optional<pipeline::VerifyReport> ControlClient::verify(const pipeline::VerifyRequest& request,
                                                            const StopSignal& stop) const {
  auto response = ask(to_json(request), &stop);
  if (!response) return std::nullopt;
  return verify_from_json(part_of(*response, "report"));
}

std::optional<pipeline::RefreshReport> ControlClient::refresh(const StopSignal& stop) const {
  auto response = ask(R"({"command":"refresh"})", &stop);
  if (!response) return std::nullopt;
  return refresh_from_json(part_of(*response, "refresh"));
}

bool ControlClient::skip(Lsn commit_lsn, bool forget, const StopSignal& stop) const {
  nlohmann::json request{{"command", "skip"}, {"lsn", commit_lsn.str()}};
  // One of an earlier version would take it for a note.
  if (forget) request["forget"] = true;
  auto response = ask(request.dump(), &stop);
  if (!response) return false;
  part_of(*response, "");
  return true;
}

std::optional<pipeline::ReplayReport> ControlClient::replay(const pipeline::ReplayRequest& request,
                                                            const StopSignal& stop) const {
  auto response =
      ask(nlohmann::json{{"command", "replay"}, {"table", request.table}, {"discard", request.discard}}.dump(),
          &stop);
  if (!response) return std::nullopt;
  return replay_from_json(part_of(*response, "report"));
}

bool ControlClient::stop() const {
  auto response = ask(R"({"command":"stop"})", nullptr);
  if (!response) return false;
  part_of(*response, "");
  return true;
}

}  // namespace tailrace::serve
