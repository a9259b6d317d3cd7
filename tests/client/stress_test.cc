// Many threads at once; run under ThreadSanitizer for the full worth of it.
#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "client/fixture.h"

namespace millrace {
namespace {

TEST_CASE("concurrent senders keep each one's order, and every callback comes once",
          "[client][stress]") {
  const auto linger = GENERATE(absl::ZeroDuration(), absl::Microseconds(200));
  constexpr int kThreads = 4;
  constexpr int kEach = 800;
  Broker broker = OrFail(Broker::Open({.flush = Flush::kOs}));
  OrFail(broker.client().admin().CreateTopic("t", {.partitions = 2}));
  Producer producer = OrFail(broker.client().NewProducer(
      {.linger = linger, .batch_bytes = 2000, .max_buffered_bytes = 64 << 10}));
  std::vector<std::atomic<int>> answers(kThreads * kEach);
  std::atomic<int> failed{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          ProducerRecord record{
              .topic = "t", .partition = i % 2, .value = fmt::format("{} {}", t, i)};
          if (i % 50 == 0) {
            failed += !producer.Send(std::move(record)).Get().ok();
            ++answers[static_cast<size_t>(t * kEach + i)];
            continue;
          }
          const Status sent =
              producer.Send(std::move(record), [&, t, i](const StatusOr<Delivery>& d) {
                failed += !d.ok();
                ++answers[static_cast<size_t>(t * kEach + i)];
              });
          failed += !sent.ok();
          if (i % 97 == 0) producer.Flush().IgnoreError();
        }
      });
  }
  OrFail(producer.Flush());
  CHECK(failed == 0);
  CHECK(producer.buffered_bytes() == 0);
  for (const auto& count : answers) REQUIRE(count == 1);

  Consumer consumer = OrFail(broker.client().NewConsumer());
  OrFail(consumer.Assign({{"t", 0}, {"t", 1}}));
  std::map<std::pair<int, int>, int> last;
  int read = 0;
  while (read < kThreads * kEach) {
    const RecordBatch batch = OrFail(consumer.Poll(absl::Seconds(10)));
    REQUIRE_FALSE(batch.empty());
    for (const RecordView& record : batch) {
      int thread = 0;
      int number = 0;
      REQUIRE(std::sscanf(std::string(record.value().str()).c_str(), "%d %d", &thread, &number) ==
              2);
      auto [at, first] = last.try_emplace({record.partition(), thread}, -1);
      REQUIRE(number > at->second);
      at->second = number;
      ++read;
    }
  }
}

TEST_CASE("members come and go, and every record is read by the group", "[client][stress]") {
  constexpr int kPartitions = 6;
  constexpr int kRecords = 1500;
  Broker broker = OrFail(Broker::Open({.flush = Flush::kOs}));
  OrFail(broker.client().admin().CreateTopic("t", {.partitions = kPartitions}));
  Mutex mu;
  std::set<int> seen;
  std::atomic<bool> all{false};
  std::atomic<int> failed{0};
  std::jthread producing([&] {
    Producer producer = OrFail(broker.client().NewProducer());
    for (int i = 0; i < kRecords; ++i)
      failed += !producer
                     .Send({.topic = "t", .key = std::to_string(i), .value = std::to_string(i)},
                           [&](const StatusOr<Delivery>& d) { failed += !d.ok(); })
                     .ok();
    failed += !producer.Flush().ok();
  });
  std::vector<std::jthread> members;
  for (int m = 0; m < 3; ++m)
    members.emplace_back([&, m] {
      std::mt19937 random(static_cast<unsigned>(m));
      while (!all) {
        Consumer consumer = OrFail(
            broker.client().NewConsumer({.group = "g", .topics = {"t"}, .max_poll_records = 20}));
        for (auto polls = 5 + random() % 40; polls > 0 && !all; --polls) {
          const StatusOr<RecordBatch> batch = consumer.Poll(absl::Milliseconds(2));
          if (!batch.ok()) {
            ++failed;
            continue;
          }
          MutexLock lock(mu);
          for (const RecordView& record : *batch)
            seen.insert(std::stoi(std::string(record.value().str())));
          if (seen.size() == kRecords) all = true;
        }
        if (random() % 2 == 0) failed += !consumer.Close(absl::Seconds(5)).ok();
      }
    });
  for (auto& member : members) member.join();
  producing.join();
  CHECK(failed == 0);
  CHECK(seen.size() == kRecords);
}

TEST_CASE("closing the broker under load leaves nobody waiting", "[client][stress]") {
  for (int round = 0; round < 5; ++round) {
    Broker broker = OrFail(Broker::Open({}));
    OrFail(broker.client().admin().CreateTopic("t", {.partitions = 2}));
    std::atomic<int> accepted{0};
    std::atomic<int> answered{0};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&, client = broker.client()] {
          auto producer = client.NewProducer({.linger = absl::Microseconds(100)});
          if (!producer.ok()) return;  // closed before this thread began
          while (producer
                     ->Send({.topic = "t", .value = "v"},
                            [&](const StatusOr<Delivery>&) { ++answered; })
                     .ok())
            ++accepted;
        });
        threads.emplace_back([client = broker.client()] {
          auto consumer = client.NewConsumer({.group = "g", .topics = {"t"}});
          while (consumer.ok() && consumer->Poll(absl::InfiniteDuration()).ok()) {
          }
        });
      }
      while (answered < 200) std::this_thread::yield();
      OrFail(broker.Close());
    }
    CHECK(accepted == answered);
  }
}

}  // namespace
}  // namespace millrace
