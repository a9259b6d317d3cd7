#pragma once

#include <cstdint>
#include <vector>

#include "harness/check/history.h"

namespace millrace::check {

struct History {
  Names names;
  std::vector<Op> ops;
};

// The processes that read what they have assigned to themselves: [kFirstReader, kEndReader).
inline constexpr int64_t kFirstReader = 8, kEndReader = 11;

// A history without a fault of `operations` completed operations: senders, readers that assign,
// readers that subscribe and are rebalanced, committers, and transactions that read, send and
// commit offsets. Some sends fail, some nobody knows the end of, and both are handled rightly.
// The same seed gives the same history.
History GenerateCleanHistory(uint64_t seed, size_t operations);

}  // namespace millrace::check
