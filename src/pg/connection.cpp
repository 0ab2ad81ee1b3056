#include "pg/connection.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <limits>

#include "base/errand.h"
#include "base/pulse.h"
#include "pg/connect_failure.h"
#include "pg/process_stop.h"
#include "pg/session_settings.h"
#include "pg/socket.h"

namespace tailrace::pg {

using namespace std::chrono_literals;

namespace {

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> prefixes) {
  for (auto prefix : prefixes) {
    if (text.starts_with(prefix)) return true;
  }
  return false;
}

bool is_race_of_catalogs(std::string_view sqlstate, std::string_view message) {
  return sqlstate == "XX000" && starts_with_any(message, {"cache lookup failed for ", "tuple concurrently ",
                                                          "could not open relation with OID "});
}

Retry classify(std::string_view sqlstate, std::string_view message) {
  // 08 connection, 53 resources, 57014 cancelled by somebody, 57P0x shutdown or start-up, 40 rollback for
  // concurrency, 55006 in use, 55P03 a lock not had in time, 58030 I/O, 25006 and the like a standby, which is
  // promoted or left for another host: the same attempt may succeed later. So it may where the server had to
  // look for something in its catalogs that somebody drops or alters at this very moment.
  if (starts_with_any(sqlstate, {"08", "53", "57014", "57P01", "57P02", "57P03", "57P05", "40001", "40P01",
                                 "55006", "55P03", "58030", "25006"}) ||
      message.contains("while in recovery") || message.contains("recovery is in progress") ||
      message.contains("during recovery") || is_race_of_catalogs(sqlstate, message)) {
    return Retry::transient;
  }
  return Retry::needs_operator;
}

std::string trim(std::string_view text) {
  std::string out(text);
  // libpq's guess, which stands on a line of its own behind each address that did not answer; the remedy says
  // what to look at.
  constexpr std::string_view guess = "\n\tIs the server running";
  for (auto at = out.find(guess); at != std::string::npos; at = out.find(guess, at))
    out.erase(at, out.find('\n', at + guess.size()) - at);
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  for (std::size_t at = out.find('\n'); at != std::string::npos; at = out.find('\n', at))
    out.replace(at, 1, "; ");
  return out;
}

using Options = std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)>;

const char* find_option(const PQconninfoOption* options, std::string_view keyword) {
  for (const auto* option = options; option->keyword != nullptr; ++option) {
    if (keyword == option->keyword && option->val != nullptr && *option->val != '\0') return option->val;
  }
  return nullptr;
}

/// "password = ..." of a keyword string that is taken for a name.
bool holds_password(std::string_view text) {
  constexpr std::string_view keyword = "password";
  for (auto at = text.find(keyword); at != std::string_view::npos; at = text.find(keyword, at + 1)) {
    auto next = text.find_first_not_of(" \t", at + keyword.size());
    if (next != std::string_view::npos && text[next] == '=') return true;
  }
  return false;
}

/// A part of a password stands where the host, the port or the database should: it holds a character that ends
/// it in a URL.
bool is_misread(const PQconninfoOption* options) {
  auto value = [&](std::string_view keyword) {
    const char* found = find_option(options, keyword);
    return std::string_view(found != nullptr ? found : "");
  };
  // A socket in the abstract namespace begins with an @.
  return value("host").find('@', 1) != std::string_view::npos ||
         value("port").find_first_not_of("0123456789,") != std::string_view::npos ||
         value("dbname").contains("://") || holds_password(value("dbname"));
}

constexpr const char* unreadable_string = "the connection string is not one that libpq can read";
constexpr const char* how_to_write =
    "A password in a URL needs its @ : / ? # % written as %40 %3A %2F %3F %23 %25. Write it as "
    "postgres://user@host:5432/database or as host=... dbname=... user=...";

