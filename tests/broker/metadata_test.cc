// The metadata log: replay, snapshots, and what is done about damage.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker/metadata_snapshot.h"
#include "broker/metadata_state.h"
#include "broker_fixture.h"

namespace millrace::broker {
namespace {

using Catch::Contains;

constexpr char kFolder[] = "data/__cluster_metadata-0/";

std::vector<std::string> Checkpoints(Machine& machine) {
  std::vector<std::string> found;
  for (const std::string& path : machine.disk->AllFiles()) {
    if (path.ends_with(".checkpoint")) found.push_back(path);
  }
  return found;
}

// Configs with long values: the log grows fast.
void AlterUntilSnapshots(Machine& machine, Broker& broker, size_t count) {
  for (int i = 0; Checkpoints(machine).size() < count; ++i) {
    REQUIRE(i < 5000);
    std::map<std::string, std::optional<std::string>> changes;
    for (const ConfigDefinition& row : TopicConfigTable()) {
      changes[std::string(row.name)] = std::string(row.default_value);
    }
    OrFail(broker.AlterConfig("orders", changes));
  }
}

}  // namespace

TEST_CASE("snapshots are named as Kafka names them", "[broker][metadata]") {
  CHECK(SnapshotFileName({.end_offset = 42, .epoch = 7}) ==
        "00000000000000000042-0000000007.checkpoint");
  CHECK(ParseSnapshotFileName("00000000000000000042-0000000007.checkpoint") ==
        SnapshotId{.end_offset = 42, .epoch = 7});
  for (const char* name :
       {"", "00000000000000000042-0000000007.checkpoin",
        "00000000000000000042_0000000007.checkpoint", "0000000000000000004x-0000000007.checkpoint",
        "-0000000000000000042-0000000007.checkpoint", "-0000000000000000000-0000000007.checkpoint",
        "99999999999999999999-0000000007.checkpoint",
        "00000000000000000042-9999999999.checkpoint"}) {
    INFO(name);
    CHECK(ParseSnapshotFileName(name) == std::nullopt);
  }
}

TEST_CASE("metadata that no broker writes is refused, and changes nothing", "[broker][metadata]") {
  MetadataState state;
  const Uuid id = Uuid::FromRandom(1, 2);
  const Uuid dead = Uuid::FromRandom(3, 4);
  OrFail(state.Apply(schema::TopicRecord{.name = "orders", .topic_id = id}));
  OrFail(state.Apply(MakePartitionRecord(id, 0, {.partition_epoch = INT32_MAX})));
  OrFail(state.Apply(schema::TopicRecord{.name = "dead", .topic_id = dead}));
  OrFail(state.Apply(schema::RemoveTopicRecord{.topic_id = dead}));
  const auto before = state.Snapshot();
  const auto refused = [&](const schema::MetadataRecord& record, const char* why) {
    const Status status = state.Apply(record);
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptLog);
    CHECK_THAT(status.ToString(), Contains(why));
    CHECK(state.Snapshot() == before);
  };
  refused(schema::TopicRecord{.name = "orders", .topic_id = Uuid::FromRandom(5, 6)}, "twice");
  // A snapshot lists the deleted topics last, and so would lose this one.
  refused(schema::TopicRecord{.name = "back", .topic_id = dead}, "that was deleted");
  refused(schema::PartitionChangeRecord{.partition_id = 0, .topic_id = id}, "no epoch after");
  refused(MakePartitionRecord(id, 7, {}), "has no place");
  refused(MakeConfigRecord("nobody", "retention.ms", "5"), "not there");
}

