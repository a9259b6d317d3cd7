// Opening, closing, and what is left when neither was done well.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker_fixture.h"

namespace millrace::broker {
namespace {

using Catch::Contains;

std::string Message(const Status& status) { return std::string(status.message()); }

}  // namespace

TEST_CASE("every problem of the options is reported at once", "[broker][life]") {
  Options options;
  options.directory = std::string(5000, 'x');
  options.flush_interval = absl::ZeroDuration();
  options.default_partitions = 0;
  options.offsets_partitions = -3;
  options.max_total_bytes = -1;
  options.background_threads = 65;
  options.topic_defaults = {{"retension.ms", "1"}};
  const Status status = Broker::Open(options).status();
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidConfig);
  CHECK(Message(status) ==
        "directory: a path of 5000 bytes; allowed: at most 4000 bytes; "
        "flush_interval: 0; allowed: more than 0, and finite; "
        "topic_defaults.partitions: 0; allowed: [1, 100000]; "
        "offsets_partitions: -3; allowed: [1, 100000]; "
        "max_total_bytes: -1; allowed: 0 (unlimited) and more; "
        "background_threads: 65; allowed: [0, 64]; "
        "topic_defaults: broker default \"retension.ms\": no such topic config; the nearest is "
        "retention.ms");
  options = {};
  options.read_only = true;
  options.error_if_exists = true;
  CHECK_THAT(
      Message(Broker::Open(options).status()),
      Contains("read_only: with error_if_exists") && Contains("read_only: without a directory"));
}

TEST_CASE("a directory is opened, made or refused as asked", "[broker][life]") {
  Machine machine;
  Options options = machine.options();
  options.create_if_missing = false;
  Status status = Broker::Open(options).status();
  CHECK(ErrorIdOf(status) == ErrorId::kNotFound);
  CHECK_THAT(Message(status), Contains("data"));
  auto broker = machine.Open();
  status = Broker::Open(machine.options()).status();
  CHECK(ErrorIdOf(status) == ErrorId::kAlreadyOpen);
  OrFail(broker->Close(absl::Seconds(5)));
  options = machine.options();
  options.error_if_exists = true;
  CHECK(ErrorIdOf(Broker::Open(options).status()) == ErrorId::kAlreadyExists);
  machine.Open();
}

TEST_CASE("a memory broker is a world of its own", "[broker][life]") {
  Options options;
  options.background_threads = 0;
  const auto a = OrFail(Broker::Open(options));
  const auto b = OrFail(Broker::Open(options));
  OrFail(Append(*a, *MakeTopic(*a, "orders"), {"x"}).status());
  CHECK(b->metadata()->topics.empty());
  CHECK(a->incarnation() != b->incarnation());
  CHECK(Values(*OrFail(a->FindPartition("orders", 0))) == std::vector<std::string>{"x"});
  CHECK(ErrorIdOf(a->Checkpoint("copy")) == ErrorId::kInvalidArgument);
}

TEST_CASE("a clean close is opened without reading the log, and keeps the epoch",
          "[broker][life]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *partition, {"a"}).status());
  OrFail(broker->Close(absl::Seconds(5)));
  broker = machine.Open();
  CHECK(broker->recovery_reports().empty());
  const auto again = OrFail(broker->FindPartition("orders", 0));
  CHECK(again->leader_epoch() == 0);
  CHECK(again->high_watermark() == 1);
  CHECK(again->durable_end() == 1);
}

TEST_CASE("an unclean open bumps every leader epoch before anything is appended",
          "[broker][life]") {
  Machine machine;
  auto broker = machine.Open();
  CreateTopicRequest request;
  request.name = "orders";
  request.partitions = 2;
  OrFail(broker->CreateTopic(request));
  OrFail(Append(*broker, *OrFail(broker->FindPartition("orders", 0)), {"a"}).status());
  const bool power = GENERATE(true, false);
  for (int32_t epoch = 1; epoch < 4; ++epoch) {
    if (power) {
      machine.PowerCut(static_cast<uint64_t>(epoch));
    } else {
      machine.ProcessKill();
    }
    Abandon(broker);
    broker = machine.Open();
    const auto p0 = OrFail(broker->FindPartition("orders", 0));
    CHECK(p0->leader_epoch() == epoch);
    CHECK(OrFail(broker->FindPartition("orders", 1))->leader_epoch() == epoch);
    OrFail(Append(*broker, *p0, {"b"}).status());
    const auto end = p0->EndOfEpoch(epoch - 1);
    REQUIRE(end.has_value());
    CHECK(end->epoch == epoch - 1);
    CHECK(end->end_offset == epoch);
  }
}

