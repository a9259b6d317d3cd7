// Topics: creating, describing, changing, deleting; and that all of it survives.
#include <algorithm>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker_fixture.h"

namespace millrace::broker {
namespace {

using Catch::Contains;

std::string Message(const Status& status) { return std::string(status.message()); }

bool HasFolder(Machine& machine, const std::string& name) {
  return machine.disk->Stat("data/" + name).ok();
}

}  // namespace

TEST_CASE("a topic that was created is there after a power cut", "[broker][topics]") {
  Machine machine;
  auto broker = machine.Open();
  CreateTopicRequest request;
  request.name = "orders";
  request.partitions = 3;
  request.config = {{"retention.ms", "1000"}};
  OrFail(broker->CreateTopic(request));
  const auto before = broker->metadata()->topics.at("orders");
  CHECK(before->partitions.size() == 3);
  CHECK_FALSE(before->id.is_zero());

  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  const auto after = broker->metadata()->topics.at("orders");
  CHECK(after->id == before->id);
  CHECK(after->partitions.size() == 3);
  CHECK(after->config == before->config);
  CHECK_FALSE(after->internal);
  const auto partition = OrFail(broker->FindPartition("orders", 2));
  OrFail(Append(*broker, *partition, {"a"}).status());
  CHECK(Values(*partition) == std::vector<std::string>{"a"});
}

TEST_CASE("what cannot be created is told why", "[broker][topics]") {
  Machine machine;
  const auto broker = machine.Open();
  MakeTopic(*broker, "orders.eu");
  CreateTopicRequest request;
  request.name = "orders.eu";
  Status status = broker->CreateTopic(request);
  CHECK(ErrorIdOf(status) == ErrorId::kTopicExists);
  CHECK(Message(status) == "topic orders.eu exists already, with 1 partition");

  request.name = "orders_eu";
  status = broker->CreateTopic(request);
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidTopic);
  CHECK_THAT(Message(status), Contains("differs from topic orders.eu only by '.' and '_'"));

  request.name = "a/b";
  CHECK(ErrorIdOf(broker->CreateTopic(request)) == ErrorId::kInvalidTopic);
  request.name = "__consumer_offsets";
  CHECK(ErrorIdOf(broker->CreateTopic(request)) == ErrorId::kInvalidTopic);

  request.name = "many";
  for (const int32_t count : {0, -1, 1000000}) {
    request.partitions = count;
    status = broker->CreateTopic(request);
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidPartitions);
    CHECK(Message(status) ==
          "topic many: " + std::to_string(count) + " partitions; allowed: [1, 100000]");
  }
  request.partitions = 1;
  request.replication = 3;
  status = broker->CreateTopic(request);
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidReplication);
  CHECK_THAT(Message(status), Contains("3 replicas; allowed: 1"));

  request.replication = 1;
  request.config = {{"min.insync.replicas", "2"}};
  status = broker->CreateTopic(request);
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidConfig);
  CHECK(Message(status) ==
        "topic many: min.insync.replicas: 2 is more than the topic's replicas, 1");
  request.config = {{"segment.bytes", "small"}};
  CHECK(ErrorIdOf(broker->CreateTopic(request)) == ErrorId::kInvalidConfig);
  CHECK(broker->metadata()->topics.size() == 1);
}

