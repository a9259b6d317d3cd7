#pragma once

#include <cstdint>

// The program's own operator new: counts, and fails when told to.
namespace millrace::oom {

enum class Failures { kOnce, kFromThenOn };

// While it lives, the n-th allocation of any thread (from 0) fails; once, or from then on. One at a
// time.
class FailingNew {
 public:
  FailingNew(int64_t n, Failures failures);
  ~FailingNew() { Stop(); }
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;
  static void Stop();        // memory is back
  static bool has_failed();  // since the last one was made
};

// Allocations that were not freed yet.
int64_t LiveAllocations();

}  // namespace millrace::oom
