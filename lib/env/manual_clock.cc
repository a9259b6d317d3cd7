#include "millrace/testing/manual_clock.h"

#include <chrono>

#include "base/mutex.h"
#include "env/split_mix.h"

namespace millrace::testing {

struct ManualClock::Impl {
  Mutex mu;
  absl::Time now ABSL_GUARDED_BY(mu);
  absl::Duration elapsed ABSL_GUARDED_BY(mu);
};

ManualClock::ManualClock(absl::Time start) : impl_(std::make_unique<Impl>()) {
  MutexLock lock(impl_->mu);
  impl_->now = start;
}

ManualClock::~ManualClock() = default;

absl::Time ManualClock::Now() {
  MutexLock lock(impl_->mu);
  return impl_->now;
}

absl::Duration ManualClock::Elapsed() {
  MutexLock lock(impl_->mu);
  return impl_->elapsed;
}

void ManualClock::WaitUntil(std::condition_variable& cv, std::unique_lock<std::mutex>& lock,
                            absl::Duration deadline) {
  if (Elapsed() >= deadline) return;
  // The waiter's condition variable may be gone by the time of an Advance, so Advance can notify
  // none; a waiter looks again every millisecond instead.
  cv.wait_for(lock, std::chrono::milliseconds(1));
}

void ManualClock::Advance(absl::Duration d) {
  MutexLock lock(impl_->mu);
  impl_->now += d;
  impl_->elapsed += d;
}

void ManualClock::JumpTo(absl::Time now) {
  MutexLock lock(impl_->mu);
  impl_->now = now;
}

namespace {

class SeededRandomImpl : public Random {
 public:
  explicit SeededRandomImpl(uint64_t seed) : generator_(seed) {}
  uint64_t Next() override {
    MutexLock lock(mu_);
    return generator_.Next();
  }

 private:
  Mutex mu_;
  SplitMix64 generator_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::shared_ptr<Random> SeededRandom(uint64_t seed) {
  return std::make_shared<SeededRandomImpl>(seed);
}

}  // namespace millrace::testing