Options parse(const std::string& conninfo) {
  // libpq quotes the string it could not read, password and all; so its message is not repeated.
  Options options(PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  if (!options || is_misread(options.get()))
    throw Error(Retry::needs_operator, unreadable_string, how_to_write);
  return options;
}

/// Poolers know few startup parameters, and refuse the rest by name.
bool refuses_options(pg_conn* connection) {
  if (PQstatus(connection) == CONNECTION_OK) return false;
  std::string_view message = PQerrorMessage(connection);
  return message.contains("startup parameter") || message.contains("command-line options") ||
         message.contains("startup options");
}

std::string text_of(const char* maybe) {
  return maybe != nullptr ? maybe : "";
}

/// How long a stop has been seen by one wait.
class StopWatch {
 public:
  /// `moment`: for a server that answers all the same; what is finished after a stop may need it.
  bool over(std::chrono::milliseconds moment) {
    if (!ending()) return false;
    auto now = std::chrono::steady_clock::now();
    seen_ = std::min(seen_, now);
    return now - seen_ >= moment;
  }

 private:
  std::chrono::steady_clock::time_point seen_ = std::chrono::steady_clock::time_point::max();
};

/// Nobody waits any more for what it does.
void give_up(const Connection& connection) {
  connection.cancel_soon();
  // libpq itself takes no other query while one is not answered; but of a copy that CopyOut began past it, it
  // knows nothing, and would take the rest of that for the answer to the next.
  ::shutdown(connection.socket(), SHUT_RDWR);
}

/// What a connection needs that was asked for and may be waited for in vain.
struct Attempt {
  std::vector<const char*> keywords;
  std::vector<std::optional<std::string>> values;
  std::atomic<pg_conn*> made{nullptr};

  void connect() {
    std::vector<const char*> pointers;
    for (const auto& value : values) pointers.push_back(value ? value->c_str() : nullptr);
    made = PQconnectdbParams(keywords.data(), pointers.data(), /*expand_dbname=*/1);
  }
  ~Attempt() { PQfinish(made); }
};

/// Null when a stop was requested and the server does not come. libpq looks up names by calls that cannot be
/// interrupted, and keeps its time for each address alone: so it connects on another thread.
pg_conn* connect_or_leave(const char* const* keywords, const char* const* values) {
  auto attempt = std::make_shared<Attempt>();
  for (std::size_t i = 0; keywords[i] != nullptr; ++i) {
    attempt->keywords.push_back(keywords[i]);
    attempt->values.push_back(values[i] != nullptr ? std::optional<std::string>(values[i]) : std::nullopt);
  }
  attempt->keywords.push_back(nullptr);
  attempt->values.emplace_back(std::nullopt);
  auto errand = Errand::begin([attempt] { attempt->connect(); });
  if (!errand) {
    attempt->connect();
    return attempt->made.exchange(nullptr);
  }
  constexpr auto nearly_there = 1s;
  StopWatch stop;
  Waiting waiting;
  while (!errand->wait_for(100ms)) {
    if (stop.over(nearly_there)) return nullptr;
  }
  return attempt->made.exchange(nullptr);
}

std::vector<const char*> pointers_to(const std::vector<std::optional<std::string>>& parameters) {
  std::vector<const char*> out;
  out.reserve(parameters.size());
  for (const auto& parameter : parameters) out.push_back(parameter ? parameter->c_str() : nullptr);
  return out;
}

Error unreadable(std::string_view text, const char* what) {
  return {Retry::fatal, fmt::format("a server said '{}' where {} was expected", text, what)};
}

}  // namespace

void Result::free(pg_result* raw) {
  PQclear(raw);
}
int Result::rows() const {
  return PQntuples(raw_.get());
}
int Result::columns() const {
  return PQnfields(raw_.get());
}
bool Result::is_null(int row, int column) const {
  return PQgetisnull(raw_.get(), row, column) != 0;
}

std::string_view Result::get(int row, int column) const {
  return {PQgetvalue(raw_.get(), row, column), static_cast<std::size_t>(PQgetlength(raw_.get(), row, column))};
}

std::int64_t Result::i64(int row, int column) const {
  auto text = get(row, column);
  std::int64_t value = 0;
  if (text.empty()) return value;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) throw unreadable(text, "a number");
  return value;
}

Lsn Result::lsn(int row, int column) const {
  auto text = get(row, column);
  if (text.empty()) return {};
  auto out = Lsn::parse(text);
  if (!out) throw unreadable(text, "a position");
  return *out;
}

