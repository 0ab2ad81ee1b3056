#pragma once
// Validation: fills what is derived and says what cannot work. Pure; also used for the command line.

#include "config/config_reader.h"

namespace tailrace::config {

struct Needs {
  bool source = false;
  bool target = false;
};

/// Derives slot and publication names and memory shares, then checks every field. Idempotent.
Problems complete(Config& config, Needs needs = {});

/// Where received transactions wait that are still in progress at the source: beside the target's file, where
/// room is expected (/tmp may be memory).
std::string spool_directory(const Config& config);

/// "duckdb:shop.duckdb"; the error is a sentence that says what to write.
std::expected<Target, std::string> parse_target(const std::string& url);

}  // namespace tailrace::config
