#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "absl/time/clock.h"
#include "env/split_mix.h"
#include "millrace/env.h"

namespace millrace {
namespace {

using std::chrono::steady_clock;

class RealClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  absl::Duration Elapsed() override {
    return absl::FromChrono(steady_clock::now().time_since_epoch());
  }
  void WaitUntil(std::condition_variable& cv, std::unique_lock<std::mutex>& lock,
                 absl::Duration deadline) override {
    // Callers loop, so a wait may end early; an hour at most keeps infinity out of the arithmetic.
    const auto now = steady_clock::now();
    const auto left = std::clamp(deadline - absl::FromChrono(now.time_since_epoch()),
                                 absl::ZeroDuration(), absl::Hours(1));
    cv.wait_until(lock, now + absl::ToChronoNanoseconds(left));
  }
};

class RealRandom : public Random {
 public:
  uint64_t Next() override {
    // Asked of the kernel each time: a state kept here would be shared with a forked child.
    uint64_t bits = 0;
    if (::getrandom(&bits, sizeof bits, 0) == sizeof bits) return bits;
    // Only a sandbox that forbids the call comes here. Ids stay unique, no more is needed of them.
    static std::atomic<uint64_t> count{0};
    const auto now = static_cast<uint64_t>(steady_clock::now().time_since_epoch().count());
    return SplitMix64(now ^ (static_cast<uint64_t>(::getpid()) << 40) ^ (count++ << 20)).Next();
  }
};

}  // namespace

// Never destroyed: a host's static objects may still ask for them while the process ends.
std::shared_ptr<Clock> Clock::Real() {
  static const auto* const clock = new std::shared_ptr<Clock>(std::make_shared<RealClock>());
  return *clock;
}

std::shared_ptr<Random> Random::Real() {
  static const auto* const random = new std::shared_ptr<Random>(std::make_shared<RealRandom>());
  return *random;
}

}  // namespace millrace
