// Calls at the wrong time, from the wrong place, or after the end: each is told what is wrong.
#include <atomic>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "client/fixture.h"
#include "millrace/testing/simulated_disk.h"

namespace millrace {
namespace {

using Catch::Contains;
using Catch::StartsWith;

}  // namespace

TEST_CASE("what is closed says so, and closing again is no error", "[client][misuse]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  Producer other = OrFail(m.client().NewProducer());
  Consumer consumer = m.Reader("t");
  Consumer left = m.Reader("t");
  const Client client = m.client();
  OrFail(producer.Close(absl::Seconds(1)));
  OrFail(producer.Close(absl::Seconds(1)));
  const std::string by_producer = "closed: the producer was closed";
  CHECK(Described(producer.Send({.topic = "t"}).Get().status()) == by_producer);
  CHECK(Described(producer.TrySend({.topic = "t"}, [](auto&) {})) == by_producer);
  std::vector<ProducerRecord> records = {{.topic = "t"}};
  CHECK(Described(producer.SendAll(records).at(0).status()) == by_producer);
  CHECK(Described(producer.Flush()) == by_producer);
  OrFail(consumer.Close(absl::Seconds(1)));
  OrFail(consumer.Close(absl::Seconds(1)));
  for (const Status& status :
       {consumer.Poll(absl::ZeroDuration()).status(), consumer.Commit(), consumer.Assign({}),
        consumer.SeekToBeginning(), consumer.EndOffsets({{"t", 0}}).status()}) {
    CHECK(Described(status) == "closed: the consumer was closed");
  }
  OrFail(m.broker->Close());
  OrFail(m.broker->Close());
  for (const Status& status :
       {other.Send({.topic = "t"}).Get().status(), client.NewProducer().status(),
        client.NewConsumer().status(), client.admin().CreateTopic("u"),
        client.admin().ListTopics().status(), left.Poll(absl::ZeroDuration()).status(),
        m.broker->Sync(), m.broker->RunMaintenance(), m.broker->Checkpoint("copy")}) {
    CHECK(Described(status) == "closed: the broker was closed");
  }
}

TEST_CASE("an empty callback and a moved-from producer are misuse", "[client][misuse]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  const std::string empty = "invalid_argument: the delivery callback is empty";
  CHECK(Described(producer.Send({.topic = "t"}, DeliveryCallback())) == empty);
  CHECK(Described(producer.TrySend({.topic = "t"}, DeliveryCallback())) == empty);
  Producer moved = std::move(producer);
  CHECK(ErrorIdOf(producer.Send({.topic = "t"}).Get().status()) == ErrorId::kInvalidArgument);
  CHECK(producer.buffered_bytes() == 0);
  CHECK(ErrorIdOf(Future<Delivery>().Get().status()) == ErrorId::kInvalidArgument);
  CHECK(moved.SendAll({}).empty());
}

TEST_CASE("a moved-from client or broker, and an admin of none, are misuse", "[client][misuse]") {
  Embedded m;
  Client client = m.client();
  const Client moved = std::move(client);
  Broker broker = OrFail(Broker::Open({}));
  const Broker moved_broker = std::move(broker);
  const auto handler = [](const RecordView&, std::stop_token) { return absl::OkStatus(); };
  for (const Client& none : {client, broker.client()}) {
    for (const Status& status :
         {none.NewProducer().status(), none.NewConsumer().status(), none.admin().CreateTopic("t"),
          none.admin().ListTopics().status(), Admin().DeleteGroup("g"),
          Run(none, {.group = "g", .topics = {"t"}}, {}, handler)})
      CHECK(ErrorIdOf(status) == ErrorId::kInvalidArgument);
    CHECK_FALSE(none.capabilities().in_process);
    CHECK(none.PrometheusText().empty());
  }
  CHECK(ErrorIdOf(broker.Sync()) == ErrorId::kInvalidArgument);
}

TEST_CASE("what waits for its own thread is refused inside a callback", "[client][misuse]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  std::vector<std::string> said;
  OrFail(producer.Send({.topic = "t"}, [&](const StatusOr<Delivery>&) {
    said = {Described(producer.Flush()), Described(producer.Close(absl::Seconds(1)))};
  }));
  OrFail(producer.Flush());
  CHECK(said == std::vector<std::string>{
                    "reentrant: Flush inside a delivery callback would wait for itself",
                    "reentrant: Close inside a delivery callback would wait for itself"});
  OrFail(producer.Send({.topic = "t"}).Get());
}

TEST_CASE("a callback that throws is logged and counted, and its record stays",
          "[client][misuse]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  OrFail(producer.Send({.topic = "t", .value = "v"},
                       [](const StatusOr<Delivery>&) { throw std::runtime_error("bang"); }));
  OrFail(producer.Send({.topic = "t", .value = "w"}, [](const StatusOr<Delivery>&) { throw 42; }));
  OrFail(producer.Flush());
  CHECK(m.log->Has(LogLevel::kError, "a delivery callback threw: bang"));
  CHECK(m.log->Has(LogLevel::kError, "a delivery callback threw"));
  double threw = -1;
  m.client().VisitMetrics([&](const MetricPoint& point) {
    if (point.name == "millrace_callbacks_threw_total") threw = point.value;
  });
  CHECK(threw == 2);
  Consumer consumer = m.Reader("t");
  CHECK(Next(consumer) == std::vector<std::string>{"v", "w"});
}

