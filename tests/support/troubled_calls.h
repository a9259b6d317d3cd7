#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace millrace {

// System calls that a signal interrupts, or that do less than they were asked to. Regular files
// hardly ever do so, network file systems do: so a binary that links this has calls of its own in
// the place of libc's. One at a time; the calls of all threads ask `rule` while it lives.
class TroubledCalls {
 public:
  enum class Call { kOpen, kRead, kWrite, kSync, kTruncate };
  struct Outcome {
    int error = 0;              // an errno: the call does nothing
    size_t at_most = SIZE_MAX;  // so many bytes are moved by a read or a write
  };
  // `count`: the bytes that the call is asked to move.
  using Rule = std::function<Outcome(Call call, size_t count)>;

  explicit TroubledCalls(Rule rule);
  ~TroubledCalls();
  TroubledCalls(const TroubledCalls&) = delete;
  TroubledCalls& operator=(const TroubledCalls&) = delete;
};

}  // namespace millrace
