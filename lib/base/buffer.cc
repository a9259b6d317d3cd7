#include "base/buffer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <new>

namespace millrace {
namespace {
constexpr size_t kSmallest = 4096;
constexpr size_t kClasses = 20;  // 4 KiB to 2 GiB; larger buffers are never kept
size_t ClassOf(size_t rounded) {
  return static_cast<size_t>(std::countr_zero(rounded / kSmallest));
}
}  // namespace

struct BufferPool::Core {
  explicit Core(size_t max_kept) : max_kept_bytes(max_kept) {}
  ~Core() {
    for (auto& list : kept)
      for (std::byte* bytes : list) ::operator delete(bytes);
  }
  void Return(std::byte* bytes, size_t size) noexcept {
    outstanding.fetch_sub(size, std::memory_order_relaxed);
    if (ClassOf(size) < kClasses) {
      MutexLock lock(mu);
      auto& list = kept[ClassOf(size)];
      // The list grows only within what Get reserved: a destructor must not allocate.
      if (kept_bytes + size <= max_kept_bytes && list.size() < list.capacity()) {
        list.push_back(bytes);
        kept_bytes += size;
        return;
      }
    }
    ::operator delete(bytes);
  }

  const size_t max_kept_bytes;
  std::atomic<size_t> outstanding{0};
  Mutex mu;
  std::array<std::vector<std::byte*>, kClasses> kept ABSL_GUARDED_BY(mu);
  size_t kept_bytes ABSL_GUARDED_BY(mu) = 0;
};

BufferPool::BufferPool(size_t max_kept_bytes) : core_(std::make_shared<Core>(max_kept_bytes)) {}

Buffer BufferPool::Get(size_t capacity) {
  const size_t size = std::bit_ceil(std::max(capacity, kSmallest));
  const size_t size_class = ClassOf(size);
  std::byte* bytes = nullptr;
  if (size_class < kClasses) {
    MutexLock lock(core_->mu);
    auto& list = core_->kept[size_class];
    if (!list.empty()) {
      bytes = list.back();
      list.pop_back();
      core_->kept_bytes -= size;
    } else if (list.capacity() == 0) {
      list.reserve(std::clamp<size_t>(core_->max_kept_bytes / size, 1, 64));
    }
  }
  if (bytes == nullptr) bytes = static_cast<std::byte*>(::operator new(size));
  core_->outstanding.fetch_add(size, std::memory_order_relaxed);
  // Should making the control block fail, the deleter runs and the bytes go back.
  return Buffer(std::shared_ptr<std::byte>(
                    bytes, [core = core_, size](std::byte* b) { core->Return(b, size); }),
                size);
}

size_t BufferPool::outstanding_bytes() const {
  return core_->outstanding.load(std::memory_order_relaxed);
}

}  // namespace millrace
