#include <catch2/catch.hpp>

#include "coordinator/world.h"

// Members with an instance id (KIP-345 in KIP-848's terms).
namespace millrace::coordinator {
namespace {

TestMember Static(World& world, std::string id, std::string instance) {
  TestMember member(world, std::move(id));
  member.instance = std::move(instance);
  return member;
}

}  // namespace

TEST_CASE("a static member that leaves for a while finds its partitions again", "[group][static]") {
  World world;
  world.topics.Set("a", 4);
  TestMember m = Static(world, "m1", "i");
  TestMember n(world, "n");
  Settle({&m, &n});
  const auto had = m.owned;
  const int32_t epoch = m.epoch;
  OrFail(m.Leave(-2));
  Settle({&n});
  CHECK(n.owned.size() == 2);  // nobody gets them meanwhile
  CHECK(world.Describe().members[0].epoch == -2);

  SECTION("under a new member id, without a rebalance") {
    TestMember again = Static(world, "m2", "i");
    OrFail(again.Heart());
    CHECK(again.owned == had);
    CHECK(again.epoch == epoch);
    CHECK(world.Describe().epoch == epoch);
    CHECK(world.Describe().members.size() == 2);
    SECTION("and the old id is fenced") {
      m.epoch = epoch;
      CHECK(IsError(m.Heart(), ErrorId::kFencedInstance, "instance \"i\" is member \"m2\" now"));
      CHECK(IsError(m.Leave(), ErrorId::kFencedInstance, "instance \"i\" is member \"m2\" now"));
    }
  }
  SECTION("under the same member id") {
    OrFail(m.Heart());
    CHECK(m.owned == had);
  }
  SECTION("its old epoch is not taken while it is away") {
    m.epoch = epoch;
    m.owned = had;
    CHECK(IsError(m.Heart(), ErrorId::kFencedMember, "-2 is wanted"));
    CHECK(!world.Commit({.group = "g", .member_id = "m1", .member_epoch = -2, .offsets = {}}).ok());
  }
  SECTION("with another subscription") {
    world.topics.Set("b", 1);
    TestMember again = Static(world, "m2", "i");
    again.topics = {"b"};
    Settle({&again, &n});
    CHECK(again.Owned() == "b0");
    CHECK(n.owned.size() == 4);
  }
  SECTION("unless it stays away for its session timeout") {
    world.Pass(absl::Seconds(45));
    Settle({&n});
    CHECK(n.owned.size() == 4);
  }
}

TEST_CASE("an instance id in use is not given away", "[group][static]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m = Static(world, "m1", "i");
  OrFail(m.Heart());
  TestMember thief = Static(world, "m2", "i");
  CHECK(IsError(thief.Heart(), ErrorId::kUnreleasedInstance,
                "group \"g\": member \"m2\": instance \"i\" is in use by member \"m1\""));
  OrFail(m.Leave(-1));
  OrFail(thief.Heart());
  CHECK(thief.owned.size() == 2);
}

TEST_CASE("a member keeps the instance id that it joined with", "[group][static]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m = Static(world, "m", "i");
  OrFail(m.Heart());
  m.instance = "j";
  CHECK(IsError(m.Heart(), ErrorId::kUnknownMember, "not in the group"));
  m.epoch = 0;
  m.owned.clear();
  CHECK(IsError(m.Heart(), ErrorId::kInvalidArgument,
                "it is in the group with instance id \"i\" and joins with \"j\""));
}

TEST_CASE("a full group still lets an instance come back", "[group][static]") {
  World world({.max_group_size = 1});
  world.topics.Set("a", 1);
  TestMember m = Static(world, "m1", "i");
  OrFail(m.Heart());
  OrFail(m.Leave(-2));
  TestMember again = Static(world, "m2", "i");
  OrFail(again.Heart());
  CHECK(again.Owned() == "a0");
}

TEST_CASE("a dynamic member cannot slip into the place of one that is away", "[group][static]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m = Static(world, "m1", "i");
  TestMember n(world, "n");
  Settle({&m, &n});
  OrFail(m.Leave(-2));
  n.epoch = 0;
  n.owned.clear();
  n.instance = "i";
  CHECK(
      IsError(n.Heart(), ErrorId::kInvalidArgument, "with instance id \"\" and joins with \"i\""));
}

}  // namespace millrace::coordinator
