#pragma once
// ConfigReader: YAML to Config. It finds every problem in one pass. `${NAME}` and `${NAME:-default}` in any
// value are taken from the environment, `$${` is a literal `${`; `source_file` and `password_file` are read
// from files, relative to the configuration's folder.

#include <expected>
#include <string>
#include <vector>

#include "config/config.h"

namespace tailrace::config {

/// One thing that is wrong, with the place to mend it. Holds no secrets.
struct Problem {
  std::string field;  ///< "snapshot.readers"
  std::string what;   ///< a sentence without a full stop
  std::string file;   ///< empty: it came from the command line
  int line = 0;       ///< from 1; 0 unknown
  int column = 0;

  std::string str() const;  ///< "tailrace.yaml:4:12: snapshot.readers: must be between 1 and 64"
};

using Problems = std::vector<Problem>;

/// Reads and validates what is there; source and target may be missing, the command line can still give them.
std::expected<Config, Problems> read_file(const std::string& path);
/// The same from memory; `file` names it in problems and its folder anchors relative secret files.
std::expected<Config, Problems> read_text(const std::string& text, const std::string& file);

/// The effective configuration as YAML, secrets removed; for people, and readable again but for those.
std::string describe(const Config& config);

/// All problems, one a line.
std::string join(const Problems& problems);

}  // namespace tailrace::config