TEST_CASE("an observer is told of everything, and what it throws hurts nobody",
          "[client][misuse]") {
  struct Watcher : Observer {
    bool throws = false;
    int sent = 0, delivered = 0, polled = 0, committed = 0;
    void Count(int& what) const {
      ++what;
      if (throws) throw std::runtime_error("no");
    }
    void OnSend(ProducerRecord& r) override {
      r.headers.emplace_back("trace", "1");
      Count(sent);
    }
    void OnDelivered(const StatusOr<Delivery>&, absl::Duration) override { Count(delivered); }
    void OnPolled(const RecordBatch&) override { Count(polled); }
    void OnCommitted(const OffsetMap&, const Status&) override { Count(committed); }
  };
  const auto watcher = std::make_shared<Watcher>();
  watcher->throws = GENERATE(false, true);
  Embedded m({.background_threads = 0, .client = {.observer = watcher}});
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  int called = 0;
  OrFail(producer.Send({.topic = "t"}, [&](const StatusOr<Delivery>& d) { called += d.ok(); }));
  OrFail(producer.Send({.topic = "t"}).Get());
  std::vector<ProducerRecord> records;
  for (int i = 0; i < 2; ++i) records.push_back({.topic = "t"});
  for (const auto& answer : producer.SendAll(records)) OrFail(answer);
  OrFail(producer.Flush());
  CHECK(called == 1);
  Consumer consumer = OrFail(m.client().NewConsumer({.group = "g", .topics = {"t"}}));
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  REQUIRE(batch.size() == 4);
  for (const RecordView& record : batch) CHECK(record.header("trace") == Bytes("1"));
  OrFail(consumer.Commit());
  CHECK(watcher->sent == 4);
  CHECK(watcher->delivered == 4);
  CHECK(watcher->polled == 1);
  CHECK(watcher->committed == 1);
}