TEST_CASE("after a close every call says closed, and a second close is OK", "[broker][life]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *partition, {"a"}).status());
  const FetchResult held = OrFail(partition->Fetch(0, 1000, ReadLevel::kCommitted));
  const auto waits = AppendLater(*broker, *partition, {"b"});
  const auto bell = std::make_shared<Bell>();
  partition->AddListener(bell);
  bool ran = false;
  broker->CallAt(machine.clock->Elapsed() + absl::Seconds(1), [&] { ran = true; });
  OrFail(broker->Close(absl::Seconds(5)));
  OrFail(broker->Close(absl::Seconds(5)));
  CHECK(broker->closed());
  CHECK(bell->count() > 0);
  REQUIRE(waits->given());
  OrFail(waits->result->status());  // drained, not failed
  CHECK_FALSE(ran);
  CreateTopicRequest request;
  request.name = "more";
  for (const Status& status : {broker->usable(),
                               broker->CreateTopic(request),
                               broker->DeleteTopic("orders"),
                               broker->AddPartitions("orders", 2),
                               broker->AlterConfig("orders", {}),
                               broker->DescribeConfig("orders").status(),
                               broker->FindPartition("orders", 0).status(),
                               broker->FindTopic("orders", true).status(),
                               broker->DeleteRecords({}),
                               broker->AllocateProducerId().status(),
                               broker->Sync(),
                               broker->RunMaintenance(),
                               broker->Checkpoint("copy"),
                               CommitOffsets(*broker, {}, true),
                               broker->CommittedOffsets("g").status(),
                               broker->ListGroups().status(),
                               GroupHeartbeat(*broker, {}, nullptr).status(),
                               broker->DescribeGroup("g").status(),
                               broker->DeleteGroup("g"),
                               broker->AlterGroupOffsets("g", {}),
                               broker->DeleteGroupOffsets("g", {}),
                               partition->SyncTo(1),
                               partition->Fetch(0, 100, ReadLevel::kCommitted).status(),
                               Append(*broker, *partition, {"c"}).status(),
                               partition->log().status(),
                               partition->FindTime(0).status(),
                               partition->FindMaxTimestamp().status()}) {
    CHECK(ErrorIdOf(status) == ErrorId::kClosed);
    CHECK_THAT(Message(status), Contains("data: the broker is closed"));
  }
  CHECK(OrFail(record::ParseHeader(held.bytes)).record_count == 1);
  CHECK(partition->high_watermark() == 2);
  CHECK_FALSE(partition->deleted());
  broker = nullptr;
  CHECK(ErrorIdOf(partition->SyncTo(1)) == ErrorId::kClosed);
  CHECK(Values(*OrFail(machine.Open()->FindPartition("orders", 0))).size() == 2);
}

TEST_CASE("a broker that is dropped closes, even from one of its own threads", "[broker][life]") {
  Machine machine;
  Options options = machine.options();
  options.background_threads = 3;
  options.env.clock = nullptr;
  auto broker = machine.Open(options);
  OrFail(Append(*broker, *MakeTopic(*broker, "orders"), {"a"}).status());
  std::atomic<bool> dropped{false};
  Broker* raw = broker.get();
  raw->CallAt(absl::ZeroDuration(), [raw, held = std::move(broker), &dropped]() mutable {
    CHECK(ErrorIdOf(raw->Close(absl::Seconds(5))) == ErrorId::kReentrant);
    dropped = true;
    held = nullptr;
  });
  while (!dropped) std::this_thread::yield();
  // The lock is free once it has closed.
  StatusOr<std::shared_ptr<Broker>> again = absl::UnknownError("");
  while (!(again = Broker::Open(machine.options())).ok()) {
    REQUIRE(ErrorIdOf(again.status()) == ErrorId::kAlreadyOpen);
    std::this_thread::yield();
  }
  CHECK(Values(*OrFail((*again)->FindPartition("orders", 0))) == std::vector<std::string>{"a"});
}

