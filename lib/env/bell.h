#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "millrace/env.h"

namespace millrace {

// Wakes one sleeping thread: any thread, or a signal handler, rings; the owner waits until the
// count of rings has moved past what it saw. Rings are never lost: read count(), look for work,
// then wait. Thread-safe; Ring is async-signal-safe. Whoever rings keeps the bell alive until Ring
// has returned: its owner may wake before that.
class Bell {
 public:
  Bell() = default;
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  void Ring();
  uint32_t count() const { return count_.load(std::memory_order_acquire); }
  // Sleeps until count() != seen or clock.Elapsed() >= deadline. May return early. Spins briefly
  // first (`spin`).
  void Wait(Clock& clock, uint32_t seen, absl::Duration deadline,
            absl::Duration spin = absl::ZeroDuration());

  // A descriptor that is readable from a Ring until ClearFd: for epoll and its like. Made on first
  // use
  // (-1 when the process has no descriptor left); closed with the bell.
  int fd();
  void ClearFd();

 private:
  std::atomic<uint32_t> count_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<int> fd_{-1};
};

}  // namespace millrace
