// Consumer groups as the broker keeps them: what is answered, written, and there again after a
// restart.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "broker/group_host.h"
#include "broker_fixture.h"

namespace millrace::broker {
namespace {

using Catch::Contains;
using coordinator::CommittedOffset;
using coordinator::Heartbeat;
using coordinator::OffsetCommit;

std::string Message(const Status& status) { return std::string(status.message()); }

OffsetCommit CommitOf(const std::string& group, Offset offset, int32_t partition = 0) {
  OffsetCommit commit;
  commit.group = group;
  commit.offsets[{"orders", partition}].offset = offset;
  return commit;
}

Offset CommittedOf(Broker& broker, const std::string& group, int32_t partition = 0) {
  const auto committed = OrFail(broker.CommittedOffsets(group));
  const auto it = committed.find({"orders", partition});
  return it == committed.end() ? -1 : it->second.offset;
}

// A topic with ten records in each partition.
void FillTopic(Broker& broker, int32_t partitions = 1) {
  CreateTopicRequest request;
  request.name = "orders";
  request.partitions = partitions;
  OrFail(broker.CreateTopic(request));
  for (int32_t i = 0; i < partitions; ++i) {
    const auto partition = OrFail(broker.FindPartition("orders", i));
    for (int j = 0; j < 10; ++j) OrFail(Append(broker, *partition, {"x"}).status());
  }
}

Heartbeat Join(const std::string& member) {
  Heartbeat beat;
  beat.group = "g";
  beat.member_id = member;
  beat.topics = {{"orders"}};
  beat.owned = std::vector<TopicPartition>{};
  return beat;
}

// Beats as a well-behaved member does until nothing changes any more.
struct Member {
  Broker& broker;
  std::string id;
  int32_t epoch = 0;
  std::vector<TopicPartition> owned = {};
  std::shared_ptr<Bell> bell = std::make_shared<Bell>();

