#pragma once
// WakeUp: a descriptor that becomes readable when another thread rings, for who waits for a socket at the same
// time.

namespace tailrace {

class WakeUp {
 public:
  WakeUp();
  ~WakeUp();
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;

  /// To wait for; -1 where none could be had: nobody is woken then.
  int descriptor() const { return descriptor_; }
  /// Any thread.
  void ring() const noexcept;
  /// Takes back what was rung so far.
  void heard() const noexcept;

 private:
  int descriptor_;
};

}  // namespace tailrace
