#pragma once

#include <cstdio>
#include <cstdlib>

// Stops the process when `condition` is false, in every build type. It is for the few places where
// even returning would be unsafe. Other invariants of our own code fail the instance and keep the
// host alive (base/invariant.h); what a file, a peer or a caller can cause is an absl::Status.
#define MILLRACE_CHECK(condition)                                                        \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
