#include <algorithm>
#include <cstdlib>
#include <random>

#include <catch2/catch.hpp>

#include "coordinator/world.h"

// Random histories of a group, with lost answers, failed writes, restarts and time-outs; after each
// event the promises of the coordinator are checked. MILLRACE_SEED=n runs that one alone.
namespace millrace::coordinator {
namespace {

constexpr char kGroup[] = "g";
// Give up, take, and once more for what others gave up after the first round.
constexpr int kRounds = 4;

class History {
 public:
  explicit History(uint64_t seed) : rng_(seed), world_({.max_group_size = 8}) {
    for (const char* topic : {"a", "b", "log.c"}) world_.topics.Set(topic, 1 + Below(6));
  }

  void Run(int events) {
    for (int i = 0; i < events; ++i) {
      INFO("event " << i << ": " << what_);
      Step();
      Check();
      if (OneIn(25)) CheckReplay();
      if (OneIn(40)) Converge();
    }
    Converge();
    CheckReplay();
  }

 private:
  int32_t Below(int32_t n) { return static_cast<int32_t>(rng_() % static_cast<uint64_t>(n)); }
  bool OneIn(int32_t n) { return Below(n) == 0; }

  void Step() {
    switch (Below(16)) {
      case 0:
      case 1:
        return Join();
      case 2:
        return Leave();
      case 3:
        return ChangeTopics();
      case 4:
        return ChangeSubscription();
      case 5:
        return PassTime();
      case 6:
        return OneIn(3) ? Reload() : void();
      case 7:
      case 8:
        return Commit();
      default:
        return Beat();
    }
  }

  std::vector<std::string> SomeTopics() {
    std::vector<std::string> topics;
    for (const char* topic : {"a", "b", "log.c", "none"}) {
      if (OneIn(2)) topics.push_back(topic);
    }
    return topics;
  }

  // ---- events

  void Join() {
    TestMember member(world_, "m" + std::to_string(++ids_));
    what_ = "join of " + member.id;
    member.in_process = OneIn(2);
    member.topics = OneIn(2) ? std::vector<std::string>{"a", "b", "log.c"} : SomeTopics();
    if (OneIn(4)) member.pattern = "log.*";
    if (OneIn(4)) member.assignor = OneIn(2) ? "range" : "uniform";
    if (OneIn(3)) member.instance = "i" + std::to_string(Below(3));
    const auto before = world_.log;
    const Status status = Send(member);
    if (status.ok() || lost_) {
      // It takes the place of one that was away.
      std::erase_if(members_, [&](const TestMember& other) {
        return !other.instance.empty() && other.instance == member.instance;
      });
      members_.push_back(member);
      return;
    }
    if (status.code() == absl::StatusCode::kUnavailable) return;  // and so it is not a member
    const ErrorId id = ErrorIdOf(status);
    INFO(status.ToString());
    REQUIRE((id == ErrorId::kGroupFull || id == ErrorId::kUnreleasedInstance));
    REQUIRE(world_.log.size() == before.size());
  }

  TestMember* Any() {
    return members_.empty()
               ? nullptr
               : &members_[static_cast<size_t>(Below(static_cast<int32_t>(members_.size())))];
  }

  // One heartbeat, whose answer may be lost, or whose records may not be written.
  Status Send(TestMember& member) {
    lost_ = false;
    if (OneIn(12)) {
      what_ += ", the records are not written";
      auto decision = world_.coordinator->OnHeartbeat(member.Beat(), world_.now, world_.topics);
      if (!decision.ok()) return decision.status();
      world_.Load(incarnation_);
      return absl::UnavailableError("not written");
    }
    if (OneIn(12)) {
      what_ += ", the answer is lost";
      const Status status = world_.Send(member.Beat()).status();
      lost_ = status.ok();
      return status.ok() ? absl::UnavailableError("lost") : status;
    }
    return member.Heart();
  }

  void Beat() {
    TestMember* const member = Any();
    if (member == nullptr) return;
    what_ = "heartbeat of " + member->id;
    Obey(*member, Send(*member));
  }

  void BeatOnce(const std::string& id) {
    const auto it = std::ranges::find(members_, id, &TestMember::id);
    if (it != members_.end()) Obey(*it, it->Heart());
  }

  // A client drops everything when it is told that it is out, and joins anew.
  void Obey(TestMember& member, const Status& status) {
    if (status.ok() || status.code() == absl::StatusCode::kUnavailable) return;
    INFO(status.ToString());
    const ErrorId id = ErrorIdOf(status);
    // A member that was written off while it joined; others were removed by time, or fenced.
    REQUIRE((id == ErrorId::kUnknownMember || id == ErrorId::kFencedMember ||
             id == ErrorId::kFencedInstance || id == ErrorId::kUnreleasedInstance ||
             id == ErrorId::kGroupFull));
    member.epoch = 0;
    member.owned.clear();
    if (id == ErrorId::kFencedInstance || id == ErrorId::kUnreleasedInstance ||
        id == ErrorId::kGroupFull)
      Forget(member.id);
  }

