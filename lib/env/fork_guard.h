#pragma once

#include <cstdint>

namespace millrace {

// Tells a forked child from the process that made an object: after a fork the child has the
// object's memory, but neither its threads nor its locks. Asking costs one load. Thread-safe.
class ForkGuard {
 public:
  ForkGuard();
  // True in every process that was forked off after this guard was made.
  bool forked() const;

 private:
  uint64_t generation_;
};

}  // namespace millrace
