// Many threads at once; what ThreadSanitizer is for.
#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker_fixture.h"

namespace millrace::broker {
namespace {

bool IsEnd(const Status& status) {
  const ErrorId id = ErrorIdOf(status);
  return status.ok() || id == ErrorId::kClosed || id == ErrorId::kUnknownTopic ||
         id == ErrorId::kTopicExists;
}

}  // namespace

TEST_CASE("appenders, readers, deleters and closers meet without harm", "[broker][stress]") {
  Options options;
  options.flush = GENERATE(FlushPolicy::kEachBatch, FlushPolicy::kOs);
  options.background_threads = GENERATE(1, 3);
  auto broker = OrFail(Broker::Open(options));
  const auto stable = MakeTopic(*broker, "stable", {{"segment.bytes", "20000"}});
  MakeTopic(*broker, "fleeting");
  std::atomic<bool> stop{false};
  std::atomic<int64_t> accepted{0};
  std::atomic<int64_t> answered{0};
  std::atomic<int> strange{0};
  const auto count = [&](const Status& status) { strange += IsEnd(status) ? 0 : 1; };

  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        const auto batch =
            MakeBatch(broker->buffers(), {"value"}, absl::ToUnixMillis(broker->clock().Now()));
        const Status status = stable->Append(batch, {}, [&](const StatusOr<Appended>& result) {
          ++answered;
          count(result.status());
        });
        if (status.ok()) ++accepted;
        count(status);
        const auto fleeting = broker->FindPartition("fleeting", 0);
        if (!fleeting.ok()) continue;
        const auto second =
            MakeBatch(broker->buffers(), {"value"}, absl::ToUnixMillis(broker->clock().Now()));
        count((*fleeting)->Append(second, {}, [](const StatusOr<Appended>&) {}));
        count((*fleeting)->SyncTo(INT64_MAX));
      }
    });
  }
  threads.emplace_back([&] {
    const auto bell = std::make_shared<Bell>();
    stable->AddListener(bell);
    Offset from = 0;
    Offset last = 0;
    while (!stop) {
      const Offset end = stable->high_watermark();
      strange += end < last ? 1 : 0;
      last = end;
      const auto fetched = stable->Fetch(from, 1000, ReadLevel::kCommitted);
      count(fetched.status());
      if (fetched.ok()) from = fetched->next_offset;
    }
    stable->RemoveListener(bell.get());
  });
  threads.emplace_back([&] {
    while (!stop) {
      count(broker->DeleteTopic("fleeting"));
      CreateTopicRequest request;
      request.name = "fleeting";
      count(broker->CreateTopic(request));
      count(broker->AlterConfig("stable", {{"retention.ms", "100000"}}));
      coordinator::OffsetCommit commit;
      commit.group = "g";
      commit.offsets[{"stable", 0}].offset = stable->log_start();
      count(CommitOffsets(*broker, commit, false));
      count(broker->Sync());
      count(broker->RunMaintenance());
    }
  });
  while (accepted < 300) std::this_thread::yield();
  std::vector<std::thread> closers;
  for (int i = 0; i < 2; ++i) {
    closers.emplace_back([&] { count(broker->Close(absl::Seconds(30))); });
  }
  for (std::thread& closer : closers) closer.join();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(strange == 0);
  CHECK(answered == accepted);
}

TEST_CASE("concurrent appends to one partition share syncs and keep their order",
          "[broker][stress]") {
  Options options;
  const auto broker = OrFail(Broker::Open(options));
  const auto partition = MakeTopic(*broker, "orders");
  constexpr int kThreads = 4;
  constexpr int kEach = 200;
  std::vector<std::thread> threads;
  std::atomic<int> bad{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        std::atomic<bool> done{false};
        const auto batch =
            MakeBatch(broker->buffers(), {std::to_string(t) + " " + std::to_string(i)},
                      absl::ToUnixMillis(broker->clock().Now()));
        OrFail(partition->Append(batch, {}, [&](const StatusOr<Appended>& appended) {
          bad += appended.ok() && partition->durable_end() >= appended->next_offset ? 0 : 1;
          done = true;
        }));
        while (!done) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(bad == 0);
  std::vector<int> next(kThreads, 0);
  for (const std::string& value : Values(*partition)) {
    const auto thread = static_cast<size_t>(value[0] - '0');
    bad += value == std::to_string(thread) + " " + std::to_string(next[thread]) ? 0 : 1;
    ++next[thread];
  }
  CHECK(bad == 0);
  CHECK(next == std::vector<int>(kThreads, kEach));
}

}  // namespace millrace::broker