  void Forget(const std::string& id) {
    std::erase_if(members_, [&](const TestMember& m) { return m.id == id; });
  }

  void Leave() {
    TestMember* const member = Any();
    if (member == nullptr || member->epoch == 0) return;
    const bool away = !member->instance.empty() && OneIn(2);
    what_ = (away ? "away: " : "leave: ") + member->id;
    Status status = member->Leave(away ? -2 : -1);
    if (!status.ok()) REQUIRE(ErrorIdOf(status) == ErrorId::kUnknownMember);
    if (!away || OneIn(2)) Forget(member->id);
  }

  void ChangeTopics() {
    const char* const topic =
        std::vector{"a", "b", "log.c", "log.d"}[static_cast<size_t>(Below(4))];
    what_ = std::string("change of topic ") + topic;
    const auto now = world_.topics.Find(topic);
    if (now.has_value() && OneIn(4)) {
      world_.topics.Delete(topic);
      world_.Write(world_.coordinator->OnTopicDeleted(topic));
      std::erase_if(committed_, [&](const auto& entry) { return entry.first.topic == topic; });
      // A client drops a partition that is no more when it hears of it; to keep the model simple it
      // hears at once. The coordinator must cope either way, which Beat's lost answers show.
      for (TestMember& m : members_)
        std::erase_if(m.owned, [&](const auto& tp) { return tp.topic == topic; });
    } else {
      world_.topics.Set(topic, now.has_value() ? now->partitions + 1 : 1 + Below(4));
    }
    if (OneIn(2)) world_.Tick();
  }

  void ChangeSubscription() {
    TestMember* const member = Any();
    if (member == nullptr || member->epoch <= 0) return;
    what_ = "new subscription of " + member->id;
    member->topics = SomeTopics();
    Heartbeat beat = member->Beat();
    beat.topics = member->topics;
    auto reply = world_.Send(beat);
    if (!reply.ok()) return Obey(*member, reply.status());
    member->epoch = reply->member_epoch;
    if (reply->assignment.has_value())
      member->owned = {reply->assignment->begin(), reply->assignment->end()};
  }

  void PassTime() {
    const auto time = OneIn(4) ? absl::Seconds(50) : absl::Seconds(Below(20));
    what_ = "time passes: " + absl::FormatDuration(time);
    for (const TestMember& m : members_) {
      if (OneIn(2)) world_.coordinator->Touch(kGroup, m.id, world_.now);
    }
    world_.Pass(time);
    REQUIRE(world_.coordinator->NextDeadline() > world_.now);
  }

  void Reload() {
    const bool restart = OneIn(2);
    what_ = restart ? "restart" : "reload";
    if (restart) {
      incarnation_ = "incarnation " + std::to_string(++ids_);
      std::erase_if(members_, [](const TestMember& m) { return m.in_process; });
    }
    world_.Load(incarnation_);
  }

  void Commit() {
    TestMember* const member = Any();
    what_ = "commit";
    OffsetCommit commit{.group = kGroup, .member_id = {}, .offsets = {}};
    if (member != nullptr && !OneIn(6)) {
      commit.member_id = member->id;
      commit.member_epoch = member->epoch + (OneIn(4) ? Below(3) - 1 : 0);
    }
    const TopicPartition tp{OneIn(2) ? "a" : "b", Below(4)};
    commit.offsets[tp] = {.offset = Below(1000), .leader_epoch = Below(9), .metadata = "m"};
    const auto members = Members();
    const auto it = std::ranges::find(members, commit.member_id, &MemberDescription::member_id);
    const bool may =
        commit.member_id.empty()
            ? members.empty() && commit.member_epoch == -1
            : it != members.end() && it->epoch == commit.member_epoch && it->epoch >= 0;
    const Status status = world_.Commit(commit);
    INFO(status.ToString());
    REQUIRE(status.ok() == may);
    if (may) committed_[tp] = commit.offsets[tp].offset;
  }

  // ---- promises

  std::vector<MemberDescription> Members() const {
    const auto group = world_.coordinator->Describe(kGroup);
    return group.ok() ? group->members : std::vector<MemberDescription>();
  }

