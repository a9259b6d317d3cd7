// The bell wakes its owner, and no ring is lost.
#include "env/bell.h"

#include <poll.h>
#include <signal.h>

#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "millrace/testing/manual_clock.h"

namespace millrace {
namespace {

bool IsReadable(int fd) {
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&poll_fd, 1, 0) == 1;
}

TEST_CASE("a ring before the wait ends the wait at once", "[env][bell]") {
  testing::ManualClock clock;
  Bell bell;
  const uint32_t seen = bell.count();
  bell.Ring();
  bell.Wait(clock, seen, absl::InfiniteDuration());
  bell.Wait(clock, seen, absl::InfiniteDuration(), absl::Seconds(1));
  CHECK(bell.count() == seen + 1);
}

TEST_CASE("a wait ends when its clock reaches the deadline", "[env][bell]") {
  testing::ManualClock clock;
  Bell bell;
  bell.Wait(clock, bell.count(), absl::ZeroDuration());
  std::thread waiter([&] { bell.Wait(clock, bell.count(), absl::Hours(1)); });
  clock.Advance(absl::Hours(1));
  waiter.join();
  Bell real;
  real.Wait(*Clock::Real(), real.count(), Clock::Real()->Elapsed() + absl::Milliseconds(2),
            absl::Microseconds(50));
}

TEST_CASE("threads ring and one wakes for each", "[env][bell][threads]") {
  Bell bell;
  constexpr uint32_t kRings = 2000;
  std::vector<std::thread> ringers;
  for (int i = 0; i < 2; ++i) {
    ringers.emplace_back([&] {
      for (uint32_t n = 0; n < kRings / 2; ++n) bell.Ring();
    });
  }
  uint32_t seen = 0;
  while (seen < kRings) {
    bell.Wait(*Clock::Real(), seen, absl::InfiniteDuration());
    seen = bell.count();
  }
  for (std::thread& ringer : ringers) ringer.join();
  CHECK(bell.count() == kRings);
}

TEST_CASE("the descriptor is readable from a ring until it is cleared", "[env][bell]") {
  Bell bell;
  bell.Ring();  // before there is a descriptor: only the count tells
  const int fd = bell.fd();
  REQUIRE(fd >= 0);
  CHECK(bell.fd() == fd);
  CHECK_FALSE(IsReadable(fd));
  bell.Ring();
  bell.Ring();
  CHECK(IsReadable(fd));
  bell.ClearFd();
  CHECK_FALSE(IsReadable(fd));
  bell.ClearFd();  // with nothing to clear it must not block
  bell.Ring();
  CHECK(IsReadable(fd));
}

Bell* rung_by_signal = nullptr;

TEST_CASE("a signal handler may ring", "[env][bell]") {
  Bell bell;
  rung_by_signal = &bell;
  struct sigaction action = {};
  struct sigaction before;
  action.sa_handler = [](int) { rung_by_signal->Ring(); };
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  const uint32_t seen = bell.count();
  ::raise(SIGUSR1);
  bell.Wait(*Clock::Real(), seen, absl::InfiniteDuration());
  ::sigaction(SIGUSR1, &before, nullptr);
  CHECK(bell.count() == seen + 1);
}

}  // namespace
}  // namespace millrace
