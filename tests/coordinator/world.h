#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "coordinator/group_coordinator.h"
#include "support/or_fail.h"

// A coordinator with topics, a clock moved by hand and the log of its records; and members as a
// client would be one.
namespace millrace::coordinator {

class FakeTopics final : public TopicsView {
 public:
  // Creates the topic, or gives it more partitions.
  void Set(const std::string& name, int32_t partitions) {
    Topic& topic = topics_[name];
    if (topic.id.is_zero()) topic.id = Uuid::FromRandom(++ids_, 7);
    topic.partitions = partitions;
    ++version_;
  }
  void Delete(const std::string& name) { topics_.erase(name), ++version_; }
  const std::map<std::string, Topic, std::less<>>& all() const { return topics_; }

  std::optional<Topic> Find(std::string_view name) const override {
    const auto it = topics_.find(name);
    return it == topics_.end() ? std::nullopt : std::optional(it->second);
  }
  void ForEach(const std::function<void(std::string_view, const Topic&)>& fn) const override {
    for (const auto& [name, topic] : topics_) {
      if (!name.starts_with("__")) fn(name, topic);
    }
  }
  uint64_t version() const override { return version_; }

 private:
  std::map<std::string, Topic, std::less<>> topics_;
  uint64_t ids_ = 0;
  uint64_t version_ = 0;
};

struct World {
  explicit World(GroupLimits the_limits = {}) : limits(the_limits) { Load("first"); }

  // A coordinator that replays the log: as after a restart, if the incarnation is another one.
  void Load(const std::string& incarnation) {
    coordinator = std::make_unique<GroupCoordinator>(incarnation, limits);
    for (const StateRecord& record : log) Replay(*coordinator, record);
    Write(coordinator->FinishLoading(now, topics));
  }
  static void Replay(GroupCoordinator& to, const StateRecord& record) {
    std::optional<std::span<const std::byte>> value;
    if (record.value.has_value()) value = *record.value;
    OrFail(to.Replay(record.key, value));
  }
  void Write(const std::vector<StateRecord>& records) {
    log.insert(log.end(), records.begin(), records.end());
  }
  void Tick() { Write(coordinator->Tick(now, topics)); }
  void Pass(absl::Duration time) {
    now += time;
    Tick();
  }
  StatusOr<HeartbeatReply> Send(const Heartbeat& beat) {
    auto decision = coordinator->OnHeartbeat(beat, now, topics);
    if (!decision.ok()) return decision.status();
    Write(decision->records);
    return decision->reply;
  }
  Status Commit(const OffsetCommit& commit) {
    auto decision = coordinator->OnCommit(commit, now);
    if (decision.ok()) Write(decision->records);
    return decision.status();
  }
  GroupDescription Describe(const std::string& group = "g") {
    return OrFail(coordinator->Describe(group));
  }

  GroupLimits limits;
  FakeTopics topics;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  std::vector<StateRecord> log;
  std::unique_ptr<GroupCoordinator> coordinator;
};

// A member that does as it is told: gives up what is missing from an answer, takes what is new.
struct TestMember {
  TestMember(World& the_world, std::string the_id) : world(&the_world), id(std::move(the_id)) {}

  Heartbeat Beat() const {
    Heartbeat beat;
    beat.group = group;
    beat.member_id = id;
    beat.member_epoch = epoch;
    beat.instance_id = instance;
    beat.client_id = "client";
    beat.in_process = in_process;
    beat.owned = std::vector<TopicPartition>(owned.begin(), owned.end());
    if (epoch == 0) {
      beat.topics = topics;
      beat.topic_pattern = pattern;
      if (!assignor.empty()) beat.assignor = assignor;
    }
    return beat;
  }
  Status Heart() {
    auto reply = world->Send(Beat());
    if (!reply.ok()) return reply.status();
    epoch = reply->member_epoch;
    if (reply->assignment.has_value())
      owned = {reply->assignment->begin(), reply->assignment->end()};
    return absl::OkStatus();
  }
  Status Leave(int32_t how = -1) {
    Heartbeat beat = Beat();
    beat.member_epoch = how;
    epoch = 0;
    owned.clear();
    return world->Send(beat).status();
  }
  // "a0 a1 b0"
  std::string Owned() const {
    std::string text;
    for (const auto& [topic, partition] : owned)
      text += (text.empty() ? "" : " ") + topic + std::to_string(partition);
    return text;
  }

  World* world;
  std::string id;
  std::string group = "g";
  std::string instance = {};
  std::vector<std::string> topics = {"a"};
  std::string pattern = {};
  std::string assignor = {};
  bool in_process = true;
  int32_t epoch = 0;
  std::set<TopicPartition> owned = {};
};

// Heartbeats in turn until nothing changes.
inline void Settle(std::initializer_list<TestMember*> members) {
  for (int round = 0; round < 20; ++round) {
    bool changed = false;
    for (TestMember* member : members) {
      const auto before = std::pair(member->epoch, member->owned);
      OrFail(member->Heart());
      changed |= before != std::pair(member->epoch, member->owned);
    }
    if (!changed) return;
  }
  FAIL("the members do not settle");
}

inline bool operator==(const StateRecord& a, const StateRecord& b) {
  return a.key == b.key && a.value == b.value;
}

// For messages: `CHECK(IsError(status, ErrorId::kX, "part of the text"))`.
inline bool IsError(const Status& status, ErrorId id, std::string_view part) {
  const std::string text = status.ToString();
  if (ErrorIdOf(status) == id && text.find(part) != std::string::npos) return !status.ok();
  UNSCOPED_INFO("found: " << text);
  return false;
}

}  // namespace millrace::coordinator
