#include "base/mutex.h"

#include <thread>

#include <catch2/catch.hpp>

namespace millrace {

TEST_CASE("a mutex is held by one", "[base][mutex]") {
  Mutex mu;
  int count = 0;
  const auto work = [&] {
    for (int i = 0; i < 10000; ++i) {
      MutexLock lock(mu);
      ++count;
    }
  };
  {
    std::jthread one(work);
    std::jthread two(work);
  }
  CHECK(count == 20000);
  REQUIRE(mu.TryLock());
  std::jthread([&] {
    if (mu.TryLock()) std::abort();
  }).join();
  mu.Unlock();
}

TEST_CASE("a waiter wakes with the mutex held", "[base][mutex]") {
  Mutex mu;
  CondVar turn;
  int step = 0;
  std::jthread other([&] {
    MutexLock lock(mu);
    while (step != 1) turn.Wait(mu);
    step = 2;
    turn.NotifyAll();
  });
  MutexLock lock(mu);
  step = 1;
  turn.NotifyOne();
  while (step != 2)
    turn.WaitWith(
        mu, [](std::condition_variable& cv, std::unique_lock<std::mutex>& held) { cv.wait(held); });
  CHECK(step == 2);
}

}  // namespace millrace
