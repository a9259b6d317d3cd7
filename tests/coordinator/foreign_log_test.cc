#include <catch2/catch.hpp>

#include "coordinator/reconciler.h"
#include "coordinator/world.h"
#include "schema/group_records.h"

// A log that another program wrote, or that was compacted half way: what it says need not fit
// together.
namespace millrace::coordinator {
namespace {

using namespace schema;  // NOLINT(google-build-using-namespace): the records, by their names

template <typename Key, typename Value>
StateRecord Record(const Key& key, const Value& value) {
  return {OrFail(EncodeGroupKey(key)), OrFail(EncodeGroupValue(value))};
}
template <typename Key>
StateRecord Tombstone(const Key& key) {
  return {OrFail(EncodeGroupKey(key)), std::nullopt};
}

StateRecord MemberRecord(const std::string& id, const std::string& pattern = "",
                         std::optional<std::string> instance = {}) {
  return Record(ConsumerGroupMemberMetadataKey{"g", id},
                ConsumerGroupMemberMetadataValue{.instance_id = std::move(instance),
                                                 .client_host = "/1.2.3.4",
                                                 .subscribed_topic_names = {"a"},
                                                 .subscribed_topic_regex = pattern,
                                                 .rebalance_timeout_ms = 1000});
}
StateRecord HoldingRecord(const World& world, const std::string& id, int8_t state = 0) {
  return Record(ConsumerGroupCurrentMemberAssignmentKey{"g", id},
                ConsumerGroupCurrentMemberAssignmentValue{
                    .member_epoch = 5,
                    .previous_member_epoch = 4,
                    .state = state,
                    .assigned_partitions = {{world.topics.Find("a")->id, {0}}}});
}
StateRecord GroupRecord(int32_t epoch, int64_t hash = 1) {
  return Record(ConsumerGroupMetadataKey{"g"},
                ConsumerGroupMetadataValue{.epoch = epoch, .metadata_hash = hash});
}

}  // namespace

TEST_CASE("a group whose target was never written is assigned when it is loaded",
          "[group][loading]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.in_process = false;
  OrFail(m.Heart());
  std::vector<StateRecord> rest;
  for (const StateRecord& record : world.log)
    if (record.key[1] != std::byte{6}) rest.push_back(record);  // the target's epoch
  world.log = rest;
  GroupCoordinator loading("x");
  for (const StateRecord& record : world.log) World::Replay(loading, record);
  CHECK(OrFail(loading.Describe("g")).state == GroupState::kAssigning);
  world.Load("second");
  OrFail(m.Heart());
  CHECK(m.Owned() == "a0 a1");
  CHECK(world.Describe().state == GroupState::kStable);
}

TEST_CASE("tombstones of one group's parts leave its other parts", "[group][loading]") {
  World world;
  world.topics.Set("a", 1);
  world.log = {Record(OffsetCommitKey{"g", "a", 0}, OffsetCommitValue{.offset = 7}),
               Tombstone(ConsumerGroupMetadataKey{"g"}),
               Tombstone(ConsumerGroupTargetAssignmentMemberKey{"g", "nobody"}),
               Tombstone(ConsumerGroupCurrentMemberAssignmentKey{"g", "nobody"}),
               Tombstone(OffsetCommitKey{"h", "a", 0})};
  world.Load("second");
  CHECK(world.coordinator->Committed("g", {"a", 0})->offset == 7);
  CHECK(world.coordinator->List().size() == 1);
  CHECK(world.coordinator->Snapshot().size() == 1);
}

TEST_CASE("a partition that two members hold has the later one as its owner", "[group][loading]") {
  World world;
  world.topics.Set("a", 1);
  world.log = {GroupRecord(5), MemberRecord("m"), MemberRecord("n"), HoldingRecord(world, "m"),
               HoldingRecord(world, "n")};
  SECTION("and goes on to one member alone") {}
  SECTION("also when the first gives it up") {
    world.log.push_back(Tombstone(ConsumerGroupCurrentMemberAssignmentKey{"g", "m"}));
  }
  SECTION("also when both do") {
    world.log.push_back(Tombstone(ConsumerGroupCurrentMemberAssignmentKey{"g", "n"}));
    world.log.push_back(Tombstone(ConsumerGroupCurrentMemberAssignmentKey{"g", "m"}));
  }
  SECTION("also when one of them goes") {
    world.log.push_back(Tombstone(ConsumerGroupMemberMetadataKey{"g", "n"}));
  }
  world.Load("second");
  world.Pass(absl::Minutes(10));  // nobody sends a heartbeat
  CHECK(world.Describe().state == GroupState::kEmpty);
  TestMember later(world, "later");
  Settle({&later});
  CHECK(later.Owned() == "a0");
}

TEST_CASE("an instance id that two members claim is the later one's", "[group][loading]") {
  World world;
  world.topics.Set("a", 1);
  world.log = {GroupRecord(5), MemberRecord("m", "", "i"), MemberRecord("n", "", "i"),
               Tombstone(ConsumerGroupMemberMetadataKey{"g", "m"})};
  world.Load("second");
  TestMember other(world, "other");
  other.instance = "i";
  CHECK(IsError(other.Heart(), ErrorId::kUnreleasedInstance, "in use by member \"n\""));
}

TEST_CASE("a member without a record of its own is in no snapshot", "[group][loading]") {
  World world;
  world.topics.Set("a", 1);
  GroupCoordinator loading("x");
  World::Replay(loading, HoldingRecord(world, "m"));
  CHECK(loading.Snapshot().empty());
}

TEST_CASE("a pattern that is not RE2 matches nothing", "[group][loading][pattern]") {
  World world;
  world.topics.Set("a", 1);
  world.topics.Set("b", 1);
  world.log = {GroupRecord(5), MemberRecord("m", "(?!lookahead")};
  world.Load("second");
  TestMember m(world, "m");
  m.epoch = world.Describe().members[0].epoch;
  m.in_process = false;
  OrFail(m.Heart());
  CHECK(m.Owned() == "a0");
}

TEST_CASE("a member's state that is none is taken as one that goes on", "[reconciler]") {
  const Holding now{.epoch = 3,
                    .previous_epoch = 2,
                    .state = static_cast<MemberState>(9),
                    .assigned = {},
                    .pending_revocation = {}};
  const Holding next = Reconcile(now, {}, 5, std::nullopt, [](const PartitionId&) { return true; });
  CHECK(next.epoch == 5);
  CHECK(next.state == MemberState::kStable);
  CHECK(Name(static_cast<GroupState>(99)) == "Unknown");
}

TEST_CASE("a seat that is away keeps its session across a loading", "[group][loading][static]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.instance = "i";
  OrFail(m.Heart());
  OrFail(m.Leave(-2));
  world.Load("first");
  CHECK(world.coordinator->NextDeadline() == world.now + absl::Seconds(45));
  world.Pass(absl::Seconds(45));
  CHECK(world.Describe().state == GroupState::kEmpty);
}

TEST_CASE("the epoch before is not taken of a seat that is away", "[group][static][fencing]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.instance = "i";
  Settle({&m});
  const int32_t epoch = m.epoch;
  const auto had = m.owned;
  TestMember n(world, "n");
  Settle({&m, &n});
  OrFail(m.Leave(-2));
  for (int32_t e = 1; e <= epoch + 3; ++e) {
    m.epoch = e;
    m.owned.clear();
    CHECK(ErrorIdOf(m.Heart()) == ErrorId::kFencedMember);
  }
}

TEST_CASE("a join needs no more than a pattern, and no name of its client", "[group]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  Heartbeat beat = m.Beat();
  beat.topics.reset();
  beat.topic_pattern = "a.*";
  beat.assignor = "";
  beat.client_id = "";
  const HeartbeatReply reply = OrFail(world.Send(beat));
  REQUIRE(reply.assignment.has_value());
  CHECK(reply.assignment->size() == 2);
  beat.topic_pattern = "";
  beat.member_id = "n";
  CHECK(IsError(world.Send(beat).status(), ErrorId::kInvalidArgument,
                "a join needs topics or a topic pattern"));
}

TEST_CASE("offsets alone make a group, within the bound of groups, and can be deleted",
          "[group][offsets][admin]") {
  World world({.max_groups = 1});
  world.topics.Set("a", 2);
  const auto alter = [&](std::string_view group) {
    auto decision = world.coordinator->AlterOffsets(
        group, {{{"a", 0}, {.offset = 3, .metadata = {}}}}, world.now);
    if (decision.ok()) world.Write(decision->records);
    return decision.status();
  };
  OrFail(alter("g"));
  CHECK_FALSE(alter("h").ok());
  world.Write(OrFail(world.coordinator->Delete("g")).records);
  CHECK(world.coordinator->List().empty());
  CHECK(world.coordinator->live_bytes() == 0);
  world.Load("second");
  CHECK(world.coordinator->List().empty());
  OrFail(alter("h"));
}

TEST_CASE("an offset can be deleted where the members subscribe by name alone",
          "[group][offsets][admin]") {
  World world;
  world.topics.Set("a", 1);
  TestMember m(world, "m");
  OrFail(m.Heart());
  OrFail(world.coordinator->DeleteOffsets("g", {{"b", 0}}).status());
}

}  // namespace millrace::coordinator
