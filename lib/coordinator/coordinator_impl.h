#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/assignor.h"
#include "coordinator/group_coordinator.h"
#include "coordinator/group_table.h"
#include "coordinator/timers.h"
#include "coordinator/topic_names.h"

namespace millrace::coordinator {

// The parts of the coordinator, split by idea: members.cc is the heartbeat, target.cc computes who
// shall have what, offsets.cc commits, group_coordinator.cc loads, ticks and describes.
struct GroupCoordinator::Impl {
  using Nothing = Decision<std::monostate>;

  Impl(std::string the_incarnation, GroupLimits the_limits)
      : incarnation(std::move(the_incarnation)), limits(the_limits) {}

  // ---- members.cc: everything is checked before the first record is written.
  StatusOr<Decision<HeartbeatReply>> OnHeartbeat(const Heartbeat& beat, absl::Time now,
                                                 const TopicsView& topics);
  StatusOr<Decision<HeartbeatReply>> OnJoin(const Heartbeat& beat, absl::Time now,
                                            const TopicsView& topics);
  StatusOr<Decision<HeartbeatReply>> OnBeat(const Heartbeat& beat, absl::Time now,
                                            const TopicsView& topics);
  StatusOr<Decision<HeartbeatReply>> OnLeave(const Heartbeat& beat, absl::Time now,
                                             const TopicsView& topics);
  StatusOr<Member*> FindMember(const Heartbeat& beat, Group* group) const;
  Status CheckJoin(const Heartbeat& beat, Group* group) const;
  bool TakeSubscription(const Heartbeat& beat, const Member& before, Journal& journal);
  void ReplaceStaticMember(const Heartbeat& beat, Member& old, Journal& journal);
  void StartTimers(const Heartbeat& beat, Member& member, absl::Time now);
  void SetHolding(const std::string& group, Member& member, const Holding& holding, absl::Time now,
                  Journal& journal);
  void RemoveMember(const std::string& group, const std::string& id, Journal& journal);

  // ---- target.cc
  // Brings the group's target up to date with its members and the topics; a new epoch if it moved.
  void UpdateTarget(const std::string& name, bool members_changed, absl::Time now,
                    const TopicsView& topics, Journal& journal);

  // ---- offsets.cc
  StatusOr<Nothing> OnCommit(const OffsetCommit& commit, absl::Time now);
  StatusOr<Nothing> AlterOffsets(std::string_view group,
                                 const std::map<TopicPartition, CommittedOffset>& offsets,
                                 absl::Time now);
  StatusOr<Nothing> DeleteOffsets(std::string_view group,
                                  const std::vector<TopicPartition>& partitions);
  std::vector<StateRecord> OnTopicDeleted(std::string_view topic);
  Status CheckOffsets(std::string_view group,
                      const std::map<TopicPartition, CommittedOffset>& offsets) const;
  Status CheckCommitter(const OffsetCommit& commit, Group* group) const;

  // ---- group_coordinator.cc
  std::vector<StateRecord> FinishLoading(absl::Time now, const TopicsView& topics);
  bool TakeOver(const std::string& name, absl::Time now, Journal& journal);
  std::vector<StateRecord> Tick(absl::Time now, const TopicsView& topics);
  StatusOr<GroupDescription> Describe(std::string_view name);
  StatusOr<Nothing> Delete(std::string_view name);
  Status CheckRoomForGroup(std::string_view name, const Group* group) const;

  const std::string incarnation;
  const GroupLimits limits;
  GroupTable table;
  Timers timers;
  TopicNames names;
  std::optional<uint64_t> ticked_topics;  // the view that every group is up to date with
};

// invalid_group unless the name is 1 to kMaxTextBytes long: what a record's key can hold. Kafka
// allows the same, and any characters.
Status CheckGroupName(std::string_view name);
inline constexpr size_t kMaxTextBytes = INT16_MAX;

GroupState StateOf(const Group& group);
// What most members ask for.
std::string_view AssignorOf(const Group& group);

}  // namespace millrace::coordinator
