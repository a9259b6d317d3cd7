#include <atomic>
#include <csignal>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "client/fixture.h"

namespace millrace {
namespace {

struct RunFixture {
  RunFixture() {
    OrFail(client.admin().CreateTopic("t", {.partitions = 3}));
    OrFail(client.admin().CreateTopic("dead"));
  }
  void Produce(int count, int keys = 5) {
    Producer producer = OrFail(client.NewProducer());
    std::vector<ProducerRecord> records;
    for (int i = 0; i < count; ++i)
      records.push_back(
          {.topic = "t", .key = std::to_string(i % keys), .value = std::to_string(i)});
    for (const auto& answer : producer.SendAll(records)) OrFail(answer);
  }
  int64_t Lag() {
    int64_t lag = 0;
    const auto info = OrFail(client.admin().DescribeGroup("g"));
    for (const auto& [tp, n] : info.lag) lag += n;
    return lag;
  }
  Client client = OrFail(Open("memory:"));
  std::stop_source stop;
};

TEST_CASE("Run handles every record, in the order asked for, and commits", "[client][run]") {
  const auto order = GENERATE(Ordering::kPartition, Ordering::kKey, Ordering::kNone);
  RunFixture f;
  f.Produce(300);
  Mutex mu;
  std::map<std::string, int> last;
  std::set<int> seen;
  std::map<std::string, int> running;
  bool out_of_order = false;
  const Status status = Run(
      f.client, {.group = "g", .topics = {"t"}},
      {.workers = 4, .order = order, .max_in_flight = 50},
      [&](const RecordView& r, std::stop_token) -> Status {
        const int number = std::stoi(std::string(r.value().str()));
        const std::string strand = order == Ordering::kPartition ? std::to_string(r.partition())
                                                                 : std::string(r.key().str());
        {
          MutexLock lock(mu);
          auto [at, first] = last.try_emplace(strand, -1);
          out_of_order |= number <= at->second || running[strand]++ > 0;
          at->second = number;
        }
        std::this_thread::yield();
        MutexLock lock(mu);
        --running[strand];
        seen.insert(number);
        if (seen.size() == 300) f.stop.request_stop();
        return absl::OkStatus();
      },
      f.stop.get_token());
  OrFail(status);
  CHECK(seen.size() == 300);
  if (order != Ordering::kNone) CHECK_FALSE(out_of_order);
  CHECK(f.Lag() <= 4);  // those that were in their handlers at the stop
}

TEST_CASE("an error ends Run, after the last attempt", "[client][run]") {
  RunFixture f;
  f.Produce(1);
  std::atomic<int> attempts{0};
  const Status status = Run(f.client, {.group = "g", .topics = {"t"}},
                            {.max_attempts = 3, .backoff = absl::Microseconds(10)},
                            [&](const RecordView&, std::stop_token) -> Status {
                              ++attempts;
                              return absl::InternalError("no");
                            });
  CHECK(absl::IsInternal(status));
  CHECK_THAT(std::string(status.message()), Catch::Contains("offset 0: no"));
  CHECK(attempts == 3);
  // The record comes again: at most its own offset is committed.
  for (const auto& [tp, next] : OrFail(f.client.admin().DescribeGroup("g")).committed)
    CHECK(next == 0);
}

TEST_CASE("what fails for good goes to the dead letters, with its reason", "[client][run]") {
  RunFixture f;
  f.Produce(10);
  std::atomic<int> handled{0};
  std::jthread stopper([&] {
    Consumer dead = OrFail(f.client.NewConsumer());
    OrFail(dead.Assign({{"dead", 0}}));
    while (OrFail(dead.Poll(absl::Seconds(10))).empty()) {
    }
    while (handled < 9) std::this_thread::yield();
    f.stop.request_stop();
  });
  OrFail(Run(
      f.client, {.group = "g", .topics = {"t"}}, {.workers = 2, .dead_letter_topic = "dead"},
      [&](const RecordView& r, std::stop_token) -> Status {
        if (r.value() == "4") throw std::runtime_error("cannot do 4");
        ++handled;
        return absl::OkStatus();
      },
      f.stop.get_token()));
  stopper.join();
  Consumer dead = OrFail(f.client.NewConsumer());
  OrFail(dead.Assign({{"dead", 0}}));
  const RecordBatch batch = OrFail(dead.Poll(absl::ZeroDuration()));
  REQUIRE(batch.size() == 1);
  const RecordView& letter = *batch.begin();
  CHECK(letter.value() == Bytes("4"));
  CHECK(letter.key() == Bytes("4"));
  CHECK_THAT(std::string(letter.header("millrace.error")->str()), Catch::Contains("cannot do 4"));
  CHECK(letter.header("millrace.topic") == std::optional<Bytes>("t"));
  CHECK(letter.header("millrace.offset").has_value());
}

TEST_CASE("two Runs of a group share the partitions, and handlers are told to stop",
          "[client][run]") {
  RunFixture f;
  f.Produce(200);
  Mutex mu;
  std::multiset<int> seen;
  std::atomic<bool> second_started{false};
  const auto work = [&](bool first) {
    return Run(
        f.client, {.group = "g", .topics = {"t"}, .max_poll_records = 10},
        {.workers = 2, .max_in_flight = 20},
        [&, first](const RecordView& r, std::stop_token revoked) -> Status {
          if (first)
            while (!second_started && !revoked.stop_requested()) std::this_thread::yield();
          if (revoked.stop_requested()) return absl::CancelledError();
          MutexLock lock(mu);
          seen.insert(std::stoi(std::string(r.value().str())));
          if (std::set<int>(seen.begin(), seen.end()).size() == 200) f.stop.request_stop();
          return absl::OkStatus();
        },
        f.stop.get_token());
  };
  Status a;
  Status b;
  std::jthread first([&] { a = work(true); });
  std::jthread second([&] {
    second_started = true;
    b = work(false);
  });
  first.join();
  second.join();
  OrFail(a);
  OrFail(b);
  CHECK(std::set<int>(seen.begin(), seen.end()).size() == 200);
}

TEST_CASE("Run says what is wrong with its options", "[client][run]") {
  RunFixture f;
  const auto handler = [](const RecordView&, std::stop_token) { return absl::OkStatus(); };
  CHECK(absl::IsInvalidArgument(Run(f.client, {.topics = {"t"}}, {}, handler)));
  CHECK(absl::IsInvalidArgument(Run(f.client, {.group = "g"}, {}, handler)));
  CHECK(absl::IsInvalidArgument(
      Run(f.client, {.group = "g", .topics = {"t"}}, {.workers = 0}, handler)));
  CHECK(absl::IsInvalidArgument(Run(f.client, {.group = "g", .topics = {"t"}}, {}, Handler())));
}

TEST_CASE("a signal requests the stop, and the next one is as before", "[client][run]") {
  static std::atomic<int> before{0};
  std::signal(SIGUSR1, [](int) { ++before; });
  const std::stop_token stop = StopOnSignals({SIGUSR1, SIGUSR2});
  CHECK_FALSE(stop.stop_requested());
  std::raise(SIGUSR1);
  while (!stop.stop_requested()) std::this_thread::yield();
  CHECK(before == 0);
  std::raise(SIGUSR1);
  CHECK(before == 1);
  std::signal(SIGUSR1, SIG_DFL);
}

}  // namespace
}  // namespace millrace