TEST_CASE("an unknown topic or partition is named", "[broker][topics]") {
  Machine machine;
  const auto broker = machine.Open();
  MakeTopic(*broker, "orders");
  Status status = broker->FindPartition("ordres", 0).status();
  CHECK(ErrorIdOf(status) == ErrorId::kUnknownTopic);
  CHECK(Message(status) == "topic \"ordres\" does not exist");
  for (const int32_t partition : {-1, 1}) {
    status = broker->FindPartition("orders", partition).status();
    CHECK(ErrorIdOf(status) == ErrorId::kUnknownPartition);
    CHECK(Message(status) == "topic orders has no partition " + std::to_string(partition) +
                                 "; its partitions are [0, 1)");
  }
  CHECK(ErrorIdOf(broker->FindTopic("ordres", true).status()) == ErrorId::kUnknownTopic);
  CHECK(ErrorIdOf(broker->DeleteTopic("ordres")) == ErrorId::kUnknownTopic);
  CHECK(ErrorIdOf(broker->AddPartitions("ordres", 2)) == ErrorId::kUnknownTopic);
  CHECK(ErrorIdOf(broker->AlterConfig("ordres", {})) == ErrorId::kUnknownTopic);
  CHECK(ErrorIdOf(broker->DescribeConfig("ordres").status()) == ErrorId::kUnknownTopic);
}

TEST_CASE("topics are made on first use when the broker is told to", "[broker][topics]") {
  Machine machine;
  Options options = machine.options();
  options.auto_create_topics = true;
  options.default_partitions = 2;
  const auto broker = machine.Open(options);
  CHECK(OrFail(broker->FindTopic("made", true)).size() == 2);
  CHECK(OrFail(broker->FindPartition("made.too", 1))->name().partition == 1);
  CHECK(ErrorIdOf(broker->FindTopic("not-made", false).status()) == ErrorId::kUnknownTopic);
  CHECK(ErrorIdOf(broker->FindTopic("not/legal", true).status()) == ErrorId::kInvalidTopic);
}

TEST_CASE("a topic grows, and its records stay where they are", "[broker][topics]") {
  Machine machine;
  auto broker = machine.Open();
  const auto first = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *first, {"a"}).status());
  const uint64_t version = broker->metadata_version();
  const auto bell = std::make_shared<Bell>();
  broker->AddMetadataListener(bell);
  OrFail(broker->AddPartitions("orders", 3));
  CHECK(broker->metadata_version() > version);
  CHECK(bell->count() == 1);
  CHECK(OrFail(broker->FindTopic("orders", false)).size() == 3);

  for (const int32_t total : {0, 2, 3, 100001}) {
    const Status status = broker->AddPartitions("orders", total);
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidPartitions);
    CHECK_THAT(Message(status),
               Contains("topic orders has 3 partitions") && Contains("allowed: [4, 100000]"));
  }
  broker->RemoveMetadataListener(bell.get());
  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  CHECK(OrFail(broker->FindTopic("orders", false)).size() == 3);
  CHECK(Values(*OrFail(broker->FindPartition("orders", 0))) == std::vector<std::string>{"a"});
}

TEST_CASE("a config changes as a whole or not at all", "[broker][topics]") {
  Machine machine;
  auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders", {{"retention.ms", "1000"}});
  OrFail(broker->AlterConfig("orders",
                             {{"max.message.bytes", "200"}, {"retention.ms", std::nullopt}}));
  CHECK(broker->metadata()->topics.at("orders")->config == ConfigMap{{"max.message.bytes", "200"}});
  CHECK(ErrorIdOf(Append(*broker, *partition, {std::string(300, 'x')}).status()) ==
        ErrorId::kRecordTooLarge);

  Status status =
      broker->AlterConfig("orders", {{"max.message.bytes", "500"}, {"segment.bytes", "x"}});
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidConfig);
  CHECK_THAT(Message(status), Contains("topic orders: segment.bytes: \"x\""));
  CHECK(broker->metadata()->topics.at("orders")->config.at("max.message.bytes") == "200");
  status = broker->AlterConfig("orders", {{"retension.ms", std::nullopt}});
  CHECK_THAT(Message(status), Contains("the nearest is retention.ms"));

  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  for (const ConfigEntry& entry : OrFail(broker->DescribeConfig("orders"))) {
    if (entry.name != "max.message.bytes") continue;
    CHECK(entry.value == "200");
    CHECK(entry.default_value == "1048588");
    CHECK(entry.source == ConfigSource::kTopic);
  }
}

