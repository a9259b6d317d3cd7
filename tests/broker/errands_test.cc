#include "broker/errands.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

namespace millrace::broker {
namespace {

TEST_CASE("errands are run one after another on a thread of their own", "[broker][errands]") {
  Errands errands;
  std::vector<int> ran;  // by one thread at a time
  std::atomic<int> count{0}, elsewhere{0};
  for (int round = 0; round < 50; ++round) {  // with a thread that ends in between
    for (int i = 0; i < 3; ++i) {
      Errands::Task task = [&, n = 3 * round + i] {
        if (!errands.OnOwnThread()) elsewhere.fetch_add(1);
        ran.push_back(n);
        count.fetch_add(1);
      };
      REQUIRE(errands.Run(task));
    }
    while (count.load() < 3 * round + 3) std::this_thread::yield();
  }
  CHECK_FALSE(errands.OnOwnThread());
  errands.Stop();
  CHECK(elsewhere.load() == 0);
  CHECK(ran.size() == 150);
  CHECK(std::ranges::is_sorted(ran));
}

TEST_CASE("an errand that has not begun at the end is run there", "[broker][errands]") {
  Errands errands;
  std::atomic<bool> begun{false}, go{false};
  int ran = 0;
  Errands::Task first = [&] {
    begun.store(true);
    while (!go.load()) std::this_thread::yield();
    ++ran;
  };
  Errands::Task second = [&] { ran += errands.OnOwnThread() ? 0 : 10; };
  REQUIRE(errands.Run(first));
  while (!begun.load()) std::this_thread::yield();
  REQUIRE(errands.Run(second));
  std::thread stop([&] { errands.Stop(); });
  Errands::Task late;
  do {
    std::this_thread::yield();
    late = [] {};
  } while (errands.Run(late));  // until Stop has begun
  go.store(true);
  stop.join();
  CHECK(ran == 11);
}

}  // namespace
}  // namespace millrace::broker
