#include "client/counting_new.h"

#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace millrace {
namespace {

std::atomic<bool> counting{false};
std::atomic<size_t> allocations{0};
std::atomic<int64_t> held{0}, peak{0};

void* Allocate(size_t size) {
  void* const p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr) throw std::bad_alloc();
  if (counting.load(std::memory_order_relaxed)) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    const auto bytes = static_cast<int64_t>(::malloc_usable_size(p));
    const int64_t now = held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    int64_t most = peak.load(std::memory_order_relaxed);
    while (now > most && !peak.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
    }
  }
  return p;
}

void Free(void* p) {
  if (p != nullptr && counting.load(std::memory_order_relaxed)) {
    held.fetch_sub(static_cast<int64_t>(::malloc_usable_size(p)), std::memory_order_relaxed);
  }
  std::free(p);
}

}  // namespace

void StartCounting() {
  allocations = 0;
  held = 0;
  peak = 0;
  counting = true;
}

HeapUse StopCounting() {
  counting = false;
  return {.allocations = allocations, .peak_bytes = static_cast<size_t>(peak)};
}

}  // namespace millrace

void* operator new(size_t size) { return millrace::Allocate(size); }
void* operator new[](size_t size) { return millrace::Allocate(size); }
void operator delete(void* p) noexcept { millrace::Free(p); }
void operator delete[](void* p) noexcept { millrace::Free(p); }
void operator delete(void* p, size_t) noexcept { millrace::Free(p); }
void operator delete[](void* p, size_t) noexcept { millrace::Free(p); }
