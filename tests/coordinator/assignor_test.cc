#include "coordinator/assignor.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include <catch2/catch.hpp>

namespace millrace::coordinator {
namespace {

Uuid Topic(uint64_t n) { return Uuid::FromRandom(n, n); }

AssignorMember Member(std::string_view id, std::vector<uint64_t> topics, Partitions current = {}) {
  AssignorMember member{.id = id, .instance_id = {}, .topics = {}, .current = std::move(current)};
  for (const uint64_t topic : topics) member.topics.push_back(Topic(topic));
  std::ranges::sort(member.topics);
  MakeSet(member.current);
  return member;
}

// "1:0 1:1" per member.
std::string Show(const Partitions& partitions, uint64_t topics = 9) {
  std::string text;
  for (uint64_t t = 0; t <= topics; ++t) {
    for (const auto& [topic, partition] : partitions) {
      if (topic == Topic(t))
        text += (text.empty() ? "" : " ") + std::to_string(t) + ":" + std::to_string(partition);
    }
  }
  return text;
}

size_t Moved(const AssignorInput& input, const Assignment& assignment) {
  size_t moved = 0;
  for (size_t m = 0; m < assignment.size(); ++m)
    moved += Minus(assignment[m], input.members[m].current).size();
  return moved;
}

}  // namespace

TEST_CASE("uniform spreads the partitions of all topics evenly", "[assignor]") {
  const AssignorInput input{{Member("a", {1, 2}), Member("b", {1, 2})},
                            {{Topic(1), 3}, {Topic(2), 3}}};
  const Assignment assignment = AssignUniform(input);
  CHECK(Show(assignment[0]) == "1:0 1:2 2:1");
  CHECK(Show(assignment[1]) == "1:1 2:0 2:2");
}

TEST_CASE("uniform moves no more than a newcomer needs", "[assignor]") {
  const Uuid t = Topic(1);
  const AssignorInput input{{Member("a", {1}, {{t, 0}, {t, 1}, {t, 2}, {t, 3}}),
                             Member("b", {1}, {{t, 4}, {t, 5}, {t, 6}, {t, 7}}), Member("c", {1})},
                            {{t, 8}}};
  const Assignment assignment = AssignUniform(input);
  CHECK(Moved(input, assignment) == 2);
  CHECK(assignment[2].size() == 2);
}

TEST_CASE("uniform leaves a balanced assignment alone", "[assignor]") {
  const Uuid t = Topic(1);
  const AssignorInput input{{Member("a", {1}, {{t, 2}}), Member("b", {1}, {{t, 0}, {t, 1}})},
                            {{t, 3}}};
  CHECK(Moved(input, AssignUniform(input)) == 0);
}

TEST_CASE("uniform takes away what a member no longer subscribes to, or what is no more",
          "[assignor]") {
  const AssignorInput input{
      {Member("a", {2}, {{Topic(1), 0}, {Topic(2), 0}, {Topic(2), 5}}), Member("b", {1})},
      {{Topic(1), 1}, {Topic(2), 2}}};
  const Assignment assignment = AssignUniform(input);
  CHECK(Show(assignment[0]) == "2:0 2:1");
  CHECK(Show(assignment[1]) == "1:0");
}

TEST_CASE("uniform gives each partition to a subscriber, however unlike they are", "[assignor]") {
  const AssignorInput input{{Member("a", {1}), Member("b", {1, 2}), Member("c", {2})},
                            {{Topic(1), 4}, {Topic(2), 2}}};
  const Assignment assignment = AssignUniform(input);
  CHECK(Show(assignment[0]) == "1:0 1:2");
  CHECK(Show(assignment[1]) == "1:1 1:3");
  CHECK(Show(assignment[2]) == "2:0 2:1");
}

TEST_CASE("uniform settles a partition that two members claim", "[assignor]") {
  const Uuid t = Topic(1);
  const AssignorInput input{
      {Member("a", {1}, {{t, 0}, {t, 1}}), Member("b", {1}, {{t, 0}, {t, 1}})}, {{t, 2}}};
  const Assignment assignment = AssignUniform(input);
  CHECK(assignment[0].size() == 1);
  CHECK(assignment[1].size() == 1);
  CHECK(assignment[0] != assignment[1]);
}

TEST_CASE("range gives consecutive partitions, the same of each topic to one member",
          "[assignor]") {
  const AssignorInput input{{Member("a", {1, 2, 3}), Member("b", {1, 2, 3})},
                            {{Topic(1), 5}, {Topic(2), 5}, {Topic(3), 1}}};
  const Assignment assignment = AssignRange(input);
  CHECK(Show(assignment[0]) == "1:0 1:1 1:2 2:0 2:1 2:2 3:0");
  CHECK(Show(assignment[1]) == "1:3 1:4 2:3 2:4");
}

TEST_CASE("range orders static members by their instance, before dynamic ones", "[assignor]") {
  AssignorInput input{{Member("a", {1}), Member("b", {1}), Member("c", {1})}, {{Topic(1), 3}}};
  input.members[1].instance_id = "y";
  input.members[2].instance_id = "x";
  const Assignment assignment = AssignRange(input);
  CHECK(Show(assignment[0]) == "1:2");
  CHECK(Show(assignment[1]) == "1:1");
  CHECK(Show(assignment[2]) == "1:0");
}

TEST_CASE("nobody, nothing and no subscribers are assigned without ado", "[assignor]") {
  for (const Assignor assign : {AssignUniform, AssignRange}) {
    CHECK(assign({}).empty());
    CHECK(assign({{Member("a", {})}, {{Topic(1), 3}}})[0].empty());
    CHECK(assign({{Member("a", {1})}, {}})[0].empty());
    CHECK(assign({{Member("a", {1})}, {{Topic(1), 0}}})[0].empty());
  }
}

TEST_CASE("assignors are found by name", "[assignor]") {
  CHECK(FindAssignor("uniform") == AssignUniform);
  CHECK(FindAssignor("range") == AssignRange);
  CHECK(FindAssignor("sticky") == nullptr);
  CHECK(KnownAssignors() == "range, uniform");
}

TEST_CASE("random assignments are whole, balanced and sticky", "[assignor][random]") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 rng(seed);
    const bool alike = seed % 2 == 0;
    AssignorInput input;
    const size_t topics = 1 + rng() % 5;
    for (size_t t = 1; t <= topics; ++t) input.topics[Topic(t)] = static_cast<int32_t>(rng() % 20);
    std::vector<std::string> ids;
    for (size_t m = 0; m < 1 + rng() % 8; ++m) ids.push_back("m" + std::to_string(m));
    for (const std::string& id : ids) {
      std::vector<uint64_t> subscribed;
      for (size_t t = 1; t <= topics; ++t) {
        if (alike || rng() % 2 == 0) subscribed.push_back(t);
      }
      input.members.push_back(Member(id, subscribed));
    }
    for (const Assignor assign : {AssignUniform, AssignRange}) {
      const Assignment assignment = assign(input);
      std::map<PartitionId, size_t> owner;
      for (size_t m = 0; m < assignment.size(); ++m) {
        REQUIRE(std::ranges::is_sorted(assignment[m]));
        for (const PartitionId& p : assignment[m]) {
          REQUIRE(owner.emplace(p, m).second);
          REQUIRE(std::ranges::binary_search(input.members[m].topics, p.topic));
        }
      }
      for (const auto& [topic, count] : input.topics) {
        const bool wanted = std::ranges::any_of(input.members, [&, &t = topic](const auto& member) {
          return std::ranges::binary_search(member.topics, t);
        });
        for (int32_t p = 0; p < count; ++p) REQUIRE(owner.contains({topic, p}) == wanted);
      }
      if (assign != AssignUniform) continue;
      // No partition could go to another subscriber and leave the two more even.
      for (const auto& [p, m] : owner) {
        for (size_t other = 0; other < input.members.size(); ++other) {
          if (!std::ranges::binary_search(input.members[other].topics, p.topic)) continue;
          REQUIRE(assignment[m].size() <= assignment[other].size() + 1);
        }
      }
      // Assigned again, nothing moves; when a member leaves, only what it had does.
      AssignorInput again = input;
      for (size_t m = 0; m < assignment.size(); ++m) again.members[m].current = assignment[m];
      REQUIRE(Moved(again, AssignUniform(again)) == 0);
      if (!alike || assignment.size() < 2) continue;
      const size_t gone = rng() % assignment.size();
      again.members.erase(again.members.begin() + static_cast<ptrdiff_t>(gone));
      REQUIRE(Moved(again, AssignUniform(again)) == assignment[gone].size());
    }
  }
}

}  // namespace millrace::coordinator
