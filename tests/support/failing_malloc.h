#pragma once

#include <cstdint>

namespace millrace {

// A binary that links this has a malloc of its own, which fails when told to: for the memory that
// libraries of C take, and with it for operator new. Not in a build with a sanitizer, which has one
// too.
class FailingMalloc {
 public:
  static bool IsAvailable();
  // While it lives, the n-th allocation (from 0) of this thread fails; and all after it, or not.
  FailingMalloc(int64_t n, bool from_then_on);
  ~FailingMalloc();
  FailingMalloc(const FailingMalloc&) = delete;
  FailingMalloc& operator=(const FailingMalloc&) = delete;
  bool has_failed() const;
};

}  // namespace millrace
