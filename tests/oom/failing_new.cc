#include "failing_new.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace millrace::oom {
namespace {

constexpr int64_t kNever = -1;
std::atomic<int64_t> left{kNever};
std::atomic<bool> from_then_on{false};
std::atomic<bool> failed{false};
std::atomic<int64_t> live{0};

bool MustFail() {
  int64_t now = left.load(std::memory_order_relaxed);
  while (now > 0)
    if (left.compare_exchange_weak(now, now - 1, std::memory_order_relaxed)) return false;
  if (now == kNever) return false;
  failed.store(true, std::memory_order_relaxed);
  if (!from_then_on.load(std::memory_order_relaxed)) left.store(kNever, std::memory_order_relaxed);
  return true;
}

void* Allocate(size_t size, size_t alignment) {
  if (MustFail()) return nullptr;
  void* const memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size > 0 ? size : 1)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void* AllocateOrThrow(size_t size, size_t alignment) {
  if (void* const memory = Allocate(size, alignment)) return memory;
  throw std::bad_alloc();
}

void Free(void* memory) {
  if (memory != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace

FailingNew::FailingNew(int64_t n, Failures failures) {
  failed = false;
  from_then_on = failures == Failures::kFromThenOn;
  left = n;
}

void FailingNew::Stop() { left = kNever; }

bool FailingNew::has_failed() { return failed; }

int64_t LiveAllocations() { return live; }

}  // namespace millrace::oom

using millrace::oom::Allocate;
using millrace::oom::AllocateOrThrow;
using millrace::oom::Free;

void* operator new(size_t size) { return AllocateOrThrow(size, 0); }
void* operator new(size_t size, std::align_val_t alignment) {
  return AllocateOrThrow(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return Allocate(size, 0); }
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Free(memory); }