  void Beat() {
    Heartbeat beat = Join(id);
    beat.member_epoch = epoch;
    beat.owned = owned;
    const auto reply = OrFail(GroupHeartbeat(broker, beat, bell));
    epoch = reply.member_epoch;
    if (reply.assignment.has_value()) owned = *reply.assignment;
  }
};

}  // namespace

TEST_CASE("a group lives in the partition that Kafka would choose", "[broker][groups]") {
  // Java: Math.abs("my-group".hashCode()) % 50
  CHECK(PartitionOfGroup("", 50) == 0);
  CHECK(PartitionOfGroup("a", 50) == 97 % 50);
  CHECK(PartitionOfGroup("polygenelubricants", 50) == 0);  // hashCode() is Integer.MIN_VALUE
  CHECK(PartitionOfGroup("gr\xc3\xbc\xc3\x9f", 1000000) ==
        ((('g' * 31 + 'r') * 31 + 0xfc) * 31 + 0xdf) % 1000000);
  CHECK(PartitionOfGroup("\xf0\x9f\x98\x80", 1000000) == (0xd83d * 31 + 0xde00) % 1000000);
  CHECK(PartitionOfGroup("\xff", 1000000) == 0xfffd);
  CHECK(PartitionOfGroup("any", 1) == 0);
}

TEST_CASE("a commit is of the topic that was read, not of its namesake", "[broker][groups]") {
  Machine machine;
  auto broker = machine.Open();
  FillTopic(*broker);
  OffsetCommit commit = CommitOf("g", 5);
  commit.topic_ids["orders"] = broker->metadata()->topics.at("orders")->id;
  const bool durable = GENERATE(false, true);
  OrFail(CommitOffsets(*broker, commit, durable));
  OrFail(broker->DeleteTopic("orders"));
  FillTopic(*broker);
  CHECK(CommittedOf(*broker, "g") == -1);
  const Status status = CommitOffsets(*broker, commit, durable);
  CHECK(ErrorIdOf(status) == ErrorId::kUnknownTopic);
  CHECK(status.message().find("was deleted") != status.message().npos);
  CHECK(CommittedOf(*broker, "g") == -1);
  commit.topic_ids["orders"] = broker->metadata()->topics.at("orders")->id;
  OrFail(CommitOffsets(*broker, commit, durable));
  CHECK(CommittedOf(*broker, "g") == 5);
}

TEST_CASE("an explicit commit survives a power cut and is never reverted", "[broker][groups]") {
  Machine machine;
  Options options = machine.options();
  options.flush = GENERATE(FlushPolicy::kEachBatch, FlushPolicy::kOs);
  auto broker = machine.Open(options);
  FillTopic(*broker);
  CHECK(CommittedOf(*broker, "g") == -1);
  CHECK_FALSE(broker->metadata()->topics.contains("__consumer_offsets"));
  OrFail(broker->Sync());
  OrFail(CommitOffsets(*broker, CommitOf("g", 5), true));
  OrFail(CommitOffsets(*broker, CommitOf("g", 7), true));
  OrFail(CommitOffsets(*broker, CommitOf("h", 3), true));
  CHECK(broker->metadata()->topics.at("__consumer_offsets")->internal);
  // Everybody may read it; nobody else may write.
  const auto offsets = OrFail(broker->FindPartition("__consumer_offsets", 0));
  CHECK(ErrorIdOf(Append(*broker, *offsets, {"x"}).status()) == ErrorId::kInvalidTopic);
  CHECK(ErrorIdOf(broker->DeleteRecords({{{"__consumer_offsets", 0}, -1}})) ==
        ErrorId::kInvalidTopic);
  machine.PowerCut();
  Abandon(broker);
  options.env.files = machine.disk;
  broker = machine.Open(options);
  CHECK(CommittedOf(*broker, "g") == 7);
  CHECK(CommittedOf(*broker, "h") == 3);
}

TEST_CASE("a commit written behind is seen at once and written within 100 ms", "[broker][groups]") {
  Machine machine;
  auto broker = machine.Open();
  FillTopic(*broker);
  OrFail(CommitOffsets(*broker, CommitOf("g", 1), true));
  const auto offsets = OrFail(broker->FindPartition("__consumer_offsets", 0));
  const Offset before = offsets->log_end();
  for (Offset offset = 2; offset <= 6; ++offset) {
    OrFail(CommitOffsets(*broker, CommitOf("g", offset), false));
    CHECK(CommittedOf(*broker, "g") == offset);
  }
  CHECK(offsets->log_end() == before);
  SECTION("by upkeep, as one record") {
    machine.clock->Advance(absl::Milliseconds(100));
    OrFail(broker->RunMaintenance());
    CHECK(offsets->log_end() == before + 1);
    machine.PowerCut();
    Abandon(broker);
  }
  SECTION("by the next explicit commit, before it") {
    OrFail(CommitOffsets(*broker, CommitOf("h", 1), true));
    CHECK(offsets->log_end() == before + 2);
    machine.PowerCut();
    Abandon(broker);
  }
  SECTION("by Sync") {
    OrFail(broker->Sync());
    machine.PowerCut();
    Abandon(broker);
  }
  SECTION("by Close") { OrFail(broker->Close(absl::Seconds(5))); }
  broker = machine.Open();
  CHECK(CommittedOf(*broker, "g") == 6);
}

TEST_CASE("an older commit that waits never overwrites a newer one", "[broker][groups]") {
  Machine machine;
  auto broker = machine.Open();
  FillTopic(*broker);
  OrFail(CommitOffsets(*broker, CommitOf("g", 2), false));
  OrFail(CommitOffsets(*broker, CommitOf("g", 5), true));
  machine.clock->Advance(absl::Seconds(1));
  OrFail(broker->RunMaintenance());
  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  CHECK(CommittedOf(*broker, "g") == 5);
}

TEST_CASE("an offset that is not there yet is refused, with the high watermark",
          "[broker][groups]") {
  Machine machine;
  const auto broker = machine.Open();
  FillTopic(*broker);
  AppendLater(*broker, *OrFail(broker->FindPartition("orders", 0)), {"unsynced"});
  for (const bool durable : {true, false}) {
    for (const Offset offset : {Offset{11}, Offset{-1}, Offset{INT64_MAX}}) {
      const Status status = CommitOffsets(*broker, CommitOf("g", offset), durable);
      CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
      CHECK_THAT(Message(status), Contains("orders-0") &&
                                      Contains("offset " + std::to_string(offset)) &&
                                      Contains("[0, 10]"));
    }
    OrFail(CommitOffsets(*broker, CommitOf("g", 10), durable));
    CHECK(ErrorIdOf(CommitOffsets(*broker, CommitOf("g", 1, 9), durable)) ==
          ErrorId::kUnknownPartition);
    OffsetCommit unknown;
    unknown.group = "g";
    unknown.offsets[{"ordres", 0}].offset = 0;
    CHECK(ErrorIdOf(CommitOffsets(*broker, unknown, durable)) == ErrorId::kUnknownTopic);
  }
  CHECK(ErrorIdOf(broker->AlterGroupOffsets("g", {{{"orders", 0}, 11}})) ==
        ErrorId::kOffsetOutOfRange);
  OrFail(broker->AlterGroupOffsets("g", {{{"orders", 0}, 4}}));
  CHECK(CommittedOf(*broker, "g") == 4);
}

TEST_CASE("a committed offset carries the epoch of what was read", "[broker][groups]") {
  Machine machine;
  auto broker = machine.Open();
  FillTopic(*broker);
  for (int epoch = 1; epoch < 3; ++epoch) {
    machine.ProcessKill();
    Abandon(broker);
    broker = machine.Open();
    OrFail(Append(*broker, *OrFail(broker->FindPartition("orders", 0)), {"later"}).status());
  }
  const auto epoch_of = [&](Offset offset) {
    OrFail(CommitOffsets(*broker, CommitOf("g", offset), true));
    return OrFail(broker->CommittedOffsets("g")).at({"orders", 0}).leader_epoch;
  };
  CHECK(epoch_of(0) == -1);
  CHECK(epoch_of(1) == 0);
  CHECK(epoch_of(10) == 0);
  CHECK(epoch_of(11) == 1);
  CHECK(epoch_of(12) == 2);
}

TEST_CASE("members share the partitions; bells tell of changes; leaving hands over",
          "[broker][groups]") {
  Machine machine;
  const auto broker = machine.Open();
  FillTopic(*broker, 4);
  Member a{*broker, "member-a"};
  Member b{*broker, "member-b"};
  a.Beat();
  a.Beat();
  CHECK(a.owned.size() == 4);
  const uint32_t rung = a.bell->count();
  b.Beat();
  CHECK(a.bell->count() > rung);
  for (int i = 0; i < 4; ++i) {
    a.Beat();
    b.Beat();
  }
  CHECK(a.owned.size() == 2);
  CHECK(b.owned.size() == 2);
  CHECK(broker->GroupVersion("g") > 0);
  CHECK(OrFail(broker->ListGroups()).size() == 1);
  CHECK(OrFail(broker->DescribeGroup("g")).members.size() == 2);
  CHECK(ErrorIdOf(broker->DeleteGroup("g")) == ErrorId::kGroupNotEmpty);

  SECTION("a member leaves") {
    Heartbeat leave = Join("member-a");
    leave.member_epoch = -1;
    OrFail(GroupHeartbeat(*broker, leave, nullptr).status());
    for (int i = 0; i < 3; ++i) b.Beat();
    CHECK(b.owned.size() == 4);
  }
  SECTION("a member stops polling") {
    machine.clock->Advance(absl::Minutes(4));
    broker->GroupTouch("g", "member-b");
    const uint32_t before = b.bell->count();
    machine.clock->Advance(absl::Minutes(2));
    OrFail(broker->RunMaintenance());
    CHECK(b.bell->count() > before);
    for (int i = 0; i < 3; ++i) b.Beat();
    CHECK(b.owned.size() == 4);
    Heartbeat late = Join("member-a");
    late.member_epoch = a.epoch;
    const Status status = GroupHeartbeat(*broker, late, nullptr).status();
    CHECK((ErrorIdOf(status) == ErrorId::kUnknownMember ||
           ErrorIdOf(status) == ErrorId::kFencedMember));
  }
  SECTION("the topic grows") {
    const uint32_t before = a.bell->count();
    OrFail(broker->AddPartitions("orders", 6));
    OrFail(broker->RunMaintenance());
    CHECK(a.bell->count() > before);
    for (int i = 0; i < 4; ++i) {
      a.Beat();
      b.Beat();
    }
    CHECK(a.owned.size() + b.owned.size() == 6);
  }
  SECTION("the wall clock jumps: nobody is timed out by that") {
    machine.clock->JumpTo(machine.clock->Now() + absl::Hours(24 * 365));
    OrFail(broker->RunMaintenance());
    a.Beat();
    CHECK(OrFail(broker->DescribeGroup("g")).members.size() == 2);
  }
}

TEST_CASE("members of an earlier opening are fenced, and their offsets stay", "[broker][groups]") {
  Machine machine;
  auto broker = machine.Open();
  FillTopic(*broker, 2);
  Member a{*broker, "member-a"};
  a.Beat();
  a.Beat();
  OffsetCommit commit = CommitOf("g", 5);
  commit.member_id = a.id;
  commit.member_epoch = a.epoch;
  OrFail(CommitOffsets(*broker, commit, true));
  commit.member_epoch = a.epoch - 1;
  CHECK_FALSE(CommitOffsets(*broker, commit, true).ok());
  machine.ProcessKill();
  Abandon(broker);
  broker = machine.Open();
  CHECK(OrFail(broker->DescribeGroup("g")).members.empty());
  CHECK(CommittedOf(*broker, "g") == 5);
  Member b{*broker, "member-b"};
  b.Beat();
  b.Beat();
  CHECK(b.owned.size() == 2);
}

TEST_CASE("the offsets of a deleted topic are gone, and do not come back with its name",
          "[broker][groups]") {
  for (uint64_t n = 0;; ++n) {
    INFO("cut at call " << n);
    Machine machine;
    auto broker = machine.Open();
    FillTopic(*broker);
    OrFail(CommitOffsets(*broker, CommitOf("g", 5), true));
    if (n > 0) machine.disk->FreezeAt(machine.disk->calls() + n);
    const Status deleted = broker->DeleteTopic("orders");
    if (n == 0) {
      OrFail(deleted);
      FillTopic(*broker);
      CHECK(CommittedOf(*broker, "g") == -1);
      continue;
    }
    const bool finished = !machine.disk->frozen();
    machine.PowerCut(n);
    Abandon(broker);
    broker = machine.Open();
    if (broker->metadata()->topics.contains("orders")) {
      CHECK_FALSE(deleted.ok());
      CHECK(CommittedOf(*broker, "g") == 5);
    } else {
      FillTopic(*broker);
      CHECK(CommittedOf(*broker, "g") == -1);
    }
    if (finished) break;
    REQUIRE(n < 300);
  }
}

TEST_CASE("group state that cannot be written is not answered, and loads again",
          "[broker][groups]") {
  Machine machine;
  auto broker = machine.Open();
  FillTopic(*broker);
  OrFail(CommitOffsets(*broker, CommitOf("g", 5), true));
  OrFail(CommitOffsets(*broker, CommitOf("g", 6), false));
  machine.disk->SetFaults([](const testing::DiskCall& call) -> std::optional<testing::Fault> {
    if (call.op != testing::DiskOp::kWrite) return {};
    return testing::Fault{.error = ENOSPC};
  });
  CHECK(ErrorIdOf(CommitOffsets(*broker, CommitOf("g", 9), true)) == ErrorId::kNoSpace);
  CHECK(CommittedOf(*broker, "g") == 6);  // what was accepted before stands
  machine.clock->Advance(absl::Seconds(1));
  OrFail(broker->RunMaintenance());
  CHECK(CommittedOf(*broker, "g") == 6);
  machine.disk->SetFaults(nullptr);
  machine.clock->Advance(absl::Seconds(2));
  OrFail(broker->RunMaintenance());
  OrFail(CommitOffsets(*broker, CommitOf("h", 1), true));
  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  CHECK(CommittedOf(*broker, "g") == 6);
}

TEST_CASE("the log of groups is compacted when it is four times what is live", "[broker][groups]") {
  Machine machine;
  auto broker = machine.Open();
  FillTopic(*broker);
  const auto offsets = [&] { return OrFail(broker->FindPartition("__consumer_offsets", 0)); };
  OffsetCommit commit = CommitOf("g", 5);
  commit.offsets.begin()->second.metadata = std::string(4000, 'm');
  uint64_t largest = 0;
  for (int i = 0; i < 1000; ++i) {
    commit.offsets.begin()->second.offset = i % 10;
    OrFail(CommitOffsets(*broker, commit, true));
    OrFail(broker->RunMaintenance());
    largest = std::max(largest, OrFail(offsets()->log())->size_bytes());
  }
  CHECK(largest < 2 << 20);
  CHECK(offsets()->log_start() > 0);
  OrFail(CommitOffsets(*broker, CommitOf("h", 2), true));
  machine.PowerCut();
  Abandon(broker);
  broker = machine.Open();
  CHECK(CommittedOf(*broker, "g") == 9);
  CHECK(CommittedOf(*broker, "h") == 2);
}

TEST_CASE("groups spread over the partitions that the topic was made with", "[broker][groups]") {
  Machine machine;
  Options options = machine.options();
  options.offsets_partitions = 5;
  auto broker = machine.Open(options);
  FillTopic(*broker);
  for (int i = 0; i < 20; ++i) {
    OrFail(CommitOffsets(*broker, CommitOf("group-" + std::to_string(i), i % 10), true));
  }
  CHECK(OrFail(broker->FindTopic("__consumer_offsets", false)).size() == 5);
  OrFail(broker->Close(absl::Seconds(5)));
  options.offsets_partitions = 1;  // fixed when it was made
  broker = machine.Open(options);
  CHECK(OrFail(broker->ListGroups()).size() == 20);
  for (int i = 0; i < 20; ++i) CHECK(CommittedOf(*broker, "group-" + std::to_string(i)) == i % 10);
  OrFail(broker->DeleteGroup("group-3"));
  OrFail(broker->DeleteGroupOffsets("group-4", {{"orders", 0}}));
  CHECK(CommittedOf(*broker, "group-3") == -1);
  CHECK(CommittedOf(*broker, "group-4") == -1);
  CHECK(ErrorIdOf(broker->DescribeGroup("group-3").status()) == ErrorId::kGroupNotFound);
}

}  // namespace millrace::broker