TEST_CASE("a forked child is told so, and cannot harm its parent", "[broker][life]") {
  Machine machine;
  Options options = machine.options();
  options.background_threads = 3;
  auto broker = machine.Open(options);
  auto partition = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *partition, {"a"}).status());
  const pid_t child = fork();
  if (child == 0) {
    int bad = 0;
    const auto check = [&](const Status& status) {
      bad += ErrorIdOf(status) == ErrorId::kForked ? 0 : 1;
    };
    const auto batch = MakeBatch(broker->buffers(), {"x"}, 1700000000000);
    CreateTopicRequest request;
    request.name = "more";
    check(broker->usable());
    check(broker->CreateTopic(request));
    check(broker->FindPartition("orders", 0).status());
    check(partition->Append(batch, {}, [](const StatusOr<Appended>&) {}));
    check(partition->SyncTo(1));
    check(partition->Fetch(0, 100, ReadLevel::kCommitted).status());
    check(broker->CommittedOffsets("g").status());
    check(broker->Close(absl::Seconds(1)));
    partition = nullptr;
    broker = nullptr;
    _exit(bad);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  OrFail(Append(*broker, *partition, {"b"}).status());
  OrFail(broker->Close(absl::Seconds(5)));
}

TEST_CASE("a read-only broker reads beside a writer and writes nothing", "[broker][life]") {
  Machine machine;
  const auto writer = machine.Open();
  const auto partition = MakeTopic(*writer, "orders");
  OrFail(Append(*writer, *partition, {"a", "b"}).status());
  Options options = machine.options();
  options.read_only = true;
  uint64_t writes = 0;
  machine.disk->SetFaults([&](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    using enum testing::DiskOp;
    for (const auto op : {kWrite, kSync, kTruncate, kCreateDir, kRemoveFile, kRemoveDir, kRename,
                          kLink, kSyncDir}) {
      writes += call.op == op ? 1 : 0;
    }
    return std::nullopt;
  });
  auto reader = machine.Open(options);
  const auto seen = OrFail(reader->FindPartition("orders", 0));
  CHECK(Values(*seen) == std::vector<std::string>{"a", "b"});
  CreateTopicRequest request;
  request.name = "more";
  for (const Status& status :
       {reader->CreateTopic(request), reader->DeleteTopic("orders"), reader->Sync(),
        Append(*reader, *seen, {"c"}).status(), CommitOffsets(*reader, {}, true),
        reader->AllocateProducerId().status(), reader->DeleteRecords({}),
        GroupHeartbeat(*reader, {}, nullptr).status(), reader->Checkpoint("copy")}) {
    CHECK(ErrorIdOf(status) == ErrorId::kReadOnly);
  }
  CHECK(OrFail(reader->CommittedOffsets("g")).empty());
  OrFail(reader->RunMaintenance());
  OrFail(reader->Close(absl::Seconds(5)));
  CHECK(writes == 0);
}

TEST_CASE("a reader takes a partition that was never used for an empty one", "[broker][life]") {
  Machine machine;
  const auto writer = machine.Open();
  CreateTopicRequest request;
  request.name = "orders";
  request.partitions = 2;
  OrFail(writer->CreateTopic(request));
  Options options = machine.options();
  options.read_only = true;
  const auto reader = machine.Open(options);
  const auto unused = OrFail(reader->FindPartition("orders", 1));
  CHECK(Values(*unused).empty());
  CHECK(unused->high_watermark() == 0);
  CHECK(OrFail(unused->FindTime(0)) == std::nullopt);
  CHECK(OrFail(unused->FindMaxTimestamp()) == std::nullopt);
  CHECK_FALSE(unused->Fetch(1, 100, ReadLevel::kCommitted).ok());
}

TEST_CASE("a log that changed after a clean close gets a new epoch before its next append",
          "[broker][life]") {
  Machine machine;
  auto broker = machine.Open();
  OrFail(Append(*broker, *MakeTopic(*broker, "touched"), {"a"}).status());
  OrFail(Append(*broker, *MakeTopic(*broker, "other"), {"a"}).status());
  OrFail(broker->Close(absl::Seconds(5)));
  const std::string path = "data/touched-0/00000000000000000000.log";
  OrFail(machine.disk->Poke(path, OrFail(machine.disk->Peek(path)) + std::string(100, '\0')));
  machine.PowerCut();

  broker = machine.Open();
  const auto touched = OrFail(broker->FindPartition("touched", 0));
  OrFail(Append(*broker, *touched, {"b"}).status());
  CHECK(touched->leader_epoch() == 1);
  CHECK(Values(*touched) == std::vector<std::string>{"a", "b"});
  REQUIRE(broker->recovery_reports().size() == 1);
  CHECK(broker->recovery_reports()[0].first.topic == "touched");
  const auto other = OrFail(broker->FindPartition("other", 0));
  OrFail(Append(*broker, *other, {"b"}).status());
  CHECK(other->leader_epoch() == 0);
  OrFail(broker->Close(absl::Seconds(5)));
  CHECK(OrFail(machine.Open()->FindPartition("touched", 0))->leader_epoch() == 1);
}

