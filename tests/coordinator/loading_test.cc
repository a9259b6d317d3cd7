#include <catch2/catch.hpp>

#include "coordinator/world.h"
#include "schema/group_records.h"

// What a restart finds in the log.
namespace millrace::coordinator {

TEST_CASE("committed offsets survive a restart", "[group][loading]") {
  World world;
  const std::map<TopicPartition, CommittedOffset> offsets = {
      {{"a", 0}, {.offset = 5, .leader_epoch = 2, .metadata = "m", .commit_time_ms = 77}}};
  OrFail(world.Commit({.group = "g", .member_id = {}, .offsets = offsets}));
  world.Load("second");
  const auto committed = world.coordinator->Committed("g", {"a", 0});
  CHECK(committed->offset == 5);
  CHECK(committed->leader_epoch == 2);
  CHECK(committed->metadata == "m");
  CHECK(committed->commit_time_ms == 77);
}

TEST_CASE("a restart fences the members of the process before it", "[group][loading]") {
  World world;
  world.topics.Set("a", 4);
  TestMember m(world, "m");
  TestMember wire(world, "w");
  TestMember seat(world, "s");
  wire.in_process = false;
  seat.instance = "i";
  Settle({&m, &wire, &seat});
  const int32_t epoch = world.Describe().epoch;
  world.now += absl::Hours(10);
  world.Load("second");
  REQUIRE(world.Describe().members.size() == 1);
  CHECK(world.Describe().members[0].member_id == "w");
  CHECK(world.Describe().epoch == epoch + 1);
  CHECK(IsError(m.Heart(), ErrorId::kUnknownMember, "not in the group"));
  CHECK(IsError(seat.Heart(), ErrorId::kUnknownMember, "not in the group"));
  SECTION("one on the wire has its session from now on, and gets the rest") {
    CHECK(world.coordinator->NextDeadline() == world.now + absl::Seconds(45));
    Settle({&wire});
    CHECK(wire.owned.size() == 4);
    world.Pass(absl::Seconds(45));
    CHECK(world.Describe().state == GroupState::kEmpty);
  }
  SECTION("an instance id of the old process is free") {
    TestMember again(world, "s2");
    again.instance = "i";
    Settle({&again, &wire});
    CHECK(again.owned.size() == 2);
  }
}

TEST_CASE("a host that loads anew keeps the members of its own process", "[group][loading]") {
  World world;
  world.topics.Set("a", 4);
  TestMember m(world, "m");
  TestMember n(world, "n");
  Settle({&m, &n});
  const uint64_t version = world.coordinator->GroupVersion("g");
  const size_t records = world.log.size();
  world.Load("first");
  CHECK(world.log.size() == records);
  CHECK(world.coordinator->GroupVersion("g") > version);
  Settle({&m, &n});
  CHECK(world.log.size() == records);
  SECTION("their poll timeout runs from then on") {
    world.Pass(absl::Minutes(5));
    CHECK(world.Describe().state == GroupState::kEmpty);
  }
}

TEST_CASE("topics that changed while the process was away are assigned", "[group][loading]") {
  World world;
  world.topics.Set("a", 1);
  TestMember wire(world, "w");
  wire.in_process = false;
  OrFail(wire.Heart());
  world.topics.Set("a", 2);
  world.Load("second");
  OrFail(wire.Heart());
  CHECK(wire.Owned() == "a0 a1");
}

TEST_CASE("a member that was asked to give up partitions has its time anew", "[group][loading]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.in_process = false;
  OrFail(m.Heart());
  TestMember n(world, "n");
  n.in_process = false;
  OrFail(n.Heart());
  OrFail(world.Send(m.Beat()));
  world.Load("second");
  for (int i = 0; i < 9; ++i) {
    world.Pass(absl::Seconds(30));
    OrFail(world.Send(m.Beat()));
    OrFail(n.Heart());
  }
  world.Pass(absl::Seconds(30));
  OrFail(n.Heart());
  CHECK(n.owned.size() == 2);
}

TEST_CASE("the snapshot holds what lives, and nothing else", "[group][loading]") {
  World world;
  world.topics.Set("a", 4);
  TestMember m(world, "m");
  TestMember n(world, "n");
  Settle({&m, &n});
  for (Offset offset = 0; offset < 50; ++offset) {
    OrFail(world.Commit({.group = "g",
                         .member_id = "m",
                         .member_epoch = m.epoch,
                         .offsets = {{{"a", 0}, {.offset = offset, .metadata = {}}}}}));
  }
  OrFail(n.Leave());
  Settle({&m});
  const auto snapshot = world.coordinator->Snapshot();
  CHECK(snapshot.size() == 2 + 3 + 1);
  size_t bytes = 0;
  for (const StateRecord& record : snapshot) bytes += record.key.size() + record.value->size();
  CHECK(world.coordinator->live_bytes() > bytes);
  CHECK(world.coordinator->live_bytes() < 4 * bytes);
  SECTION("and makes the same state, alone or after the log that it sums up") {
    const auto log = world.log;
    for (const bool after_the_log : {false, true}) {
      world.log = after_the_log ? log : std::vector<StateRecord>();
      world.Write(snapshot);
      world.Load("first");
      CHECK(world.coordinator->Snapshot() == snapshot);
      Settle({&m});
      CHECK(m.owned.size() == 4);
      CHECK(world.coordinator->Committed("g", {"a", 0})->offset == 49);
    }
  }
}

TEST_CASE("records of other kinds of groups are kept as they are", "[group][loading]") {
  World world;
  const StateRecord share{{std::byte{0}, std::byte{11}, std::byte{9}}, {{std::byte{1}}}};
  world.log.push_back(share);
  world.Load("first");
  CHECK(world.coordinator->Snapshot() == std::vector<StateRecord>{share});
  CHECK(world.coordinator->live_bytes() > 0);
  world.log.push_back({share.key, std::nullopt});
  world.Load("first");
  CHECK(world.coordinator->Snapshot().empty());
  CHECK(world.coordinator->live_bytes() == 0);
}

TEST_CASE("a compacted log may tell of an assignment before its member", "[group][loading]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.in_process = false;
  OrFail(m.Heart());
  world.log = std::vector<StateRecord>(world.log.rbegin(), world.log.rend());
  world.Load("second");
  OrFail(m.Heart());
  CHECK(m.Owned() == "a0 a1");
  SECTION("one whose own record is missing is not a member") {
    std::vector<StateRecord> rest;
    for (const StateRecord& record : world.log) {
      if (record.key[1] != std::byte{5} && record.key[1] != std::byte{3}) rest.push_back(record);
    }
    world.log = rest;
    world.Load("third");
    CHECK(world.coordinator->live_bytes() == 0);
    world.Tick();
    CHECK(IsError(m.Heart(), ErrorId::kUnknownMember, "not in the group"));
  }
}

TEST_CASE("a damaged record is named", "[group][loading][errors]") {
  GroupCoordinator coordinator("first");
  const std::vector<std::byte> key = {std::byte{0}, std::byte{1}, std::byte{0}};
  CHECK(IsError(coordinator.Replay(key, std::nullopt), ErrorId::kCorruptMessage,
                "OffsetCommitKey version 0: group:"));
  const auto good = OrFail(schema::EncodeGroupKey(schema::OffsetCommitKey{"g", "t", 0}));
  const std::vector<std::byte> newer = {std::byte{0}, std::byte{9}};
  CHECK(IsError(coordinator.Replay(good, newer), ErrorId::kUnsupportedVersion,
                "OffsetCommitValue: version 9 is not known"));
}

TEST_CASE("tombstones of what is not there are nothing", "[group][loading]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  OrFail(m.Leave());
  world.Write(OrFail(world.coordinator->Delete("g")).records);
  GroupCoordinator other("first");
  for (const StateRecord& record : world.log) {
    if (!record.value.has_value()) World::Replay(other, record);
  }
  CHECK(other.List().empty());
  CHECK(other.live_bytes() == 0);
}

TEST_CASE("an assignor of another program's log falls back to uniform", "[group][loading]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.in_process = false;
  OrFail(m.Heart());
  schema::ConsumerGroupMemberMetadataValue member;
  member.subscribed_topic_names = {"a"};
  member.server_assignor = "com.example.Mine";
  member.rebalance_timeout_ms = 1000;
  world.log.push_back(
      {OrFail(schema::EncodeGroupKey(schema::ConsumerGroupMemberMetadataKey{"g", "m"})),
       OrFail(schema::EncodeGroupValue(member))});
  world.Load("second");
  CHECK(world.Describe().assignor == "uniform");
}

TEST_CASE("group states have Kafka's names", "[group]") {
  CHECK(Name(GroupState::kEmpty) == "Empty");
  CHECK(Name(GroupState::kAssigning) == "Assigning");
  CHECK(Name(GroupState::kReconciling) == "Reconciling");
  CHECK(Name(GroupState::kStable) == "Stable");
  CHECK(Name(GroupState::kDead) == "Dead");
}

}  // namespace millrace::coordinator
