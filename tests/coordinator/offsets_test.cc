#include <catch2/catch.hpp>

#include "coordinator/world.h"

namespace millrace::coordinator {
namespace {

OffsetCommit Of(const TestMember& m, std::map<TopicPartition, CommittedOffset> offsets) {
  return {
      .group = m.group, .member_id = m.id, .member_epoch = m.epoch, .offsets = std::move(offsets)};
}
CommittedOffset At(Offset offset) { return {.offset = offset, .metadata = {}}; }

}  // namespace

TEST_CASE("a member's commit is what is committed", "[group][offsets]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  OrFail(world.Commit(Of(m, {{{"a", 0}, {.offset = 5, .leader_epoch = 3, .metadata = "x"}}})));
  const auto committed = world.coordinator->Committed("g", {"a", 0});
  REQUIRE(committed.has_value());
  CHECK(committed->offset == 5);
  CHECK(committed->leader_epoch == 3);
  CHECK(committed->metadata == "x");
  CHECK(committed->commit_time_ms == absl::ToUnixMillis(world.now));
  CHECK(!world.coordinator->Committed("g", {"a", 1}).has_value());
  CHECK(!world.coordinator->Committed("h", {"a", 0}).has_value());
  // A member may go back on purpose.
  OrFail(world.Commit(Of(m, {{{"a", 0}, At(2)}, {{"a", 1}, At(0)}})));
  CHECK(world.coordinator->Committed("g", {"a", 0})->offset == 2);
  CHECK(world.coordinator->AllCommitted("g").size() == 2);
}

TEST_CASE("only a member at its own epoch commits", "[group][offsets][fencing]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  world.topics.Set("a", 3);
  OrFail(m.Heart());
  REQUIRE(m.epoch == 2);
  OffsetCommit commit = Of(m, {{{"a", 0}, At(5)}});
  commit.member_epoch = 1;
  CHECK(IsError(world.Commit(commit), ErrorId::kStaleMemberEpoch,
                "group \"g\": member \"m\" commits at epoch 1, its epoch is 2"));
  commit.member_epoch = 3;
  CHECK(
      IsError(world.Commit(commit), ErrorId::kFencedMember, "commits at epoch 3, its epoch is 2"));
  commit.member_id = "n";
  CHECK(IsError(world.Commit(commit), ErrorId::kUnknownMember, "\"n\" is not a member"));
  commit.member_id.clear();
  commit.member_epoch = -1;
  CHECK(IsError(world.Commit(commit), ErrorId::kUnknownMember,
                "a commit without a member id is refused while the group has members (1)"));
  CHECK(world.coordinator->AllCommitted("g").empty());
  SECTION("a member that was timed out does not") {
    world.Pass(absl::Minutes(5));
    CHECK(
        IsError(world.Commit(Of(m, {{{"a", 0}, At(5)}})), ErrorId::kUnknownMember, "not a member"));
  }
}

TEST_CASE("a group that is not there has no member that could commit",
          "[group][offsets][fencing]") {
  World world;
  for (const int32_t epoch : {-1, 0, 3}) {
    const Status refused = world.Commit(
        {.group = "g", .member_id = "m", .member_epoch = epoch, .offsets = {{{"a", 0}, At(1)}}});
    CHECK(IsError(refused, ErrorId::kUnknownMember, "\"m\" is not a member"));
  }
  const Status nobody = world.Commit(
      {.group = "g", .member_id = {}, .member_epoch = 4, .offsets = {{{"a", 0}, At(1)}}});
  CHECK(IsError(nobody, ErrorId::kUnknownMember, "at epoch 4"));
  CHECK(world.log.empty());
}

TEST_CASE("without members anybody commits, and that makes a group", "[group][offsets]") {
  World world({.max_groups = 1});
  OffsetCommit commit{.group = "g", .member_id = {}, .offsets = {{{"a", 0}, At(1)}}};
  OrFail(world.Commit(commit));
  CHECK(world.coordinator->Committed("g", {"a", 0})->offset == 1);
  CHECK(world.Describe().state == GroupState::kEmpty);
  commit.member_id = "m";
  commit.member_epoch = 1;
  CHECK(IsError(world.Commit(commit), ErrorId::kUnknownMember, "not a member"));
  CHECK(IsError(world.Commit({.group = "h", .member_id = {}, .offsets = {{{"a", 0}, At(1)}}}),
                ErrorId::kQuotaReached, "max_groups allows no more"));
  CHECK(IsError(world.Commit({.group = "", .member_id = {}, .offsets = {}}), ErrorId::kInvalidGroup,
                "0 bytes"));
}

TEST_CASE("a commit with a bad offset changes nothing at all", "[group][offsets][errors]") {
  World world({.max_metadata_bytes = 4});
  const auto refused = [&](const TopicPartition& tp, CommittedOffset offset, ErrorId id,
                           std::string_view text) {
    const Status status = world.Commit(
        {.group = "g", .member_id = {}, .offsets = {{{"a", 0}, At(1)}, {tp, std::move(offset)}}});
    CHECK(IsError(status, id, text));
    CHECK(world.log.empty());
    CHECK(world.coordinator->List().empty());
  };
  refused({"b", 1}, At(-1), ErrorId::kInvalidArgument,
          "group \"g\": b-1: offset -1 cannot be committed");
  refused({"b", 1}, {.offset = 0, .metadata = "12345"}, ErrorId::kOffsetMetadataTooLarge,
          "b-1: 5 bytes of metadata, allowed are 4");
  refused({"b", -1}, At(0), ErrorId::kInvalidArgument, "a negative partition");
  refused({"", 0}, At(0), ErrorId::kInvalidTopic, "a topic's name of 0 bytes");
  refused({std::string(40000, 'b'), 0}, At(0), ErrorId::kInvalidTopic, "of 40000 bytes");
  const auto detail =
      DetailOf(world.Commit({.group = "g", .member_id = {}, .offsets = {{{"b", 7}, At(-1)}}}));
  CHECK(detail->topic == "b");
  CHECK(detail->partition == 7);
}

TEST_CASE("an administrator alters the offsets of a group without members",
          "[group][offsets][admin]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  const auto alter = [&](Offset offset) {
    auto decision = world.coordinator->AlterOffsets("g", {{{"a", 0}, At(offset)}}, world.now);
    if (decision.ok()) world.Write(decision->records);
    return decision.status();
  };
  CHECK(IsError(alter(3), ErrorId::kGroupNotEmpty,
                "group \"g\": its offsets cannot be altered while it has members (1)"));
  OrFail(m.Leave());
  OrFail(alter(3));
  CHECK(world.coordinator->Committed("g", {"a", 0})->offset == 3);
  CHECK(IsError(alter(-1), ErrorId::kInvalidArgument, "offset -1"));
  CHECK(!world.coordinator->AlterOffsets("", {}, world.now).ok());
}