TEST_CASE("opening a clean directory does not read its partitions", "[broker][life]") {
  Machine machine;
  auto broker = machine.Open();
  CreateTopicRequest request;
  request.name = "many";
  request.partitions = 1000;
  OrFail(broker->CreateTopic(request));
  for (int32_t i = 0; i < 1000; ++i) {
    OrFail(Append(*broker, *OrFail(broker->FindPartition("many", i)), {"x"},
                  {.acks = AckLevel::kLeader})
               .status());
  }
  OrFail(broker->Close(absl::Seconds(60)));
  const uint64_t before = machine.disk->calls();
  broker = machine.Open();
  const uint64_t calls = machine.disk->calls() - before;
  INFO(calls);
  CHECK(calls < 100);
  CHECK(Values(*OrFail(broker->FindPartition("many", 999))) == std::vector<std::string>{"x"});
}

TEST_CASE("without threads nothing happens by itself, and the same calls do the same",
          "[broker][life]") {
  const auto run = [] {
    Machine machine;
    const auto broker = machine.Open();
    const auto partition =
        MakeTopic(*broker, "orders", {{"segment.bytes", "300"}, {"retention.ms", "60000"}});
    for (int i = 0; i < 20; ++i) {
      AppendLater(*broker, *partition, {"value " + std::to_string(i)});
      machine.clock->Advance(absl::Seconds(10));
      if (i % 3 == 0) OrFail(broker->RunMaintenance());
    }
    OrFail(broker->RunMaintenance());
    std::string state =
        std::to_string(partition->log_start()) + " " + std::to_string(partition->high_watermark());
    OrFail(broker->Close(absl::Seconds(5)));
    for (const std::string& path : machine.disk->AllFiles()) {
      state += path + OrFail(machine.disk->Peek(path));
    }
    return state;
  };
  const std::string first = run();
  CHECK(first == run());
  CHECK(first.substr(0, 2) != "0 ");  // retention had its turn
}

TEST_CASE("a checkpoint opens as a broker of its own", "[broker][life]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders", {{"segment.bytes", "300"}});
  for (int i = 0; i < 20; ++i) {
    OrFail(Append(*broker, *partition, {"value " + std::to_string(i)}).status());
  }
  MakeTopic(*broker, "empty");
  OrFail(broker->DeleteRecords({{{"orders", 0}, 7}}));
  for (const char* inside : {"data/copy", "data/orders-0/copy", "./data/x/y/"}) {
    const Status refused = broker->Checkpoint(inside);
    CHECK(ErrorIdOf(refused) == ErrorId::kInvalidArgument);
    CHECK_THAT(Text(refused), Catch::Contains("lies inside of the log directory"));
  }
  OrFail(broker->Checkpoint("copy"));
  CHECK(ErrorIdOf(broker->Checkpoint("copy")) == ErrorId::kAlreadyExists);
  OrFail(Append(*broker, *partition, {"after"}).status());
  OrFail(broker->DeleteTopic("empty"));

  Options options = machine.options();
  options.directory = "copy";
  auto copy = machine.Open(options);
  const auto twin = OrFail(copy->FindPartition("orders", 0));
  CHECK(twin->topic_id() == partition->topic_id());
  CHECK(twin->log_start() == 7);
  CHECK(twin->high_watermark() == 20);
  CHECK(Values(*twin, 7).size() == 13);
  CHECK(Values(*twin, 7).front() == "value 7");
  CHECK(copy->metadata()->topics.contains("empty"));
  OrFail(Append(*copy, *twin, {"own"}).status());
  CHECK(Values(*partition, 20) == std::vector<std::string>{"after"});
  OrFail(copy->Close(absl::Seconds(5)));
  OrFail(broker->Close(absl::Seconds(5)));
  CHECK(Values(*OrFail(machine.Open()->FindPartition("orders", 0)), 7).size() == 14);
}

}  // namespace millrace::broker
