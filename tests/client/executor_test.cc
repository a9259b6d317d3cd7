#include <poll.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>

#include <catch2/catch.hpp>

#include "client/callback_queue.h"

namespace millrace::client {
namespace {

TEST_CASE("tasks run in the order of posting, on one thread of their own", "[client][executor]") {
  CallbackQueue queue(CallbackQueue::Mode::kThread);
  std::vector<int> order;
  std::set<std::thread::id> threads;
  for (int i = 0; i < 1000; ++i)
    queue.Post([&, i] {
      order.push_back(i);
      threads.insert(std::this_thread::get_id());
    });
  queue.Stop();
  REQUIRE(order.size() == 1000);
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(threads.size() == 1);
  CHECK(*threads.begin() != std::this_thread::get_id());
  bool late = false;
  queue.Post([&] { late = true; });  // accepted means called, even now
  CHECK(late);
}

TEST_CASE("driven tasks wait for those who wait", "[client][executor]") {
  CallbackQueue queue(CallbackQueue::Mode::kDriven);
  int ran = 0;
  queue.Post([&] {
    ++ran;
    queue.Post([&] { ++ran; });
    CHECK(queue.RunPending() == 0);  // not inside of another one
  });
  CHECK(ran == 0);
  CHECK(queue.RunPending() == 1);
  CHECK(ran == 1);
  CHECK(queue.RunPending() == 1);
  CHECK(ran == 2);
}

TEST_CASE("a task that throws leaves those behind it to the next call", "[client][executor]") {
  ManualExecutor executor;
  bool ran = false;
  executor.Post([] { throw std::runtime_error("mine"); });
  executor.Post([&] { ran = true; });
  CHECK_THROWS_AS(executor.RunAll(), std::runtime_error);
  CHECK(executor.RunAll() == 1);
  CHECK(ran);
}

TEST_CASE("an executor knows whether a thread is in one of its tasks", "[client][executor]") {
  ManualExecutor a;
  ManualExecutor b;
  bool inside_a = false;
  bool inside_b = true;
  a.Post([&] {
    inside_a = CallbackScope::Inside(&a);
    inside_b = CallbackScope::Inside(&b);
  });
  CHECK_FALSE(CallbackScope::Inside(&a));
  CHECK(a.RunAll() == 1);
  CHECK(inside_a);
  CHECK_FALSE(inside_b);
}

TEST_CASE("a manual executor runs what its tasks post, and shows by a descriptor what waits",
          "[client][executor]") {
  ManualExecutor executor;
  const auto readable = [&] {
    pollfd fd{.fd = executor.event_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&fd, 1, 0) == 1;
  };
  CHECK_FALSE(readable());
  int ran = 0;
  executor.Post([&] {
    ++ran;
    executor.Post([&] { ++ran; });
  });
  CHECK(readable());
  CHECK(executor.RunAll() == 2);
  CHECK(ran == 2);
  CHECK_FALSE(readable());
}

TEST_CASE("a manual executor's descriptor tells also of what came before it was asked for",
          "[client][executor]") {
  ManualExecutor executor;
  executor.Post([] {});
  pollfd fd{.fd = executor.event_fd(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&fd, 1, 0) == 1);
  CHECK(executor.RunAll() == 1);
  CHECK(::poll(&fd, 1, 0) == 0);
}

TEST_CASE("a queue may end in one of its own tasks", "[client][executor]") {
  auto queue = std::make_shared<CallbackQueue>(CallbackQueue::Mode::kThread);
  std::atomic<bool> done{false};
  CallbackQueue* const raw = queue.get();
  raw->Post([&done, queue]() mutable {
    queue.reset();
    done = true;
  });
  queue.reset();
  while (!done) std::this_thread::yield();
}

}  // namespace
}  // namespace millrace::client
