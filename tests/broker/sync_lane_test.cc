// The threads that sync: one place in the queue an item, and no request is lost.
#include "broker/sync_lane.h"

#include <new>
#include <thread>

#include <catch2/catch.hpp>

#include "support/or_fail.h"

namespace millrace::broker {
namespace {

struct Counted : Syncable {
  std::function<void()> during;
  std::atomic<int> runs{0};
  void RunSync() override {
    ++runs;
    if (during) during();
  }
};

}  // namespace

TEST_CASE("an item that is queued already is not queued again", "[broker][lane]") {
  SyncLane lane(nullptr);
  const auto item = std::make_shared<Counted>();
  for (int i = 0; i < 5; ++i) lane.Enqueue(item);
  lane.RunQueued();
  CHECK(item->runs == 1);
  lane.RunQueued();
  CHECK(item->runs == 1);
}

TEST_CASE("a request during a sync leads to one more", "[broker][lane]") {
  SyncLane lane(nullptr);
  const auto item = std::make_shared<Counted>();
  item->during = [&] {
    if (item->runs > 1) return;
    lane.Enqueue(item);
    lane.Enqueue(item);
  };
  lane.Enqueue(item);
  lane.RunQueued();
  CHECK(item->runs == 1);
  lane.RunQueued();
  CHECK(item->runs == 2);
  lane.RunQueued();
  CHECK(item->runs == 2);
}

TEST_CASE("an item without memory for its sync rests, and is synced later", "[broker][lane]") {
  int rests = 0;
  SyncLane lane(nullptr, [&] { ++rests; });
  const auto starved = std::make_shared<Counted>();
  const auto other = std::make_shared<Counted>();
  starved->during = [&] {
    if (starved->runs == 1) throw std::bad_alloc();
  };
  lane.Enqueue(starved);
  lane.Enqueue(other);
  lane.RunQueued();
  CHECK(rests == 1);
  CHECK(other->runs == 1);
  lane.Enqueue(starved);  // waits for its turn already
  lane.RunQueued();
  CHECK(starved->runs == 1);
  lane.RunResting();
  lane.RunQueued();
  CHECK(starved->runs == 2);
  lane.Enqueue(starved);
  lane.RunQueued();
  CHECK(starved->runs == 3);
}

TEST_CASE("draining tries once more what rests, and then lets go of it", "[broker][lane]") {
  SyncLane lane(nullptr);
  const auto item = std::make_shared<Counted>();
  item->during = [] { throw std::bad_alloc(); };
  lane.Enqueue(item);
  lane.RunQueued();
  lane.Drain(*Clock::Real(), absl::InfiniteDuration());
  CHECK(item->runs == 2);
  CHECK(item.use_count() == 1);
}

TEST_CASE("without threads the owner is told of work", "[broker][lane]") {
  int wakes = 0;
  SyncLane lane([&] { ++wakes; });
  const auto item = std::make_shared<Counted>();
  lane.Enqueue(item);
  lane.Enqueue(item);
  CHECK(wakes == 1);
  lane.Stop();
}

TEST_CASE("a drain ends with an empty queue, or at its deadline", "[broker][lane]") {
  SyncLane lane(nullptr);
  const auto clock = Clock::Real();
  std::vector<std::shared_ptr<Counted>> items;
  for (int i = 0; i < 3; ++i) items.push_back(std::make_shared<Counted>());
  for (const auto& item : items) lane.Enqueue(item);
  lane.Drain(*clock, absl::InfiniteDuration());
  for (const auto& item : items) CHECK(item->runs == 1);
  for (const auto& item : items) lane.Enqueue(item);
  lane.Drain(*clock, absl::ZeroDuration());
  for (const auto& item : items) CHECK(item->runs == 1);
}

TEST_CASE("every request is followed by a run, from many threads", "[broker][lane]") {
  SyncLane lane(nullptr);
  lane.Start(2);
  struct Item : Syncable {
    std::atomic<int> asked{0};
    std::atomic<int> seen{0};
    void RunSync() override { seen = asked.load(std::memory_order_relaxed); }
  };
  std::vector<std::shared_ptr<Item>> items;
  for (int i = 0; i < 3; ++i) items.push_back(std::make_shared<Item>());
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 3000; ++i) {
        const auto& item = items[static_cast<size_t>(i) % items.size()];
        item->asked.fetch_add(1, std::memory_order_relaxed);
        lane.Enqueue(item);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  lane.Drain(*Clock::Real(), absl::InfiniteDuration());
  for (const auto& item : items) CHECK(item->seen == 3000);
  lane.Stop();
}

}  // namespace millrace::broker