TEST_CASE("an administrator deletes offsets of topics that nobody reads",
          "[group][offsets][admin]") {
  World world;
  world.topics.Set("a", 2);
  world.topics.Set("b", 2);
  TestMember m(world, "m");
  m.topics = {"a"};
  m.pattern = "b.*";
  OrFail(m.Heart());
  OrFail(world.Commit(Of(m, {{{"a", 0}, At(1)}, {{"b", 0}, At(1)}, {{"c", 0}, At(1)}})));
  const auto remove = [&](std::vector<TopicPartition> tps) {
    auto decision = world.coordinator->DeleteOffsets("g", tps);
    if (decision.ok()) world.Write(decision->records);
    return decision.status();
  };
  CHECK(IsError(remove({{"c", 0}, {"a", 0}}), ErrorId::kGroupNotEmpty,
                "the offset of a-0 cannot be deleted"));
  CHECK(IsError(remove({{"b", 0}}), ErrorId::kGroupNotEmpty, "b-0"));
  OrFail(remove({{"c", 0}, {"c", 0}, {"d", 5}}));
  CHECK(world.coordinator->AllCommitted("g").size() == 2);
  CHECK(IsError(world.coordinator->DeleteOffsets("h", {}).status(), ErrorId::kGroupNotFound,
                "group \"h\" does not exist"));
  OrFail(m.Leave());
  OrFail(remove({{"a", 0}, {"b", 0}}));
  CHECK(world.coordinator->AllCommitted("g").empty());
}

TEST_CASE("the last offset of a group that never had members takes it along", "[group][offsets]") {
  World world;
  OrFail(world.Commit(
      {.group = "g", .member_id = {}, .offsets = {{{"a", 0}, At(1)}, {{"a", 1}, At(1)}}}));
  auto decision = OrFail(world.coordinator->DeleteOffsets("g", {{"a", 0}, {"a", 1}, {"a", 2}}));
  CHECK(decision.records.size() == 2);
  CHECK(world.coordinator->List().empty());
  CHECK(world.coordinator->live_bytes() == 0);
}

TEST_CASE("offsets of a deleted topic go, in every group", "[group][offsets]") {
  World world;
  for (const char* group : {"g", "h"}) {
    OrFail(world.Commit({.group = group,
                         .member_id = {},
                         .offsets = {{{"a", 0}, At(1)}, {{"a", 7}, At(1)}, {{"ab", 0}, At(1)}}}));
  }
  const auto records = world.coordinator->OnTopicDeleted("a");
  CHECK(records.size() == 4);
  CHECK(std::ranges::all_of(records, [](const StateRecord& r) { return !r.value.has_value(); }));
  CHECK(world.coordinator->AllCommitted("g").size() == 1);
  CHECK(world.coordinator->AllCommitted("h").size() == 1);
}

TEST_CASE("a group is deleted with its offsets, once it is empty", "[group][admin]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  OrFail(world.Commit(Of(m, {{{"a", 0}, At(1)}})));
  CHECK(IsError(world.coordinator->Delete("g").status(), ErrorId::kGroupNotEmpty,
                "group \"g\" cannot be deleted while it has members (1)"));
  OrFail(m.Leave());
  const uint64_t version = world.coordinator->GroupVersion("g");
  world.Write(OrFail(world.coordinator->Delete("g")).records);
  CHECK(world.coordinator->GroupVersion("g") > version);
  CHECK(world.coordinator->List().empty());
  CHECK(world.coordinator->Snapshot().empty());
  CHECK(world.coordinator->live_bytes() == 0);
  CHECK(IsError(world.coordinator->Describe("g").status(), ErrorId::kGroupNotFound,
                "does not exist"));
  CHECK(
      IsError(world.coordinator->Delete("g").status(), ErrorId::kGroupNotFound, "does not exist"));
  world.Load("second");
  CHECK(world.coordinator->List().empty());
}

}  // namespace millrace::coordinator