TEST_CASE("a snapshot brings an empty state to where it was taken", "[broker][metadata]") {
  BufferPool pool;
  MetadataState state;
  const Uuid id = Uuid::FromRandom(1, 2);
  const Uuid dead = Uuid::FromRandom(3, 4);
  const std::vector<schema::MetadataRecord> records = {
      schema::FeatureLevelRecord{.name = "metadata.version", .feature_level = 7},
      schema::TopicRecord{.name = "orders", .topic_id = id},
      MakePartitionRecord(id, 0, {}),
      MakePartitionRecord(id, 1, {.leader_epoch = 3, .partition_epoch = 4}),
      MakeConfigRecord("orders", "retention.ms", "5"),
      schema::TopicRecord{.name = "dead", .topic_id = dead},
      schema::PartitionChangeRecord{.partition_id = 1, .topic_id = id, .leader = kNodeId},
      schema::PartitionChangeRecord{.partition_id = 0, .topic_id = id},
      schema::RemoveTopicRecord{.topic_id = dead},
      schema::ProducerIdsRecord{.broker_id = kNodeId, .next_producer_id = 2000},
      schema::NoOpRecord{}};
  for (const auto& record : records) OrFail(state.Apply(record));
  const auto image = state.Publish();
  const auto bytes = OrFail(EncodeSnapshot(state.Snapshot(), 1, 5, pool));

  MetadataState again;
  for (const auto& record : OrFail(DecodeSnapshot(bytes, pool))) OrFail(again.Apply(record));
  const auto twin = again.Publish();
  REQUIRE(twin->topics.size() == 1);
  const TopicImage& topic = *twin->topics.at("orders");
  CHECK(topic.id == id);
  REQUIRE(topic.partitions.size() == 2);
  CHECK(topic.partitions[0].leader_epoch == 0);
  CHECK(topic.partitions[0].partition_epoch == 1);
  CHECK(topic.partitions[1].leader_epoch == 4);
  CHECK(topic.partitions[1].partition_epoch == 5);
  CHECK(topic.config == ConfigMap{{"retention.ms", "5"}});
  CHECK(again.next_producer_id() == 2000);
  CHECK(again.tombstones() == std::set<Uuid>{dead});
  CHECK(again.Snapshot() == state.Snapshot());

  SECTION("none of its bytes can change unnoticed") {
    for (size_t i = 0; i < bytes.size(); ++i) {
      auto damaged = bytes;
      damaged[i] ^= std::byte{0x10};
      const auto decoded = DecodeSnapshot(damaged, pool);
      // The leader epoch of a batch lies outside of its checksum, and says nothing here.
      if (decoded.ok()) CHECK(*decoded == again.Snapshot());
    }
    for (size_t size = 0; size < bytes.size(); ++size) {
      const auto decoded = DecodeSnapshot(std::span(bytes).first(size), pool);
      CHECK_FALSE(decoded.ok());
    }
    auto longer = bytes;
    longer.push_back(std::byte{0});
    CHECK_FALSE(DecodeSnapshot(longer, pool).ok());
  }
}

TEST_CASE("records that contradict each other are not taken in", "[broker][metadata]") {
  MetadataState state;
  const Uuid id = Uuid::FromRandom(1, 2);
  const Uuid other = Uuid::FromRandom(3, 4);
  OrFail(state.Apply(schema::TopicRecord{.name = "orders", .topic_id = id}));
  OrFail(state.Apply(MakePartitionRecord(id, 0, {})));
  for (const schema::MetadataRecord& record : std::vector<schema::MetadataRecord>{
           schema::TopicRecord{.name = "orders", .topic_id = other},
           schema::TopicRecord{.name = "others", .topic_id = id}, MakePartitionRecord(id, 0, {}),
           MakePartitionRecord(id, 2, {}), MakePartitionRecord(other, 0, {}),
           schema::PartitionChangeRecord{.partition_id = 1, .topic_id = id},
           schema::PartitionChangeRecord{.partition_id = -1, .topic_id = id},
           MakeConfigRecord("others", "retention.ms", "5")}) {
    CHECK(ErrorIdOf(state.Apply(record)) == ErrorId::kCorruptLog);
  }
  const Status status = state.Apply(schema::RegisterBrokerRecord{});
  CHECK(ErrorIdOf(status) == ErrorId::kUnsupportedVersion);
  CHECK_THAT(std::string(status.message()), Contains("RegisterBrokerRecord"));
  schema::ConfigRecord broker_config = MakeConfigRecord("1", "x", "y");
  broker_config.resource_type = 4;
  CHECK(ErrorIdOf(state.Apply(broker_config)) == ErrorId::kUnsupportedVersion);
}