TEST_CASE("a consumer that reads nothing, or has no group, is told what to do",
          "[client][misuse]") {
  Embedded m;
  m.Topic("t");
  Consumer consumer = OrFail(m.client().NewConsumer());
  CHECK(Described(consumer.Poll(absl::ZeroDuration()).status()) ==
        "not_assigned: the consumer reads nothing: Subscribe to topics or Assign partitions first");
  CHECK(Described(consumer.Subscribe({"t"})) ==
        "invalid_group: subscribing needs ConsumerOptions::group; without one, Assign partitions");
  CHECK(Described(consumer.Commit()) == "invalid_group: the consumer has no group to commit for");
  CHECK(Described(consumer.CommitAsync().Get().status()) ==
        "invalid_group: the consumer has no group to commit for");
  OrFail(consumer.Assign({{"t", 0}}));
  for (const Status& status : {consumer.Seek({"t", 1}, 0), consumer.SeekToEnd({{"t", 1}}),
                               consumer.SeekToTime(absl::UnixEpoch(), {{"t", 1}}),
                               consumer.Pause({{"t", 1}}), consumer.Resume({{"t", 1}})}) {
    CHECK(Described(status) == "not_assigned: t-1 is not assigned to this consumer");
  }
  for (const int32_t bad : {-1, 1, INT32_MAX}) {
    CHECK_THAT(Described(consumer.Assign({{"t", bad}})), StartsWith("unknown_partition: ") &&
                                                             Contains(std::to_string(bad)) &&
                                                             Contains("[0, 1)"));
  }
  CHECK_THAT(Described(consumer.Assign({{"none", 0}})),
             StartsWith("unknown_topic: ") && Contains("none"));
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"t", 0}});
}

TEST_CASE("offsets that do not exist are told with those that do", "[client][misuse]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  OrFail(m.admin().DeleteRecords({{{"t", 0}, 2}}));
  Consumer consumer = m.Reader("t", 0, {.group = "g", .commits = Commits::kManual});
  OrFail(consumer.Seek({"t", 0}, 3));
  for (const Offset bad : {INT64_MIN, Offset{-1}, Offset{1}, Offset{6}, INT64_MAX}) {
    CHECK_THAT(Described(consumer.Seek({"t", 0}, bad)),
               StartsWith("offset_out_of_range: ") && Contains("t-0") &&
                   Contains(std::to_string(bad)) && Contains("[2, 5]"));
  }
  CHECK(consumer.position({"t", 0}) == 3);
  for (const Offset bad : {INT64_MIN, Offset{-1}, Offset{6}, INT64_MAX}) {
    const std::string said = fmt::format(
        "offset_out_of_range: t-0: offset {} cannot be committed; allowed: [0, 5], the "
        "high watermark",
        bad);
    CHECK(Described(consumer.Commit({{{"t", 0}, bad}})) == said);
    CHECK(Described(consumer.CommitAsync({{{"t", 0}, bad}}).Get().status()) == said);
    CHECK(Described(m.admin().AlterGroupOffsets("g", {{{"t", 0}, bad}})) == said);
  }
  CHECK(OrFail(consumer.Committed({{"t", 0}})).empty());
  for (const Offset bad : {INT64_MIN, Offset{-2}, Offset{6}, INT64_MAX}) {
    CHECK_THAT(
        Described(m.admin().DeleteRecords({{{"t", 0}, bad}})),
        StartsWith("offset_out_of_range: ") && Contains("t-0") && Contains(std::to_string(bad)));
  }
  OrFail(consumer.Commit({{{"t", 0}, 5}}));
  // Times have no end that is wrong.
  OrFail(consumer.SeekToTime(absl::InfinitePast()));
  CHECK(consumer.position({"t", 0}) == 2);
  OrFail(consumer.SeekToTime(absl::InfiniteFuture()));
  CHECK(consumer.position({"t", 0}) == 5);
}

