#include "coordinator/subscription.h"

#include <catch2/catch.hpp>

#include "coordinator/world.h"

// Subscriptions by pattern, and to topics that do not exist (yet).
namespace millrace::coordinator {

TEST_CASE("a pattern matches whole names, and new topics as they come", "[group][pattern]") {
  World world;
  world.topics.Set("log.a", 1);
  world.topics.Set("log.b", 1);
  world.topics.Set("my.log.c", 1);
  world.topics.Set("__offsets", 1);
  TestMember m(world, "m");
  m.topics = {};
  m.pattern = "log\\..*";
  OrFail(m.Heart());
  CHECK(m.Owned() == "log.a0 log.b0");
  world.topics.Set("log.d", 1);
  world.Tick();
  Settle({&m});
  CHECK(m.Owned() == "log.a0 log.b0 log.d0");
  SECTION("another pattern replaces it") {
    Heartbeat beat = m.Beat();
    beat.topic_pattern = "my.*";
    OrFail(world.Send(beat));
    m.owned.clear();
    Settle({&m});
    CHECK(m.Owned() == "my.log.c0");
  }
  SECTION("an empty one ends it") {
    Heartbeat beat = m.Beat();
    beat.topic_pattern = "";
    beat.topics = {{"my.log.c"}};
    OrFail(world.Send(beat));
    m.owned.clear();
    Settle({&m});
    CHECK(m.Owned() == "my.log.c0");
  }
  SECTION("internal topics are for those who name them") {
    Heartbeat beat = m.Beat();
    beat.topic_pattern = ".*";
    beat.topics = {{"__offsets"}};
    OrFail(world.Send(beat));
    Settle({&m});
    CHECK(m.Owned() == "__offsets0 log.a0 log.b0 log.d0 my.log.c0");
  }
}

TEST_CASE("a pattern and names add up, each topic once", "[group][pattern]") {
  World world;
  world.topics.Set("a", 1);
  world.topics.Set("b", 1);
  TestMember m(world, "m");
  m.topics = {"a"};
  m.pattern = "a|b";
  OrFail(m.Heart());
  CHECK(m.Owned() == "a0 b0");
}

TEST_CASE("a bad pattern is refused with RE2's words", "[group][pattern][errors]") {
  World world;
  TestMember m(world, "m");
  m.pattern = "a(b";
  CHECK(IsError(m.Heart(), ErrorId::kInvalidArgument,
                "group \"g\": the topic pattern \"a(b\" is not RE2: missing ): a(b"));
  m.pattern = "(x{500}){500}";  // a small text that wants much memory
  CHECK(ErrorIdOf(m.Heart()) == ErrorId::kInvalidArgument);
  m.pattern.assign(40000, 'a');
  CHECK(IsError(m.Heart(), ErrorId::kInvalidArgument, "a topic pattern of 40000 bytes"));
  CHECK(world.log.empty());
}

TEST_CASE("a topic that does not exist is assigned once it does", "[group]") {
  World world;
  TestMember m(world, "m");
  OrFail(m.Heart());
  CHECK(m.Owned() == "");
  CHECK(m.epoch == 1);
  world.topics.Set("a", 1);
  Settle({&m});
  CHECK(m.Owned() == "a0");
}

}  // namespace millrace::coordinator
