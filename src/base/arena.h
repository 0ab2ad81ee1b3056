#pragma once
// Arena: bytes that live together and die together. Pointers stay valid until the arena goes.

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace tailrace {

/// Not thread-safe. Movable; moving keeps pointers valid.
class Arena {
 public:
  static constexpr std::size_t block_size = 256 * 1024;

  Arena() = default;
  /// What was moved from is empty: what it handed out next would lie in a block that is another's by now.
  Arena(Arena&& other) noexcept
      : blocks_(std::exchange(other.blocks_, {})),
        next_(std::exchange(other.next_, nullptr)),
        left_(std::exchange(other.left_, 0)),
        footprint_(std::exchange(other.footprint_, 0)) {}
  Arena& operator=(Arena&& other) noexcept {
    blocks_ = std::exchange(other.blocks_, {});
    next_ = std::exchange(other.next_, nullptr);
    left_ = std::exchange(other.left_, 0);
    footprint_ = std::exchange(other.footprint_, 0);
    return *this;
  }

  std::byte* allocate(std::size_t size) {
    if (size > left_) [[unlikely]]
      return allocate_block(size);
    std::byte* out = next_;
    next_ += size;
    left_ -= size;
    return out;
  }

  const std::byte* copy(const void* data, std::size_t size) {
    std::byte* out = allocate(size);
    if (size != 0) std::memcpy(out, data, size);  // of nothing, an unused arena has no address
    return out;
  }

  /// Bytes reserved from the heap.
  std::size_t footprint() const { return footprint_; }
  /// Of which nothing is handed out yet, and may be.
  std::size_t left() const { return left_; }

 private:
  std::byte* allocate_block(std::size_t size) {
    // A large value gets a block of its own, so that it wastes nothing and the current block goes on.
    if (size > block_size / 4) {
      blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(size));
      footprint_ += size;
      return blocks_.back().get();
    }
    blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(block_size));
    footprint_ += block_size;
    std::byte* out = blocks_.back().get();
    next_ = out + size;
    left_ = block_size - size;
    return out;
  }

  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
  std::size_t footprint_ = 0;
};

}  // namespace tailrace
