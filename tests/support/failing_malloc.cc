#include "support/failing_malloc.h"

#include <cerrno>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MILLRACE_OTHER_MALLOC
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MILLRACE_OTHER_MALLOC
#endif
#endif

namespace millrace {
namespace {

constexpr int64_t kNever = -1;
thread_local int64_t left = kNever;
thread_local bool sticky = false;
thread_local bool failed = false;

#ifndef MILLRACE_OTHER_MALLOC
bool MustFail() {
  if (left == kNever) return false;
  if (left > 0) return --left, false;
  failed = true;
  if (!sticky) left = kNever;
  errno = ENOMEM;
  return true;
}
#endif

}  // namespace

FailingMalloc::FailingMalloc(int64_t n, bool from_then_on) {
  failed = false;
  sticky = from_then_on;
  left = n;
}
FailingMalloc::~FailingMalloc() { left = kNever; }
bool FailingMalloc::has_failed() const { return failed; }

#ifdef MILLRACE_OTHER_MALLOC
bool FailingMalloc::IsAvailable() { return false; }
#else
bool FailingMalloc::IsAvailable() { return true; }
#endif

}  // namespace millrace

#ifndef MILLRACE_OTHER_MALLOC
// glibc's own names for what it calls malloc; free stays as it is.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);

void* malloc(size_t size) { return millrace::MustFail() ? nullptr : __libc_malloc(size); }
void* calloc(size_t count, size_t size) {
  return millrace::MustFail() ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  return millrace::MustFail() ? nullptr : __libc_realloc(memory, size);
}
}
#endif
