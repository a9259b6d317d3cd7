// millrace/testing/manual_clock.h - time that moves only when told to. Library: millrace::testing.
#pragma once
#include <algorithm>
#include <memory>

#include "millrace/env.h"

namespace millrace::testing {

// Thread-safe. Threads that wait notice an Advance within about a millisecond of real time.
class ManualClock : public Clock {
 public:
  explicit ManualClock(absl::Time start = absl::UnixEpoch());
  ~ManualClock() override;
  absl::Time Now() override;
  absl::Duration Elapsed() override;
  void WaitUntil(std::condition_variable& cv, std::unique_lock<std::mutex>& lock,
                 absl::Duration deadline) override;
  absl::Duration SleepFor(absl::Duration deadline) override {
    return std::min(deadline - Elapsed(), absl::Milliseconds(1));
  }
  void Advance(absl::Duration d);
  void JumpTo(absl::Time now);  // moves Now alone, as a correction of the wall clock does

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The same numbers for the same seed. Thread-safe.
std::shared_ptr<Random> SeededRandom(uint64_t seed);

}  // namespace millrace::testing