TEST_CASE("a deleted topic is gone, its folder too, and a new one starts empty",
          "[broker][topics]") {
  Machine machine;
  auto broker = machine.Open();
  const auto old = MakeTopic(*broker, "orders");
  OrFail(Append(*broker, *old, {"a", "b"}).status());
  const auto bell = std::make_shared<Bell>();
  old->AddListener(bell);
  CHECK(HasFolder(machine, "orders-0"));
  OrFail(broker->DeleteTopic("orders"));
  CHECK(old->deleted());
  CHECK(bell->count() > 0);
  CHECK_FALSE(HasFolder(machine, "orders-0"));
  CHECK(ErrorIdOf(broker->FindPartition("orders", 0).status()) == ErrorId::kUnknownTopic);
  for (const Status& status : {old->Fetch(0, 100, ReadLevel::kCommitted).status(),
                               Append(*broker, *old, {"c"}).status(), old->SyncTo(1)}) {
    CHECK(ErrorIdOf(status) == ErrorId::kUnknownTopic);
    CHECK_THAT(Message(status), Contains("orders-0") && Contains("was deleted"));
  }

  const auto fresh = MakeTopic(*broker, "orders");
  CHECK(fresh->topic_id() != old->topic_id());
  CHECK(fresh->high_watermark() == 0);
  OrFail(Append(*broker, *fresh, {"new"}).status());
  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  CHECK(Values(*OrFail(broker->FindPartition("orders", 0))) == std::vector<std::string>{"new"});
  CHECK(ErrorIdOf(broker->DeleteTopic("__consumer_offsets")) == ErrorId::kInvalidTopic);
}

TEST_CASE("appends that wait are answered when their topic is deleted", "[broker][topics]") {
  Machine machine;
  const auto broker = machine.Open();
  const auto partition = MakeTopic(*broker, "orders");
  const auto answer = AppendLater(*broker, *partition, {"a"});
  CHECK_FALSE(answer->given());
  OrFail(broker->DeleteTopic("orders"));
  REQUIRE(answer->given());
  CHECK(ErrorIdOf(answer->result->status()) == ErrorId::kUnknownTopic);
}

TEST_CASE("a folder that the metadata does not know is kept and reported", "[broker][topics]") {
  Machine machine;
  {
    Machine other;
    const auto broker = other.Open();
    OrFail(Append(*broker, *MakeTopic(*broker, "lost"), {"precious"}).status());
    OrFail(broker->Close(absl::Seconds(5)));
    const auto opened = machine.Open();
    OrFail(opened->Close(absl::Seconds(5)));
    OrFail(machine.disk->CreateDir("data/lost-0"));
    for (const std::string& path : other.disk->AllFiles()) {
      if (path.find("lost-0/") == std::string::npos) continue;
      OrFail(machine.disk->Poke(path, OrFail(other.disk->Peek(path))));
    }
  }
  const auto broker = machine.Open();
  CHECK(HasFolder(machine, "lost-0"));
  REQUIRE(machine.warnings.size() == 1);
  CHECK_THAT(machine.warnings[0], Contains("orphan_data") && Contains("data/lost-0"));
  REQUIRE(broker->recovery_reports().size() == 1);
  CHECK_THAT(broker->recovery_reports()[0].second.notes[0], Contains("data/lost-0"));

  CreateTopicRequest request;
  request.name = "lost";
  const Status status = broker->CreateTopic(request);
  CHECK(ErrorIdOf(status) == ErrorId::kOrphanData);
  CHECK_THAT(Message(status), Contains("data/lost-0") && Contains("its data is kept"));
  request.name = "other";
  OrFail(broker->CreateTopic(request));
  OrFail(broker->RunMaintenance());
  OrFail(broker->Close(absl::Seconds(5)));
  CHECK(HasFolder(machine, "lost-0"));
  CHECK_THAT(OrFail(machine.disk->Peek("data/lost-0/00000000000000000000.log")),
             Contains("precious"));
}

