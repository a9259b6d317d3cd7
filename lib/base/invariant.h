#pragma once

#include <string_view>

#include <absl/status/status.h>

namespace millrace {

// What happens when an invariant of our own code does not hold. Tests abort, so that the stack is
// there to read; a host must live on, so by default the instance that noticed fails instead.
void SetAbortOnBrokenInvariant(bool abort_process);

// Reports the broken invariant and returns the error that fails the instance (internal_invariant).
absl::Status BrokenInvariant(const char* file, int line, std::string_view condition);

}  // namespace millrace

// Returns internal_invariant from the enclosing function when `condition` is false, in every build.
// The caller's owner (a partition, a broker) treats that status as final.
#define MILLRACE_INVARIANT(condition)                                     \
  do {                                                                    \
    if (!(condition)) [[unlikely]]                                        \
      return ::millrace::BrokenInvariant(__FILE__, __LINE__, #condition); \
  } while (false)