std::int64_t Result::affected() const {
  std::string_view text = PQcmdTuples(raw_.get());
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Connection Connection::open(const std::string& conninfo, const ConnectOptions& options) {
  parse(conninfo);
  std::string timeout = std::to_string(options.connect_timeout_seconds);
  // Defaults come first, so that the user's own string wins; what must hold comes after it.
  auto connect = [&](const std::string& server_options) {
    const char* keywords[] = {"connect_timeout",
                              "keepalives_idle",
                              "keepalives_interval",
                              "keepalives_count",
                              "tcp_user_timeout",
                              "dbname",
                              "application_name",
                              "client_encoding",
                              "options",
                              options.mode == Mode::replication ? "replication" : nullptr,
                              nullptr};
    const char* values[] = {timeout.c_str(),
                            "30",
                            "10",
                            "3",
                            "60000",
                            conninfo.c_str(),
                            options.application_name.c_str(),
                            "UTF8",
                            server_options.c_str(),
                            "database",
                            nullptr};
    pg_conn* made = connect_or_leave(keywords, values);
    if (made == nullptr)
      throw Error(Retry::transient, fmt::format("cannot connect to {}: a stop was requested before it answered",
                                                redact(conninfo)));
    return Connection(made);
  };
  std::string own_options = server_options_of(conninfo);
  Connection connection = connect(with_pinned_start(own_options));
  if (refuses_options(connection.raw_.get())) connection = connect(own_options);
  pg_conn* raw = connection.raw_.get();
  if (PQstatus(raw) != CONNECTION_OK) {
    std::string message = trim(PQerrorMessage(raw));
    throw Error(connect_may_succeed_later(message) ? Retry::transient : Retry::needs_operator,
                fmt::format("cannot connect to {}: {}", redact(conninfo), message),
                connect_remedy(message, {text_of(PQuser(raw)), text_of(PQdb(raw))}));
  }
  PQsetNoticeProcessor(raw, [](void*, const char*) {}, nullptr);
  // A line that dies now must not keep us, whatever its owner has patience for.
  connection.set_patience(std::chrono::seconds(std::max(options.connect_timeout_seconds, 2)));
  connection.query(pin_session(connection.server_version(), choose_role(own_options)),
                   "pinning the session's settings");
  // Nothing is known of its bytes, so the server could not translate them, and would end what asks it to.
  if (connection.raw_text())
    connection.query("set client_encoding = 'SQL_ASCII'", "asking for bytes as they are");
  connection.set_patience({});
  return connection;
}

bool Connection::raw_text() const {
  const char* encoding = PQparameterStatus(raw_.get(), "server_encoding");
  return encoding != nullptr && std::string_view(encoding) == "SQL_ASCII";
}

void Connection::finish(pg_conn* raw) {
  PQfinish(raw);
}

Result Connection::query(const std::string& sql, std::string_view purpose) {
  return wait_for_result(PQsendQuery(raw_.get(), sql.c_str()) == 1, purpose);
}

Result Connection::query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters,
                         std::string_view purpose) {
  auto values = pointers_to(parameters);
  bool sent = PQsendQueryParams(raw_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                                values.data(), nullptr, nullptr, 0) == 1;
  return wait_for_result(sent, purpose);
}

Result Connection::query_prepared(const std::string& sql,
                                  const std::vector<std::optional<std::string>>& parameters,
                                  std::string_view purpose) {
  auto found = prepared_.find(sql);
  if (found == prepared_.end()) {
    // Other names than those that others prepare here.
    auto name = fmt::format("q{}", prepared_.size());
    wait_for_result(PQsendPrepare(raw_.get(), name.c_str(), sql.c_str(), 0, nullptr) == 1, purpose);
    found = prepared_.emplace(sql, std::move(name)).first;
  }
  auto values = pointers_to(parameters);
  bool sent = PQsendQueryPrepared(raw_.get(), found->second.c_str(), static_cast<int>(values.size()),
                                  values.data(), nullptr, nullptr, 0) == 1;
  return wait_for_result(sent, purpose);
}

void Connection::deallocate_all(std::string_view purpose) {
  query("deallocate all", purpose);
  prepared_.clear();
}

Result Connection::query_binary(const std::string& sql, std::string_view parameter, std::string_view purpose) {
  const char* value = parameter.data();
  int length = static_cast<int>(parameter.size());
  int binary = 1;
  bool sent = PQsendQueryParams(raw_.get(), sql.c_str(), 1, nullptr, &value, &length, &binary, 0) == 1;
  return wait_for_result(sent, purpose);
}