TEST_CASE("the log of metadata is cut by snapshots, and opens from them", "[broker][metadata]") {
  Machine machine;
  auto broker = machine.Open();
  MakeTopic(*broker, "orders");
  MakeTopic(*broker, "dead");
  OrFail(broker->DeleteTopic("dead"));
  const int64_t id = OrFail(broker->AllocateProducerId());
  AlterUntilSnapshots(machine, *broker, 2);
  for (int i = 0; i < 300; ++i) OrFail(broker->AlterConfig("orders", {{"retention.ms", "777"}}));
  // A third one makes the first superfluous, and the log before the second.
  const std::string first = Checkpoints(machine)[0];
  for (int i = 0; machine.disk->Stat(first).ok(); ++i) {
    REQUIRE(i < 5000);
    std::map<std::string, std::optional<std::string>> changes;
    for (const ConfigDefinition& row : TopicConfigTable()) {
      changes[std::string(row.name)] = std::string(row.default_value);
    }
    changes["retention.ms"] = "777";
    OrFail(broker->AlterConfig("orders", changes));
  }
  REQUIRE(Checkpoints(machine).size() == 2);
  CHECK_FALSE(machine.disk->Stat(std::string(kFolder) + "00000000000000000000.log").ok());
  const auto expect = broker->metadata()->topics.at("orders")->config;
  const std::string newest = Checkpoints(machine).back();
  const std::string older = Checkpoints(machine).front();

  SECTION("after a clean close") { OrFail(broker->Close(absl::Seconds(5))); }
  SECTION("after a power cut") {
    machine.PowerCut();
    Abandon(broker);
  }
  SECTION("with the newest snapshot damaged") {
    OrFail(broker->Close(absl::Seconds(5)));
    std::string bytes = OrFail(machine.disk->Peek(newest));
    bytes[bytes.size() / 2] ^= 1;
    OrFail(machine.disk->Poke(newest, bytes));
  }
  SECTION("with the newest snapshot half written") {
    OrFail(broker->Close(absl::Seconds(5)));
    const std::string bytes = OrFail(machine.disk->Peek(newest));
    OrFail(machine.disk->Poke(newest, bytes.substr(0, bytes.size() / 2)));
  }
  SECTION("not with both of them lost: nothing is guessed") {
    OrFail(broker->Close(absl::Seconds(5)));
    OrFail(machine.disk->Erase(newest));
    OrFail(machine.disk->Erase(older));
    const Status status = Broker::Open(machine.options()).status();
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptLog);
    CHECK_THAT(std::string(status.message()),
               Contains("__cluster_metadata-0") && Contains("no valid snapshot"));
    return;
  }
  broker = machine.Open();
  CHECK(broker->metadata()->topics.size() == 1);
  CHECK(broker->metadata()->topics.at("orders")->config == expect);
  CHECK(OrFail(broker->AllocateProducerId()) > id);
  OrFail(Append(*broker, *OrFail(broker->FindPartition("orders", 0)), {"a"}).status());
}

TEST_CASE("a change of metadata that cannot be written changes nothing", "[broker][metadata]") {
  Machine machine;
  auto broker = machine.Open();
  MakeTopic(*broker, "orders");
  machine.disk->SetFaults([](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    if (call.op != testing::DiskOp::kWrite) return {};
    return testing::Fault{.error = ENOSPC};
  });
  const uint64_t version = broker->metadata_version();
  CreateTopicRequest request;
  request.name = "more";
  CHECK(ErrorIdOf(broker->CreateTopic(request)) == ErrorId::kNoSpace);
  CHECK(ErrorIdOf(broker->DeleteTopic("orders")) == ErrorId::kNoSpace);
  CHECK(ErrorIdOf(broker->AddPartitions("orders", 2)) == ErrorId::kNoSpace);
  CHECK(ErrorIdOf(broker->AlterConfig("orders", {{"retention.ms", "1"}})) == ErrorId::kNoSpace);
  CHECK(broker->metadata_version() == version);
  CHECK(OrFail(broker->FindTopic("orders", false)).size() == 1);
  machine.disk->SetFaults(nullptr);
  OrFail(broker->CreateTopic(request));
  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  CHECK(broker->metadata()->topics.size() == 2);
}

TEST_CASE("a deletion that a crash breaks off is finished at the next open", "[broker][metadata]") {
  // Cut at every call to the disk that the deletion makes.
  for (uint64_t n = 1;; ++n) {
    INFO("cut at call " << n);
    Machine machine;
    auto broker = machine.Open();
    const auto partition = MakeTopic(*broker, "orders");
    OrFail(Append(*broker, *partition, {"old"}).status());
    MakeTopic(*broker, "kept");
    machine.disk->FreezeAt(machine.disk->calls() + n);
    const Status deleted = broker->DeleteTopic("orders");
    const bool finished = !machine.disk->frozen();
    machine.PowerCut(n);
    Abandon(broker);

    broker = machine.Open();
    if (deleted.ok()) CHECK_FALSE(broker->metadata()->topics.contains("orders"));
    CHECK(broker->metadata()->topics.contains("kept"));
    if (broker->metadata()->topics.contains("orders")) {
      CHECK(Values(*OrFail(broker->FindPartition("orders", 0))) == std::vector<std::string>{"old"});
    } else {
      CHECK(Values(*MakeTopic(*broker, "orders")).empty());
    }
    for (const std::string& path : machine.disk->AllFiles()) {
      CHECK(path.find("-delete/") == std::string::npos);  // no half-deleted folder stays
    }
    if (finished) break;
    REQUIRE(n < 200);
  }
}

}  // namespace millrace::broker
