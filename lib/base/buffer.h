#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"

namespace millrace {

// Reference-counted bytes of a fixed capacity, not initialised. Copies share them; the last one
// gives them back to the pool they came from. The handle is thread-compatible.
class Buffer {
 public:
  Buffer() = default;
  explicit operator bool() const { return bytes_ != nullptr; }
  std::byte* data() const { return bytes_.get(); }
  size_t capacity() const { return capacity_; }
  std::span<std::byte> span() const { return {bytes_.get(), capacity_}; }
  // Shares ownership: for handing one part of the buffer to somebody else.
  const std::shared_ptr<std::byte>& owner() const { return bytes_; }

 private:
  friend class BufferPool;
  Buffer(std::shared_ptr<std::byte> bytes, size_t capacity)
      : bytes_(std::move(bytes)), capacity_(capacity) {}
  std::shared_ptr<std::byte> bytes_;
  size_t capacity_ = 0;
};

// Hands out buffers and keeps some that came back, so that a reader's megabyte is not paged in anew
// each time. Thread-safe. Buffers may outlive the pool.
class BufferPool {
 public:
  // Keeps at most `max_kept_bytes` of returned buffers.
  explicit BufferPool(size_t max_kept_bytes = size_t{32} << 20);

  // At least `capacity` bytes: rounded up to a power of two, from 4 KiB up.
  Buffer Get(size_t capacity);
  // Bytes in buffers that are out now.
  size_t outstanding_bytes() const;

 private:
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace millrace