Result Connection::wait_for_result(bool sent, std::string_view purpose) {
  if (!sent) throw make_error(raw_.get(), nullptr, purpose);
  Result last(nullptr);
  std::size_t bytes = 0;
  for (;;) {
    wait_until_answered(bytes, purpose);
    pg_result* next = PQgetResult(raw_.get());
    if (next == nullptr) return check(std::move(last), purpose);
    last = Result(next);
    auto status = PQresultStatus(next);
    if (status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) return last;
  }
}

void Connection::wait_until_answered(std::size_t& bytes, std::string_view purpose) {
  wait_while(
      [&] { return PQisBusy(raw_.get()) != 0; },
      [&] {
        bytes += readable_bytes(socket());
        if (bytes > largest_answer())
          throw Error(
              Retry::needs_operator,
              fmt::format("the server's answer is larger than {} MB, a quarter of the memory limit, while "
                          "{}",
                          largest_answer() >> 20, purpose),
              "Raise limits.memory (--memory) if the source has as many tables as that");
        if (PQconsumeInput(raw_.get()) == 0) throw make_error(raw_.get(), nullptr, purpose);
      },
      purpose);
}

void Connection::wait_while(const std::function<bool()>& while_this, const std::function<void()>& read,
                            std::string_view purpose) {
  constexpr auto look_up_every = 100ms;
  // Longer than an Interrupter lets the target finish what it does.
  constexpr auto last_moment = 3s;
  auto since = std::chrono::steady_clock::now();
  StopWatch stop;
  Waiting waiting;
  while (while_this()) {
    pollfd descriptor{socket(), POLLIN, 0};
    bool said = poll(&descriptor, 1, static_cast<int>(look_up_every.count())) > 0;
    if (said) read();
    if (stop.over(last_moment) && while_this()) {
      give_up(*this);
      throw Error(
          Retry::transient,
          fmt::format("a stop was requested, and there was no answer from the server while {}", purpose));
    }
    if (said) continue;
    if (leaves()) {
      cancel_soon();
      throw StopRequested();
    }
    if (patience_.count() > 0 && std::chrono::steady_clock::now() - since >= patience_) {
      give_up(*this);
      throw Error(
          Retry::transient,
          fmt::format("no answer from the server for {} s while {}", patience_.count() / 1000, purpose),
          "The network lost it, or it waits for somebody's lock there, as pg_catalog.pg_stat_activity says");
    }
  }
}

