// Timers: on the thread, or on whoever runs what is due.
#include "broker/upkeep.h"

#include <atomic>
#include <new>
#include <thread>

#include <catch2/catch.hpp>

#include "broker/broker.h"
#include "millrace/testing/manual_clock.h"
#include "support/or_fail.h"

namespace millrace::broker {

TEST_CASE("tasks run once, in the order of their times, when they are due", "[broker][upkeep]") {
  testing::ManualClock clock;
  Upkeep upkeep(clock);
  std::string ran;
  const absl::Duration now = clock.Elapsed();
  upkeep.CallAt(now + absl::Seconds(2), [&] { ran += "b"; });
  upkeep.CallAt(now + absl::Seconds(1), [&] { ran += "a"; });
  const uint64_t cancelled = upkeep.CallAt(now + absl::Seconds(1), [&] { ran += "x"; });
  upkeep.CallAt(now + absl::Seconds(3), [&] { ran += "c"; });
  upkeep.RunDue();
  CHECK(ran.empty());
  CHECK(upkeep.NextDue() == now + absl::Seconds(1));
  upkeep.Cancel(cancelled);
  upkeep.Cancel(cancelled);
  upkeep.Cancel(12345);
  clock.Advance(absl::Seconds(2));
  upkeep.RunDue();
  CHECK(ran == "ab");
  clock.Advance(absl::Seconds(5));
  upkeep.RunDue();
  upkeep.RunDue();
  CHECK(ran == "abc");
  CHECK(upkeep.NextDue() == absl::InfiniteDuration());
}

TEST_CASE("what had no memory to run runs again a little later", "[broker][upkeep]") {
  testing::ManualClock clock;
  Upkeep upkeep(clock);
  int tasks = 0;
  int jobs = 0;
  const size_t job = upkeep.AddJob([&](absl::Duration) {
    if (++jobs == 1) throw std::bad_alloc();
    return absl::InfiniteDuration();
  });
  upkeep.Arm(job, clock.Elapsed());
  const uint64_t task = upkeep.CallAt(clock.Elapsed(), [&] {
    if (++tasks < 3) throw std::bad_alloc();
  });
  upkeep.RunDue();
  CHECK(tasks == 1);
  CHECK(jobs == 1);
  clock.Advance(absl::Seconds(1));
  upkeep.RunDue();
  CHECK(tasks == 2);
  CHECK(jobs == 2);
  SECTION("until it has run") {
    clock.Advance(absl::Seconds(1));
    upkeep.RunDue();
    CHECK(tasks == 3);
  }
  SECTION("unless it is cancelled") { upkeep.Cancel(task); }
  CHECK(upkeep.NextDue() == absl::InfiniteDuration());
}

TEST_CASE("a task that cancels itself does not run again", "[broker][upkeep]") {
  testing::ManualClock clock;
  Upkeep upkeep(clock);
  uint64_t task = 0;
  task = upkeep.CallAt(clock.Elapsed(), [&] {
    upkeep.Cancel(task);
    throw std::bad_alloc();
  });
  upkeep.RunDue();
  CHECK(upkeep.NextDue() == absl::InfiniteDuration());
}

TEST_CASE("a job rests until it is armed, and goes on while it asks to", "[broker][upkeep]") {
  testing::ManualClock clock;
  Upkeep upkeep(clock);
  int left = 3;
  int other = 0;
  const size_t job = upkeep.AddJob(
      [&](absl::Duration now) { return --left > 0 ? now : absl::InfiniteDuration(); });
  const size_t periodic = upkeep.AddJob([&](absl::Duration now) {
    ++other;
    return now + absl::Seconds(10);
  });
  upkeep.RunDue();
  CHECK(left == 3);
  upkeep.Arm(job, clock.Elapsed() + absl::Seconds(1));
  upkeep.Arm(job, clock.Elapsed() + absl::Seconds(5));  // later than what it is armed for
  upkeep.Arm(periodic, clock.Elapsed());
  upkeep.RunDue();
  CHECK(left == 3);
  CHECK(other == 1);
  clock.Advance(absl::Seconds(1));
  upkeep.RunDue();
  CHECK(left == 0);
  clock.Advance(absl::Seconds(9));
  upkeep.RunDue();
  CHECK(other == 2);
}

TEST_CASE("the thread wakes for an earlier timer, and cancelling waits for what runs",
          "[broker][upkeep]") {
  const auto clock = Clock::Real();
  Upkeep upkeep(*clock);
  upkeep.Start();
  upkeep.CallAt(clock->Elapsed() + absl::Hours(1), [] {});
  std::atomic<bool> began{false};
  std::atomic<bool> ended{false};
  uint64_t own = 0;
  const uint64_t id = upkeep.CallAt(clock->Elapsed(), [&] {
    began = true;
    while (!ended) std::this_thread::yield();
  });
  while (!began) std::this_thread::yield();
  std::atomic<bool> cancelled{false};
  std::thread canceller([&] {
    upkeep.Cancel(id);
    cancelled = true;
    CHECK(ended);
  });
  ended = true;
  canceller.join();
  CHECK(cancelled);
  // A task may cancel itself: that is no wait.
  std::atomic<bool> did{false};
  std::atomic<bool> may_run{false};
  own = upkeep.CallAt(clock->Elapsed(), [&] {
    while (!may_run) std::this_thread::yield();
    upkeep.Cancel(own);
    CHECK(upkeep.OnOwnThread());
    did = true;
  });
  may_run = true;
  while (!did) std::this_thread::yield();
  CHECK_FALSE(upkeep.OnOwnThread());
  upkeep.Stop();
  CHECK(upkeep.CallAt(clock->Elapsed(), [] { FAIL("after the end"); }) == 0);
}

TEST_CASE("a stop drops what has not begun, and its captures", "[broker][upkeep]") {
  testing::ManualClock clock;
  Upkeep upkeep(clock);
  const auto held = std::make_shared<int>(1);
  upkeep.CallAt(clock.Elapsed(), [held] { FAIL("dropped tasks do not run"); });
  CHECK(held.use_count() == 2);
  upkeep.Stop();
  CHECK(held.use_count() == 1);
  upkeep.RunDue();
}

namespace {

// A machine so slow that time passes whenever somebody looks at the clock.
class CrawlingClock : public testing::ManualClock {
 public:
  absl::Duration Elapsed() override {
    if (++looks_ < kPatience) Advance(absl::Milliseconds(3));
    return testing::ManualClock::Elapsed();
  }
  bool tried_patience() const { return looks_ >= kPatience; }

 private:
  static constexpr int kPatience = 20000;
  std::atomic<int> looks_{0};
};

}  // namespace

TEST_CASE("maintenance ends however slow the machine is", "[upkeep]") {
  const auto clock = std::make_shared<CrawlingClock>();
  Options options;
  options.background_threads = 0;
  options.env.clock = clock;
  const auto broker = OrFail(Broker::Open(options));
  OrFail(broker->CreateTopic({.name = "events", .partitions = 1, .config = {}}));
  OrFail(broker->RunMaintenance());
  CHECK_FALSE(clock->tried_patience());
  OrFail(broker->Close(absl::Seconds(5)));
}

}  // namespace millrace::broker