TEST_CASE("a lost folder is data loss for its partition alone", "[broker][topics]") {
  Machine machine;
  auto broker = machine.Open();
  CreateTopicRequest request;
  request.name = "orders";
  request.partitions = 3;
  OrFail(broker->CreateTopic(request));
  OrFail(Append(*broker, *OrFail(broker->FindPartition("orders", 0)), {"a"}).status());
  OrFail(Append(*broker, *OrFail(broker->FindPartition("orders", 1)), {"b"}).status());
  OrFail(broker->Close(absl::Seconds(5)));
  for (const std::string& path : machine.disk->AllFiles()) {
    if (path.find("orders-0/") != std::string::npos) OrFail(machine.disk->Erase(path));
  }
  OrFail(machine.disk->RemoveDir("data/orders-0"));

  broker = machine.Open();
  const auto lost = OrFail(broker->FindPartition("orders", 0));
  const Status status = lost->Fetch(0, 100, ReadLevel::kCommitted).status();
  CHECK(ErrorIdOf(status) == ErrorId::kCorruptLog);
  CHECK(ErrorIdOf(Append(*broker, *lost, {"c"}).status()) == ErrorId::kCorruptLog);
  CHECK(Values(*OrFail(broker->FindPartition("orders", 1))) == std::vector<std::string>{"b"});
  // Never written: its folder was never made.
  CHECK(Values(*OrFail(broker->FindPartition("orders", 2))).empty());
}

TEST_CASE("records are deleted durably, all entries or none", "[broker][topics]") {
  Machine machine;
  auto broker = machine.Open();
  CreateTopicRequest request;
  request.name = "orders";
  request.partitions = 2;
  OrFail(broker->CreateTopic(request));
  const auto p0 = OrFail(broker->FindPartition("orders", 0));
  const auto p1 = OrFail(broker->FindPartition("orders", 1));
  for (const char* value : {"a", "b", "c"}) {
    OrFail(Append(*broker, *p0, {value}).status());
    OrFail(Append(*broker, *p1, {value}).status());
  }
  Status status = broker->DeleteRecords({{{"orders", 0}, 2}, {{"orders", 1}, 4}});
  CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
  CHECK_THAT(Message(status), Contains("orders-1") && Contains("offset 4") && Contains("[0, 3]"));
  CHECK(p0->log_start() == 0);

  const auto bell = std::make_shared<Bell>();
  p0->AddListener(bell);
  OrFail(broker->DeleteRecords({{{"orders", 0}, 2}, {{"orders", 1}, -1}}));
  CHECK(bell->count() > 0);
  CHECK(p0->log_start() == 2);
  CHECK(p1->log_start() == 3);
  status = p0->Fetch(1, 100, ReadLevel::kCommitted).status();
  CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
  CHECK_THAT(Message(status), Contains("[2, 3)"));

  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  CHECK(OrFail(broker->FindPartition("orders", 0))->log_start() == 2);
  CHECK(OrFail(broker->FindPartition("orders", 1))->log_start() == 3);
  CHECK(Values(*OrFail(broker->FindPartition("orders", 0)), 2) == std::vector<std::string>{"c"});
}

TEST_CASE("a producer id is handed out once, whatever happens in between", "[broker][topics]") {
  Machine machine;
  std::vector<int64_t> ids;
  for (int i = 0; i < 3; ++i) {
    auto broker = machine.Open();
    for (int j = 0; j < 1001; ++j) ids.push_back(OrFail(broker->AllocateProducerId()));
    machine.PowerCut(static_cast<uint64_t>(i));
    Abandon(broker);
  }
  std::ranges::sort(ids);
  CHECK(std::ranges::adjacent_find(ids) == ids.end());
  CHECK(ids.front() == 0);
}

}  // namespace millrace::broker