  void Check() {
    const auto group = world_.coordinator->Describe(kGroup);
    OffsetMap found;
    for (const auto& [tp, offset] : world_.coordinator->AllCommitted(kGroup))
      found[tp] = offset.offset;
    REQUIRE(found == committed_);
    if (!group.ok()) return;
    REQUIRE(group->epoch >= epoch_);
    epoch_ = group->epoch;
    std::set<TopicPartition> assigned;
    for (const MemberDescription& m : group->members) {
      REQUIRE(m.epoch <= group->epoch);
      for (const TopicPartition& tp : m.assigned) REQUIRE(assigned.insert(tp).second);
    }
    // What clients that are members believe that they own.
    std::map<TopicPartition, std::string> owned;
    for (const TestMember& m : members_) {
      const auto it = std::ranges::find(group->members, m.id, &MemberDescription::member_id);
      if (it == group->members.end() || m.epoch <= 0) continue;
      for (const TopicPartition& tp : m.owned) {
        const auto [other, is_new] = owned.emplace(tp, m.id);
        INFO(tp.topic << tp.partition << " is owned by " << m.id << " and " << other->second);
        REQUIRE(is_new);
      }
    }
  }

  // The state is what the records say, and nothing more; and so is the snapshot's.
  void CheckReplay() {
    const auto snapshot = world_.coordinator->Snapshot();
    GroupCoordinator from_log(incarnation_);
    for (const StateRecord& record : world_.log) World::Replay(from_log, record);
    REQUIRE(from_log.Snapshot() == snapshot);
    REQUIRE(from_log.live_bytes() == world_.coordinator->live_bytes());
    GroupCoordinator from_snapshot(incarnation_);
    for (const StateRecord& record : snapshot) World::Replay(from_snapshot, record);
    REQUIRE(from_snapshot.Snapshot() == snapshot);
    REQUIRE(from_snapshot.live_bytes() == world_.coordinator->live_bytes());
    // A compaction that a crash broke off: the log, then a part of the snapshot.
    const size_t part = snapshot.empty() ? 0 : static_cast<size_t>(rng_() % snapshot.size());
    for (size_t i = 0; i < part; ++i) World::Replay(from_log, snapshot[i]);
    REQUIRE(from_log.Snapshot() == snapshot);
  }

  // Members that are left alone settle within a few rounds, on a whole and balanced assignment.
  void Converge() {
    what_ = "converge";
    // Those that went silent for good run out of time, the others go on.
    for (int i = 0; i < 10; ++i) {
      world_.Pass(absl::Seconds(40));
      const std::vector<TestMember> all = members_;
      for (const TestMember& m : all) BeatOnce(m.id);
    }
    for (int round = 0; round < kRounds; ++round) {
      for (TestMember& m : members_) OrFail(m.Heart());
      Check();
    }
    if (members_.empty()) return;
    const GroupDescription group = world_.Describe();
    REQUIRE(group.state == GroupState::kStable);
    std::set<TopicPartition> assigned;
    for (const TestMember& m : members_) {
      const auto it = std::ranges::find(group.members, m.id, &MemberDescription::member_id);
      REQUIRE(it != group.members.end());
      REQUIRE(it->target == it->assigned);
      REQUIRE(std::set(it->target.begin(), it->target.end()) == m.owned);
      assigned.insert(m.owned.begin(), m.owned.end());
    }
    std::map<std::string, std::vector<size_t>> loads;  // of the subscribers, by topic
    for (const TestMember& m : members_) {
      for (const auto& [name, topic] : world_.topics.all()) {
        if (Subscribes(m, name)) loads[name].push_back(m.owned.size());
      }
    }
    for (const auto& [name, topic] : world_.topics.all()) {
      for (int32_t p = 0; p < topic.partitions; ++p)
        REQUIRE(assigned.contains({name, p}) == loads.contains(name));
    }
    if (group.assignor != "uniform") return;
    for (const TestMember& m : members_) {
      for (const TopicPartition& tp : m.owned)
        REQUIRE(m.owned.size() <= *std::ranges::min_element(loads[tp.topic]) + 1);
    }
  }

  static bool Subscribes(const TestMember& m, const std::string& topic) {
    return std::ranges::find(m.topics, topic) != m.topics.end() ||
           (!m.pattern.empty() && topic.starts_with("log"));
  }

  std::mt19937_64 rng_;
  World world_;
  std::string incarnation_ = "first";
  std::vector<TestMember> members_;
  OffsetMap committed_;
  int32_t epoch_ = 0;
  int ids_ = 0;
  bool lost_ = false;
  std::string what_;
};

}  // namespace

TEST_CASE("random histories of a group keep every promise", "[group][random]") {
  const char* const one = std::getenv("MILLRACE_SEED");
  const uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const uint64_t last = one != nullptr ? first : 150;
  for (uint64_t seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    History(seed).Run(200);
  }
}

}  // namespace millrace::coordinator
