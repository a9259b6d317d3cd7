#include "coordinator/group_coordinator.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "coordinator/coordinator_impl.h"

namespace millrace::coordinator {
namespace {

// Of a member on the wire whose own session timeout is not known: it is not in the records.
constexpr absl::Duration kDefaultSession = absl::Seconds(45);

}  // namespace

std::string_view Name(GroupState state) {
  switch (state) {
    case GroupState::kEmpty:
      return "Empty";
    case GroupState::kAssigning:
      return "Assigning";
    case GroupState::kReconciling:
      return "Reconciling";
    case GroupState::kStable:
      return "Stable";
    case GroupState::kDead:
      return "Dead";
  }
  return "Unknown";
}

Status CheckGroupName(std::string_view name) {
  if (!name.empty() && name.size() <= kMaxTextBytes) return absl::OkStatus();
  return MakeError(
      ErrorId::kInvalidGroup,
      fmt::format("a group's name of {} bytes, allowed are 1 to {}", name.size(), kMaxTextBytes));
}

GroupState StateOf(const Group& group) {
  if (group.members.empty()) return GroupState::kEmpty;
  if (group.epoch > group.assignment_epoch) return GroupState::kAssigning;
  const bool settled = std::ranges::all_of(group.members, [&](const auto& entry) {
    const Holding& holding = entry.second.holding;
    return holding.state == MemberState::kStable && holding.epoch == group.assignment_epoch;
  });
  return settled ? GroupState::kStable : GroupState::kReconciling;
}

// ---- loading and time

std::vector<StateRecord> GroupCoordinator::Impl::FinishLoading(absl::Time now,
                                                               const TopicsView& topics) {
  // Above whatever an earlier coordinator of this process gave out: a host that loads its groups
  // anew compares versions across the two.
  static std::atomic<uint64_t> loads = 0;
  table.set_version(++loads << 40);
  names.Refresh(topics);
  Journal journal(table);
  std::vector<std::string> with_members;
  for (const auto& [name, group] : table.groups()) {
    if (!group.members.empty()) with_members.push_back(name);
  }
  for (const std::string& name : with_members) {
    const bool lost_members = TakeOver(name, now, journal);
    UpdateTarget(name, lost_members, now, topics, journal);
  }
  ticked_topics = topics.version();
  return journal.Take();
}

// True if members of the group had to go.
bool GroupCoordinator::Impl::TakeOver(const std::string& name, absl::Time now, Journal& journal) {
  const std::string our_host = fmt::format("{}{}", kInProcessHost, incarnation);
  std::vector<std::string> lost;
  for (auto& [id, member] : table.Find(name)->members) {
    if (!member.subscribed || (member.in_process() && member.client_host != our_host)) {
      lost.push_back(id);
      continue;
    }
    const auto rebalance_timeout = absl::Milliseconds(member.rebalance_timeout_ms);
    const bool polls = member.in_process() && !member.away();
    member.timeout = polls ? rebalance_timeout : kDefaultSession;
    member.deadline = now + member.timeout;
    if (member.holding.state == MemberState::kUnrevokedPartitions)
      member.revoke_by = now + rebalance_timeout;
    timers.Arm(name, member);
  }
  for (const std::string& id : lost) RemoveMember(name, id, journal);
  return !lost.empty();
}

std::vector<StateRecord> GroupCoordinator::Impl::Tick(absl::Time now, const TopicsView& topics) {
  names.Refresh(topics);
  Journal journal(table);
  std::set<std::string> lost_members;
  while (const auto due = timers.TakeDue(now)) {
    Group& group = *table.Find(due->group);
    Member& member = *group.FindMember(due->member);
    member.armed = absl::InfiniteFuture();
    if (std::min(member.deadline, member.revoke_by) > now) {
      timers.Arm(due->group, member);
    } else {
      RemoveMember(due->group, due->member, journal);
      lost_members.insert(due->group);
    }
  }
  for (const std::string& name : lost_members)
    UpdateTarget(name, /*members_changed=*/true, now, topics, journal);
  if (ticked_topics != topics.version()) {
    ticked_topics = topics.version();
    for (auto& [name, group] : table.groups()) {
      if (!group.members.empty())
        UpdateTarget(name, /*members_changed=*/false, now, topics, journal);
    }
  }
  return journal.Take();
}

// ---- groups

Status GroupCoordinator::Impl::CheckRoomForGroup(std::string_view name, const Group* group) const {
  if (group != nullptr || table.groups().size() < static_cast<size_t>(limits.max_groups))
    return absl::OkStatus();
  return MakeError(
      ErrorId::kQuotaReached,
      fmt::format("group \"{}\" cannot be made: there are {} groups, max_groups allows "
                  "no more",
                  name, table.groups().size()));
}

StatusOr<GroupDescription> GroupCoordinator::Impl::Describe(std::string_view name) {
  const Group* const group = table.Find(name);
  if (group == nullptr)
    return MakeError(ErrorId::kGroupNotFound, fmt::format("group \"{}\" does not exist", name));
  GroupDescription out{.group = std::string(name),
                       .state = StateOf(*group),
                       .epoch = group->epoch,
                       .assignor = std::string(AssignorOf(*group)),
                       .members = {}};
  for (const auto& [id, member] : group->members) {
    out.members.push_back({.member_id = id,
                           .instance_id = member.instance_id,
                           .client_id = member.client_id,
                           .client_host = member.in_process() ? "in-process" : member.client_host,
                           .epoch = member.holding.epoch,
                           .assigned = names.ToNames(member.holding.assigned),
                           .target = names.ToNames(member.target)});
  }
  return out;
}

StatusOr<GroupCoordinator::Impl::Nothing> GroupCoordinator::Impl::Delete(std::string_view name) {
  const Group* const group = table.Find(name);
  if (group == nullptr)
    return MakeError(ErrorId::kGroupNotFound, fmt::format("group \"{}\" does not exist", name));
  if (!group->members.empty()) {
    return MakeError(ErrorId::kGroupNotEmpty,
                     fmt::format("group \"{}\" cannot be deleted while it has members ({})", name,
                                 group->members.size()));
  }
  const std::string group_name(name);
  const bool described = group->described;
  std::vector<schema::OffsetCommitKey> offsets;
  for (const auto& [tp, offset] : group->offsets)
    offsets.push_back({group_name, tp.topic, tp.partition});
  Journal journal(table);
  for (const schema::OffsetCommitKey& key : offsets) journal.Remove(key);
  if (described) {
    journal.Remove(schema::ConsumerGroupTargetAssignmentMetadataKey{group_name});
    journal.Remove(schema::ConsumerGroupMetadataKey{group_name});
  }
  return Nothing{{}, journal.Take()};
}

// ---- the public face

GroupCoordinator::GroupCoordinator(std::string incarnation, GroupLimits limits)
    : impl_(std::make_unique<Impl>(std::move(incarnation), limits)) {}
GroupCoordinator::~GroupCoordinator() = default;

Status GroupCoordinator::Replay(std::span<const std::byte> key,
                                std::optional<std::span<const std::byte>> value) {
  return impl_->table.Replay(key, value);
}
std::vector<StateRecord> GroupCoordinator::FinishLoading(absl::Time now, const TopicsView& topics) {
  return impl_->FinishLoading(now, topics);
}

StatusOr<Decision<HeartbeatReply>> GroupCoordinator::OnHeartbeat(const Heartbeat& beat,
                                                                 absl::Time now,
                                                                 const TopicsView& topics) {
  return impl_->OnHeartbeat(beat, now, topics);
}
void GroupCoordinator::Touch(std::string_view group_name, std::string_view member_id,
                             absl::Time now) {
  Group* const group = impl_->table.Find(group_name);
  Member* const member = group == nullptr ? nullptr : group->FindMember(member_id);
  if (member != nullptr && !member->away()) member->deadline = now + member->timeout;
}
std::vector<StateRecord> GroupCoordinator::Tick(absl::Time now, const TopicsView& topics) {
  return impl_->Tick(now, topics);
}
absl::Time GroupCoordinator::NextDeadline() const { return impl_->timers.Next(); }
uint64_t GroupCoordinator::GroupVersion(std::string_view name) const {
  const Group* const group = impl_->table.Find(name);
  return group == nullptr ? impl_->table.version() : group->version;
}

StatusOr<Decision<std::monostate>> GroupCoordinator::OnCommit(const OffsetCommit& commit,
                                                              absl::Time now) {
  return impl_->OnCommit(commit, now);
}
std::optional<CommittedOffset> GroupCoordinator::Committed(std::string_view name,
                                                           const TopicPartition& tp) const {
  const Group* const group = impl_->table.Find(name);
  if (group == nullptr) return std::nullopt;
  const auto it = group->offsets.find(tp);
  return it == group->offsets.end() ? std::nullopt : std::optional(it->second);
}
std::map<TopicPartition, CommittedOffset> GroupCoordinator::AllCommitted(
    std::string_view name) const {
  const Group* const group = impl_->table.Find(name);
  return group == nullptr ? std::map<TopicPartition, CommittedOffset>() : group->offsets;
}
StatusOr<Decision<std::monostate>> GroupCoordinator::AlterOffsets(
    std::string_view group, const std::map<TopicPartition, CommittedOffset>& offsets,
    absl::Time now) {
  return impl_->AlterOffsets(group, offsets, now);
}
StatusOr<Decision<std::monostate>> GroupCoordinator::DeleteOffsets(
    std::string_view group, const std::vector<TopicPartition>& partitions) {
  return impl_->DeleteOffsets(group, partitions);
}
std::vector<StateRecord> GroupCoordinator::OnTopicDeleted(std::string_view topic) {
  return impl_->OnTopicDeleted(topic);
}

std::vector<std::pair<std::string, GroupState>> GroupCoordinator::List() const {
  std::vector<std::pair<std::string, GroupState>> list;
  for (const auto& [name, group] : impl_->table.groups()) list.emplace_back(name, StateOf(group));
  return list;
}
StatusOr<GroupDescription> GroupCoordinator::Describe(std::string_view group) const {
  return impl_->Describe(group);
}
StatusOr<Decision<std::monostate>> GroupCoordinator::Delete(std::string_view group) {
  return impl_->Delete(group);
}

std::vector<StateRecord> GroupCoordinator::Snapshot() const { return impl_->table.Snapshot(); }
size_t GroupCoordinator::live_bytes() const { return impl_->table.live_bytes(); }

}  // namespace millrace::coordinator
