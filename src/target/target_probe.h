#pragma once
// TargetProbe: whether a target answers now, asked beside whatever else is done there.

namespace tailrace::target {

/// One thread, any.
class TargetProbe {
 public:
  TargetProbe() = default;
  TargetProbe(const TargetProbe&) = delete;
  TargetProbe& operator=(const TargetProbe&) = delete;
  virtual ~TargetProbe() = default;

  /// Returns within some seconds. False also where that cannot be found out.
  virtual bool answers() = 0;
};

}  // namespace tailrace::target