TEST_CASE("a commit by a member that was removed is refused, and says who it is",
          "[client][misuse]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  Consumer consumer =
      OrFail(m.client().NewConsumer({.group = "g", .topics = {"t"}, .commits = Commits::kManual}));
  for (size_t read = 0; read < 5;) read += Next(consumer).size();
  OrFail(consumer.Commit({{{"t", 0}, 1}}));
  m.clock->Advance(absl::Minutes(6));
  OrFail(m.broker->RunMaintenance());
  const Status status = consumer.Commit({{{"t", 0}, 4}});
  CHECK_THAT(Described(status),
             StartsWith("unknown_member: ") && Contains("\"g\"") && Contains("is not a member"));
  CHECK(OrFail(m.admin().DescribeGroup("g")).committed.at({"t", 0}) == 1);
  while (Next(consumer).empty()) {
  }
  OrFail(consumer.Commit({{{"t", 0}, 4}}));  // it has joined again
}

TEST_CASE("64 threads may call anything at once", "[client][misuse]") {
  Broker broker = OrFail(Broker::Open({}));
  const Client client = broker.client();
  OrFail(client.admin().CreateTopic("t", {.partitions = 4}));
  Producer producer = OrFail(client.NewProducer());
  std::atomic<int> failed{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 64; ++t)
      threads.emplace_back([&, t] {
        const auto check = [&](const Status& status) { failed += !status.ok(); };
        for (int i = 0; i < 5; ++i) {
          check(producer.Send({.topic = "t", .partition = t % 4, .value = "v"}).Get().status());
          check(client.admin().CreateTopic(fmt::format("t{}-{}", t, i)));
          check(client.admin().SetTopicConfig("t", {{"retention.ms", std::to_string(1 << 30)}}));
          check(producer.Flush());
          check(client.admin().DeleteTopic(fmt::format("t{}-{}", t, i)));
          auto consumer = client.NewConsumer();
          check(consumer.status());
          if (!consumer.ok()) continue;
          check(consumer->Assign({{"t", t % 4}}));
          check(consumer->Poll(absl::ZeroDuration()).status());
        }
        if (t % 16 == 0) check(broker.Sync());
      });
  }
  CHECK(failed == 0);
  Offset total = 0;
  for (const PartitionInfo& partition : OrFail(client.admin().DescribeTopic("t")).partitions)
    total += partition.end;
  CHECK(total == 64 * 5);
  CHECK(OrFail(client.admin().ListTopics()) == std::vector<std::string>{"t"});
}

TEST_CASE("a file system that turns read-only while it is open takes nothing, and is read on",
          "[client][misuse]") {
  const auto disk = std::make_shared<testing::SimulatedDisk>();
  Embedded m({.directory = "data", .background_threads = 0, .env = {.files = disk}});
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 3));
  uint64_t calls = 0;
  disk->SetFaults([&](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    using enum testing::DiskOp;
    ++calls;
    for (const auto op : {kWrite, kTruncate, kCreateDir, kRemoveFile, kRename, kLink})
      if (call.op == op) return testing::Fault{.error = EROFS};
    return std::nullopt;
  });
  Producer producer = OrFail(m.client().NewProducer());
  const std::string said =
      "appends stop at offset 3, since a failed write could not be undone: PERMISSION_DENIED: "
      "truncation of data/";
  for (int i = 0; i < 3; ++i) {
    CHECK_THAT(Described(producer.Send({.topic = "t", .value = "v"}).Get().status()),
               StartsWith("io_error: data/t-0: " + said) && Contains("Read-only file system"));
    CHECK_THAT(Described(m.admin().CreateTopic("u")),
               StartsWith("io_error: ") && Contains(said) && Contains("Read-only file system"));
    m.clock->Advance(absl::Seconds(10));
    OrFail(m.broker->RunMaintenance());
  }
  Consumer consumer = m.Reader("t");
  CHECK(Next(consumer) == Numbers(0, 3));
  CHECK(calls < 200);  // nobody tries for ever
  CHECK_THAT(Described(m.broker->Close()), StartsWith("io_error: ") && Contains(said));
  disk->SetFaults(nullptr);
  m.Reopen();
  Consumer again = m.Reader("t");
  CHECK(Next(again) == Numbers(0, 3));
  m.Produce("t", 0, {"v"});
}

}  // namespace millrace
