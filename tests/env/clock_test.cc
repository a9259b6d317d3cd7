// Clocks and random numbers, real and not.
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "millrace/env.h"
#include "millrace/testing/manual_clock.h"

namespace millrace {
namespace {

TEST_CASE("the real clock goes forward and knows the year", "[env][clock]") {
  Clock& clock = *Clock::Real();
  const absl::Duration before = clock.Elapsed();
  CHECK(clock.Elapsed() >= before);
  CHECK(clock.Now() > absl::FromUnixSeconds(1'700'000'000));
}

TEST_CASE("a wait of the real clock ends at its deadline or when notified", "[env][clock]") {
  Clock& clock = *Clock::Real();
  std::mutex mutex;
  std::condition_variable cv;
  std::unique_lock lock(mutex);
  const absl::Duration deadline = clock.Elapsed() + absl::Milliseconds(5);
  while (clock.Elapsed() < deadline) clock.WaitUntil(cv, lock, deadline);
  clock.WaitUntil(cv, lock, -absl::InfiniteDuration());  // long past: returns at once
  CHECK(lock.owns_lock());

  bool rung = false;
  std::thread ringer([&] {
    const std::lock_guard guard(mutex);
    rung = true;
    cv.notify_one();
  });
  while (!rung) clock.WaitUntil(cv, lock, absl::InfiniteDuration());
  lock.unlock();
  ringer.join();
}

TEST_CASE("a manual clock moves only when told to", "[env][clock]") {
  const absl::Time start = absl::FromUnixSeconds(1000);
  testing::ManualClock clock(start);
  CHECK(clock.Now() == start);
  CHECK(clock.Elapsed() == absl::ZeroDuration());
  clock.Advance(absl::Seconds(3));
  CHECK(clock.Now() == start + absl::Seconds(3));
  CHECK(clock.Elapsed() == absl::Seconds(3));
  clock.JumpTo(absl::FromUnixSeconds(10));
  CHECK(clock.Now() == absl::FromUnixSeconds(10));
  CHECK(clock.Elapsed() == absl::Seconds(3));
  CHECK(clock.SleepFor(absl::Hours(1)) <= absl::Milliseconds(1));
  CHECK(clock.SleepFor(absl::Seconds(3)) <= absl::ZeroDuration());
}

TEST_CASE("a thread that waits on a manual clock notices an advance", "[env][clock]") {
  testing::ManualClock clock;
  std::thread waiter([&] {
    std::mutex mutex;
    std::condition_variable cv;
    std::unique_lock lock(mutex);
    while (clock.Elapsed() < absl::Hours(1)) clock.WaitUntil(cv, lock, absl::Hours(1));
  });
  clock.Advance(absl::Minutes(59));
  clock.Advance(absl::Minutes(1));
  waiter.join();
}

TEST_CASE("a seed gives the same numbers each time, and every seed others", "[env][random]") {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const auto first = testing::SeededRandom(seed);
    const auto second = testing::SeededRandom(seed);
    for (int i = 0; i < 10; ++i) {
      const uint64_t number = first->Next();
      CHECK(second->Next() == number);
      seen.insert(number);
    }
  }
  CHECK(seen.size() == 1000);
  CHECK(Random::Real()->Next() != Random::Real()->Next());
}

}  // namespace
}  // namespace millrace
