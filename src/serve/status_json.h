#pragma once
// Status and verify reports as JSON, and back. The schema is in docs/status.md; keys are only ever added.

#include <string>

#include "pipeline/bad_changes.h"
#include "pipeline/engine.h"
#include "pipeline/status.h"

namespace tailrace::serve {

std::string to_json(const pipeline::Status& status);
std::string to_json(const pipeline::VerifyReport& report);
std::string to_json(const pipeline::RefreshReport& report);
std::string to_json(const pipeline::ReplayReport& report);
/// Error(fatal) when it is not what to_json writes.
pipeline::Status status_from_json(const std::string& text);
pipeline::VerifyReport verify_from_json(const std::string& text);
pipeline::RefreshReport refresh_from_json(const std::string& text);
pipeline::ReplayReport replay_from_json(const std::string& text);

/// As the control socket takes it.
std::string to_json(const pipeline::VerifyRequest& request);
pipeline::VerifyRequest verify_request_from_json(const std::string& text);

}  // namespace tailrace::serve
