#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/printable.h"
#include "cli/command.h"
#include "config/config_template.h"
#include "pg/connection_string.h"

namespace tailrace::cli {
namespace {

/// True if there was a password to leave out.
bool leave_password_out(std::string& conninfo) {
  if (!pg::holds_password(conninfo)) return false;
  conninfo = pg::without_password(conninfo);
  return true;
}

/// Never over what is there; for its owner alone, whose secrets may stand in it some day.
void write_new(const std::string& file, const std::string& text) {
  int out = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  auto fail = [&] {
    bool there = errno == EEXIST || errno == ELOOP;
    throw Error(Retry::needs_operator,
                fmt::format("cannot write {}: {}", file, there ? "it is there already" : std::strerror(errno)),
                there ? "Nothing was written. Name another file (-c FILE), or move this one away" : "");
  };
  if (out < 0) fail();
  std::size_t done = 0;
  while (done < text.size()) {
    auto written = ::write(out, text.data() + done, text.size() - done);
    if (written < 0) {
      ::unlink(file.c_str());
      fail();
    }
    done += static_cast<std::size_t>(written);
  }
  if (::close(out) != 0) fail();
}

}  // namespace

int command_config_init(const Options& given) {
  Options options = given;
  std::string file = options.config_file.empty() ? "tailrace.yaml" : options.config_file;
  options.config_file.clear();
  auto config = load(options, {true, true});
  bool left_out = false;
  if (!options.with_password) {
    left_out = leave_password_out(config.source);
    if (config.target.kind == "postgres") left_out |= leave_password_out(config.target.path);
  }
  write_new(file, config::config_template(config));
  fmt::print("wrote {}\n", printable(file));
  if (left_out) {
    fmt::print(
        "The password is left out of it. Give it in ~/.pgpass or the file that PGPASSFILE names, by ${{NAME}} "
        "from "
        "the environment, or by password_file; or write it here with --with-password.\n");
  }
  fmt::print("Next: tailrace check -c {0}, then tailrace run -c {0}\n", printable(file));
  return exit_ok;
}

}  // namespace tailrace::cli
