#include <catch2/catch.hpp>

#include "coordinator/world.h"

// What members see: events in, assignments out.
namespace millrace::coordinator {

TEST_CASE("the first member gets everything, at epoch 1", "[group]") {
  World world;
  world.topics.Set("a", 3);
  TestMember m(world, "m");
  OrFail(m.Heart());
  CHECK(m.epoch == 1);
  CHECK(m.Owned() == "a0 a1 a2");
  CHECK(world.Describe().state == GroupState::kStable);
  CHECK(world.Describe().assignor == "uniform");
  CHECK(world.Describe().members[0].client_host == "in-process");
}

TEST_CASE("an idle heartbeat changes and says nothing", "[group]") {
  World world;
  world.topics.Set("a", 3);
  TestMember m(world, "m");
  OrFail(m.Heart());
  const size_t records = world.log.size();
  const uint64_t version = world.coordinator->GroupVersion("g");
  Heartbeat beat = m.Beat();
  CHECK(!OrFail(world.Send(beat)).assignment.has_value());
  beat.owned.reset();
  CHECK(!OrFail(world.Send(beat)).assignment.has_value());
  CHECK(world.log.size() == records);
  CHECK(world.coordinator->GroupVersion("g") == version);
}

TEST_CASE("a newcomer gets partitions only when their owner gave them up", "[group]") {
  World world;
  world.topics.Set("a", 4);
  TestMember m(world, "m");
  TestMember n(world, "n");
  OrFail(m.Heart());
  OrFail(n.Heart());
  CHECK(n.epoch == 2);
  CHECK(n.Owned() == "");
  CHECK(world.Describe().state == GroupState::kReconciling);

  // m hears of it and keeps its epoch until it has given them up.
  const auto reply = OrFail(world.Send(m.Beat()));
  CHECK(reply.member_epoch == 1);
  REQUIRE(reply.assignment.has_value());
  CHECK(reply.assignment->size() == 2);
  OrFail(n.Heart());
  CHECK(n.Owned() == "");
  SECTION("m still owns them: it is told again and nothing moves") {
    const auto again = OrFail(world.Send(m.Beat()));
    CHECK(again.assignment == reply.assignment);
    OrFail(n.Heart());
    CHECK(n.Owned() == "");
  }
  const uint64_t version = world.coordinator->GroupVersion("g");
  m.owned = {reply.assignment->begin(), reply.assignment->end()};
  OrFail(m.Heart());
  CHECK(m.epoch == 2);
  CHECK(m.owned.size() == 2);
  CHECK(world.coordinator->GroupVersion("g") > version);  // n need not ask before
  OrFail(n.Heart());
  CHECK(n.owned.size() == 2);
  CHECK(world.Describe().state == GroupState::kStable);
}

TEST_CASE("what a leaving member had goes to the others, who keep what they have", "[group]") {
  World world;
  world.topics.Set("a", 6);
  TestMember m(world, "m");
  TestMember n(world, "n");
  TestMember o(world, "o");
  Settle({&m, &n, &o});
  const auto kept_m = m.owned;
  const auto kept_n = n.owned;
  OrFail(o.Leave());
  Settle({&m, &n});
  CHECK(m.owned.size() == 3);
  CHECK(n.owned.size() == 3);
  CHECK(std::ranges::includes(m.owned, kept_m));
  CHECK(std::ranges::includes(n.owned, kept_n));
  SECTION("and the group lives on without members") {
    OrFail(m.Leave());
    OrFail(n.Leave());
    CHECK(world.Describe().state == GroupState::kEmpty);
    CHECK(world.Describe().members.empty());
    CHECK(world.coordinator->List() ==
          std::vector<std::pair<std::string, GroupState>>{{"g", GroupState::kEmpty}});
  }
}

TEST_CASE("a topic that grows is assigned at the next tick or heartbeat", "[group]") {
  World world;
  world.topics.Set("a", 1);
  TestMember m(world, "m");
  OrFail(m.Heart());
  world.topics.Set("a", 3);
  const uint64_t version = world.coordinator->GroupVersion("g");
  SECTION("tick") {
    world.Tick();
    CHECK(world.coordinator->GroupVersion("g") > version);
  }
  SECTION("heartbeat") {}
  OrFail(m.Heart());
  CHECK(m.Owned() == "a0 a1 a2");
  CHECK(m.epoch == 2);
  SECTION("a topic that nobody subscribes to changes nothing") {
    world.topics.Set("other", 5);
    const size_t records = world.log.size();
    world.Tick();
    OrFail(m.Heart());
    CHECK(world.log.size() == records);
  }
}

TEST_CASE("a topic that is deleted goes, and one of its name made anew is another one", "[group]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.topics = {"a", "later"};
  OrFail(m.Heart());
  world.topics.Delete("a");
  world.topics.Set("later", 1);
  world.Tick();
  Settle({&m});
  CHECK(m.Owned() == "later0");
  world.topics.Set("a", 1);
  Settle({&m});
  CHECK(m.Owned() == "a0 later0");
}

TEST_CASE("a changed subscription moves partitions", "[group]") {
  World world;
  world.topics.Set("a", 2);
  world.topics.Set("b", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  Heartbeat beat = m.Beat();
  beat.topics = std::vector<std::string>{"b", "b"};
  auto reply = OrFail(world.Send(beat));
  CHECK(reply.member_epoch == 1);
  CHECK(reply.assignment->empty());
  m.owned.clear();
  OrFail(m.Heart());
  CHECK(m.Owned() == "b0 b1");
  CHECK(m.epoch == 2);
}

TEST_CASE("two groups know nothing of each other", "[group]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  TestMember n(world, "m");
  n.group = "h";
  Settle({&m, &n});
  CHECK(m.Owned() == "a0 a1");
  CHECK(n.Owned() == "a0 a1");
}

TEST_CASE("most votes choose the assignor", "[group]") {
  World world;
  world.topics.Set("a", 2);
  world.topics.Set("b", 2);
  TestMember m(world, "m");
  TestMember n(world, "n");
  m.topics = n.topics = {"a", "b"};
  m.assignor = "range";
  Settle({&m, &n});
  CHECK(world.Describe().assignor == "range");
  CHECK(m.Owned() == "a0 b0");
  CHECK(n.Owned() == "a1 b1");
}

// ---- epochs

TEST_CASE("a wrong epoch fences the member", "[group][fencing]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  m.epoch = 7;
  CHECK(IsError(m.Heart(), ErrorId::kFencedMember,
                "group \"g\": member \"m\": epoch 7 was sent, 1 is wanted"));
  world.topics.Set("a", 4);
  m.epoch = 1;
  OrFail(m.Heart());
  world.topics.Set("a", 6);
  OrFail(m.Heart());
  CHECK(m.epoch == 3);
  m.epoch = 1;
  CHECK(IsError(m.Heart(), ErrorId::kFencedMember, "epoch 1 was sent, 3 is wanted"));
  SECTION("and it joins again, with nothing in its hands") {
    m.epoch = 0;
    m.owned.clear();
    OrFail(m.Heart());
    CHECK(m.epoch == 3);
    CHECK(m.owned.size() == 6);
  }
}

TEST_CASE("the epoch before is taken after a lost answer", "[group][fencing]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  OrFail(m.Heart());
  world.topics.Set("a", 4);
  OrFail(world.Send(m.Beat()));  // the answer, with epoch 2 and all four, is lost
  SECTION("if what it owns is part of its assignment; it is told again") {
    OrFail(m.Heart());
    CHECK(m.epoch == 2);
    CHECK(m.owned.size() == 4);
  }
  SECTION("but not if it owns something else") {
    m.owned.insert({"a", 9});
    CHECK(IsError(m.Heart(), ErrorId::kFencedMember, "epoch 1 was sent, 2 is wanted"));
  }
  SECTION("nor if it does not say what it owns") {
    Heartbeat beat = m.Beat();
    beat.owned.reset();
    CHECK(IsError(world.Send(beat).status(), ErrorId::kFencedMember, "2 is wanted"));
  }
}

TEST_CASE("a member that joins again gives up what it had", "[group]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  TestMember n(world, "n");
  Settle({&m, &n});
  // A restarted client with the same id, or the retry of a join whose answer was lost.
  m.epoch = 0;
  m.owned.clear();
  OrFail(m.Heart());
  CHECK(m.owned.size() == 1);
  CHECK(m.epoch == n.epoch);
  CHECK(world.Describe().members.size() == 2);
}

// ---- time

TEST_CASE("a member that stops polling loses its partitions", "[group][timeout]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  TestMember n(world, "n");
  Settle({&m, &n});
  CHECK(world.coordinator->NextDeadline() == world.now + absl::Minutes(5));
  world.Pass(absl::Minutes(4));
  world.coordinator->Touch("g", "n", world.now);
  world.Pass(absl::Minutes(1) - absl::Milliseconds(1));
  CHECK(world.Describe().members.size() == 2);
  const uint64_t version = world.coordinator->GroupVersion("g");
  world.Pass(absl::Milliseconds(1));
  CHECK(world.Describe().members.size() == 1);
  CHECK(world.coordinator->GroupVersion("g") > version);
  OrFail(n.Heart());
  CHECK(n.owned.size() == 2);
  CHECK(IsError(m.Heart(), ErrorId::kUnknownMember,
                "group \"g\": member \"m\": it is not in the group"));
  SECTION("and may join again") {
    m.epoch = 0;
    m.owned.clear();
    Settle({&m, &n});
    CHECK(m.owned.size() == 1);
  }
}

TEST_CASE("a touch of somebody unknown is ignored", "[group][timeout]") {
  World world;
  world.coordinator->Touch("g", "m", world.now);
  CHECK(world.coordinator->NextDeadline() == absl::InfiniteFuture());
}

TEST_CASE("a member on the wire lives by its session", "[group][timeout]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.in_process = false;
  OrFail(m.Heart());
  for (int i = 0; i < 10; ++i) {
    world.Pass(absl::Seconds(44));
    OrFail(m.Heart());
  }
  world.Pass(absl::Seconds(45));
  CHECK(world.Describe().state == GroupState::kEmpty);
}

TEST_CASE("a member that does not give up partitions in time is removed", "[group][timeout]") {
  World world;
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  m.in_process = false;
  OrFail(m.Heart());
  TestMember n(world, "n");
  OrFail(n.Heart());
  OrFail(world.Send(m.Beat()));  // it is asked to give up one
  for (int i = 0; i < 9; ++i) {
    world.Pass(absl::Seconds(30));
    OrFail(world.Send(m.Beat()));  // alive, but it does not
    world.coordinator->Touch("g", "n", world.now);
  }
  CHECK(world.Describe().members.size() == 2);
  world.Pass(absl::Seconds(30));
  CHECK(world.Describe().members.size() == 1);
  OrFail(n.Heart());
  CHECK(n.owned.size() == 2);
}

TEST_CASE("an endless poll timeout never ends", "[group][timeout]") {
  World world;
  TestMember m(world, "m");
  Heartbeat beat = m.Beat();
  beat.poll_timeout = absl::InfiniteDuration();
  OrFail(world.Send(beat));
  CHECK(world.coordinator->NextDeadline() == absl::InfiniteFuture());
  world.Pass(absl::Hours(100000));
  CHECK(world.Describe().members.size() == 1);
}

// ---- what is refused, and then changes nothing

TEST_CASE("bad heartbeats are refused by name", "[group][errors]") {
  World world({.max_group_size = 1, .max_groups = 1});
  world.topics.Set("a", 2);
  TestMember m(world, "m");
  const auto refused = [&](ErrorId id, std::string_view text, auto change) {
    Heartbeat beat = m.Beat();
    change(beat);
    const size_t records = world.log.size();
    CHECK(IsError(world.Send(beat).status(), id, text));
    CHECK(world.log.size() == records);
  };
  refused(ErrorId::kInvalidGroup, "a group's name of 0 bytes, allowed are 1 to 32767",
          [](Heartbeat& b) { b.group.clear(); });
  refused(ErrorId::kInvalidGroup, "32768 bytes", [](Heartbeat& b) { b.group.assign(32768, 'g'); });
  refused(ErrorId::kInvalidArgument, "a member id of 0 bytes",
          [](Heartbeat& b) { b.member_id.clear(); });
  refused(ErrorId::kInvalidArgument, "a member id of 40000 bytes",
          [](Heartbeat& b) { b.member_id.assign(40000, 'm'); });
  refused(ErrorId::kInvalidArgument, "a client id of 40000 bytes",
          [](Heartbeat& b) { b.client_id.assign(40000, 'c'); });
  refused(ErrorId::kInvalidArgument, "a client host of 40000 bytes",
          [](Heartbeat& b) { b.client_host.assign(40000, 'h'); });
  refused(ErrorId::kInvalidArgument, "a join needs topics or a topic pattern",
          [](Heartbeat& b) { b.topics.reset(), b.topic_pattern = ""; });
  refused(ErrorId::kInvalidArgument, "epoch -3, the lowest is -2",
          [](Heartbeat& b) { b.member_epoch = -3; });
  refused(ErrorId::kInvalidArgument, "only a member with an instance id can leave for a while",
          [](Heartbeat& b) { b.member_epoch = -2; });
  refused(ErrorId::kInvalidArgument, "a poll timeout of 0, it must be positive",
          [](Heartbeat& b) { b.poll_timeout = absl::ZeroDuration(); });
  refused(ErrorId::kInvalidArgument, "a session timeout of -1s",
          [](Heartbeat& b) { b.in_process = false, b.session_timeout = absl::Seconds(-1); });
  refused(ErrorId::kInvalidArgument, "a rebalance timeout of 0",
          [](Heartbeat& b) { b.in_process = false, b.rebalance_timeout = absl::ZeroDuration(); });
  refused(ErrorId::kInvalidArgument, "an instance id of 40000 bytes",
          [](Heartbeat& b) { b.instance_id.assign(40000, 'i'); });
  refused(ErrorId::kInvalidArgument, "a topic's name of 40000 bytes",
          [](Heartbeat& b) { b.topics->push_back(std::string(40000, 't')); });
  refused(ErrorId::kUnsupportedAssignor,
          "assignor \"sticky\" is not known, known are range, uniform",
          [](Heartbeat& b) { b.assignor = "sticky"; });
  refused(ErrorId::kInvalidArgument, "a join needs topics or a topic pattern",
          [](Heartbeat& b) { b.topics.reset(), b.topic_pattern.reset(); });
  refused(ErrorId::kInvalidArgument, "it joins and owns 1 partitions",
          [](Heartbeat& b) { b.owned = std::vector<TopicPartition>{{"a", 0}}; });
  refused(ErrorId::kUnknownMember, "it is not in the group",
          [](Heartbeat& b) { b.member_epoch = 1; });
  refused(ErrorId::kUnknownMember, "it is not in the group",
          [](Heartbeat& b) { b.member_epoch = -1; });
  CHECK(world.coordinator->List().empty());

  OrFail(m.Heart());
  refused(ErrorId::kGroupFull, "the group has 1 members, max_group_size allows no more",
          [](Heartbeat& b) {
            b.member_id = "n", b.member_epoch = 0, b.owned.reset(), b.topics = {{"a"}};
          });
  refused(
      ErrorId::kQuotaReached, "group \"h\" cannot be made: there are 1 groups, max_groups",
      [](Heartbeat& b) { b.group = "h", b.member_epoch = 0, b.owned.reset(), b.topics = {{"a"}}; });
  refused(ErrorId::kUnknownMember, "it is not in the group",
          [](Heartbeat& b) { b.member_id = "n"; });
}

}  // namespace millrace::coordinator