std::optional<Errand> Connection::begin_cancel() const noexcept {
  try {
    std::shared_ptr<PGcancel> handle(PQgetCancel(raw_.get()), &PQfreeCancel);
    if (!handle) return std::nullopt;
    // PQcancel waits for ever for a server, a pooler or a firewall that swallows what it sends.
    return Errand::begin([handle] {
      std::array<char, 256> message{};
      PQcancel(handle.get(), message.data(), static_cast<int>(message.size()));
    });
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void Connection::cancel_or_cut() const noexcept {
  constexpr auto closely = 3s;
  constexpr auto patience = 10s;
  auto now = std::chrono::steady_clock::now();
  std::lock_guard lock(cancels_->mutex);
  if (now - std::exchange(cancels_->last, now) > closely) cancels_->first = now;
  if (now - cancels_->first >= patience) {
    ::shutdown(socket(), SHUT_RDWR);
  } else {
    begin_cancel();
  }
}

void Connection::cancel_soon() const noexcept {
  if (auto errand = begin_cancel()) errand->wait_for(1s);
}

void Connection::notice_loss(std::string_view purpose) {
  pollfd descriptor{socket(), POLLIN, 0};
  if (poll(&descriptor, 1, 0) <= 0) return;
  // Else notices and changed parameters, of which libpq takes care.
  if (PQconsumeInput(raw_.get()) == 0) throw make_error(raw_.get(), nullptr, purpose);
}

Result Connection::check(Result result, std::string_view purpose) {
  switch (PQresultStatus(result.raw())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_OUT:
    case PGRES_COPY_IN:
    case PGRES_COPY_BOTH: return result;
    default: throw make_error(raw_.get(), result.raw(), purpose);
  }
}

int Connection::server_version() const {
  return PQserverVersion(raw_.get());
}
int Connection::backend_pid() const {
  return PQbackendPID(raw_.get());
}
int Connection::socket() const {
  return PQsocket(raw_.get());
}

bool Connection::is_unix_socket() const {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  return getsockname(socket(), reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
         address.ss_family == AF_UNIX;
}

bool Connection::is_near() const {
  return pg::is_near(socket());
}

namespace {

std::atomic<std::size_t> largest{std::numeric_limits<std::size_t>::max()};

}  // namespace

void set_largest_answer(std::size_t bytes) {
  largest = bytes;
}

std::size_t largest_answer() {
  return largest.load(std::memory_order_relaxed);
}

std::string redact(const std::string& conninfo) {
  Options options(PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  if (!options || is_misread(options.get())) return "(unreadable connection string)";
  auto value = [&](std::string_view keyword, const char* otherwise) {
    const char* found = find_option(options.get(), keyword);
    return std::string(found != nullptr ? found : otherwise);
  };
  std::string user = value("user", "");
  std::string host = value("host", value("hostaddr", "").c_str());
  std::string port = value("port", "");
  std::string database = value("dbname", user.c_str());
  // The end of a password that was not written as a URL wants it.
  if (auto at = database.rfind('@'); at != std::string::npos) database.erase(0, at + 1);
  return fmt::format("postgres://{}{}{}{}/{}", user, user.empty() ? "" : "@", host,
                     port.empty() ? "" : ":" + port, database);
}

std::string conninfo_problem(const std::string& conninfo) {
  Options options(PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  if (!options || is_misread(options.get())) return fmt::format("{}. {}", unreadable_string, how_to_write);
  // The rest is judged when a connection begins: one to a socket that cannot be, which fails at once. No
  // password is looked for, so that nothing is said of a password file twice.
  const char* keywords[] = {"dbname", "host", "hostaddr", "port", "password", nullptr};
  const char* values[] = {conninfo.c_str(), "/dev/null", "", "5432", "none", nullptr};
  std::unique_ptr<pg_conn, void (*)(pg_conn*)> tried(
      PQconnectStartParams(keywords, values, /*expand_dbname=*/1), &PQfinish);
  if (!tried || PQstatus(tried.get()) != CONNECTION_BAD) return "";
  std::string message = trim(PQerrorMessage(tried.get()));
  if (message.contains("/dev/null")) return "";
  if (message.starts_with("invalid sslmode value"))
    message += ": one of disable, allow, prefer, require, verify-ca, verify-full";
  return message;
}

Error make_error(pg_conn* connection, pg_result* result, std::string_view purpose) {
  const char* state = result != nullptr ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
  if (state == nullptr) {
    // No SQLSTATE: libpq itself speaks, which means the connection.
    std::string message = trim(PQerrorMessage(connection));
    return Error(Retry::transient, fmt::format("lost the connection to PostgreSQL while {}: {}", purpose,
                                               message.empty() ? "no reason given" : message));
  }
  auto field = [&](int code) {
    const char* text = PQresultErrorField(result, code);
    return std::string(text != nullptr ? text : "");
  };
  return make_error(ServerError{state, field(PG_DIAG_MESSAGE_PRIMARY), field(PG_DIAG_MESSAGE_DETAIL),
                                field(PG_DIAG_MESSAGE_HINT)},
                    purpose);
}

Error make_error(const ServerError& said, std::string_view purpose) {
  std::string message = fmt::format("PostgreSQL refused while {}: {}", purpose, trim(said.message));
  if (!said.detail.empty()) message += fmt::format(" ({})", trim(said.detail));
  std::string remedy = trim(said.hint);
  // The server's advice would take along what is not tailrace's.
  if (remedy.contains("CASCADE"))
    remedy = "Drop or change what depends on it, which the message names, by hand, and start again";
  constexpr std::string_view untranslatable = "22P05";
  if (said.sqlstate == untranslatable && remedy.empty())
    remedy = "Take a database of encoding UTF8, or leave out what has that character (tables:)";
  Error error(classify(said.sqlstate, said.message), message, remedy);
  error.with_sqlstate(said.sqlstate);
  return error;
}

}  // namespace tailrace::pg
