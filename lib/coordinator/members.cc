#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "coordinator/coordinator_impl.h"
#include "coordinator/subscription.h"

namespace millrace::coordinator {
namespace {

Status Error(ErrorId id, const Heartbeat& beat, std::string_view what) {
  return MakeError(
      id, fmt::format("group \"{}\": member \"{}\": {}", beat.group, beat.member_id, what));
}

Status CheckText(const Heartbeat& beat, std::string_view name, std::string_view text) {
  if (text.size() <= kMaxTextBytes) return absl::OkStatus();
  return Error(ErrorId::kInvalidArgument, beat,
               fmt::format("{} of {} bytes, allowed are {}", name, text.size(), kMaxTextBytes));
}

Status CheckTexts(const Heartbeat& beat) {
  MILLRACE_RETURN_IF_ERROR(CheckGroupName(beat.group));
  if (beat.member_id.empty() || beat.member_id.size() > kMaxTextBytes) {
    return MakeError(ErrorId::kInvalidArgument,
                     fmt::format("group \"{}\": a member id of {} bytes, allowed are 1 to {}",
                                 beat.group, beat.member_id.size(), kMaxTextBytes));
  }
  MILLRACE_RETURN_IF_ERROR(CheckText(beat, "an instance id", beat.instance_id));
  MILLRACE_RETURN_IF_ERROR(CheckText(beat, "a client id", beat.client_id));
  MILLRACE_RETURN_IF_ERROR(CheckText(beat, "a client host", beat.client_host));
  if (!beat.topics.has_value()) return absl::OkStatus();
  for (const std::string& topic : *beat.topics)
    MILLRACE_RETURN_IF_ERROR(CheckText(beat, "a topic's name", topic));
  return absl::OkStatus();
}

Status CheckTimes(const Heartbeat& beat) {
  const auto check = [&](std::string_view name, absl::Duration time) {
    if (time > absl::ZeroDuration()) return absl::OkStatus();
    return Error(ErrorId::kInvalidArgument, beat,
                 fmt::format("{} of {}, it must be positive", name, absl::FormatDuration(time)));
  };
  if (beat.in_process) return check("a poll timeout", beat.poll_timeout);
  MILLRACE_RETURN_IF_ERROR(check("a session timeout", beat.session_timeout));
  return check("a rebalance timeout", beat.rebalance_timeout);
}

Status CheckHeartbeat(const Heartbeat& beat) {
  MILLRACE_RETURN_IF_ERROR(CheckTexts(beat));
  if (beat.member_epoch < kAwayEpoch) {
    return Error(ErrorId::kInvalidArgument, beat,
                 fmt::format("epoch {}, the lowest is {}", beat.member_epoch, kAwayEpoch));
  }
  if (beat.member_epoch == kAwayEpoch && beat.instance_id.empty()) {
    return Error(ErrorId::kInvalidArgument, beat,
                 "only a member with an instance id can leave for a while (epoch -2)");
  }
  if (beat.member_epoch < 0) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(CheckTimes(beat));
  if (beat.assignor.has_value() && !beat.assignor->empty() &&
      FindAssignor(*beat.assignor) == nullptr) {
    return Error(ErrorId::kUnsupportedAssignor, beat,
                 fmt::format("assignor \"{}\" is not known, known are {}", *beat.assignor,
                             KnownAssignors()));
  }
  if (!beat.topic_pattern.has_value() || beat.topic_pattern->empty()) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(CheckText(beat, "a topic pattern", *beat.topic_pattern));
  return CheckPattern(beat.group, *beat.topic_pattern);
}

// The epoch must be the member's. That of the answer before is taken too, if nothing that the
// member owns speaks against it: the answer that raised the epoch may have been lost.
Status CheckEpoch(const Heartbeat& beat, const Member& member,
                  const std::optional<Partitions>& owned) {
  const Holding& holding = member.holding;
  if (beat.member_epoch == holding.epoch) return absl::OkStatus();
  const bool answer_lost = beat.member_epoch == holding.previous_epoch && owned.has_value() &&
                           IsSubset(*owned, holding.assigned);
  if (answer_lost && !member.away()) return absl::OkStatus();
  return Error(ErrorId::kFencedMember, beat,
               fmt::format("epoch {} was sent, {} is wanted; the member must give up all its "
                           "partitions and join again with epoch 0",
                           beat.member_epoch, holding.epoch));
}

int32_t RebalanceTimeoutMs(const Heartbeat& beat) {
  // A member in this process gives up partitions while it polls, or it is gone.
  const absl::Duration timeout = beat.in_process ? beat.poll_timeout : beat.rebalance_timeout;
  return static_cast<int32_t>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 1, INT32_MAX));
}

}  // namespace

StatusOr<Decision<HeartbeatReply>> GroupCoordinator::Impl::OnHeartbeat(const Heartbeat& beat,
                                                                       absl::Time now,
                                                                       const TopicsView& topics) {
  MILLRACE_RETURN_IF_ERROR(CheckHeartbeat(beat));
  names.Refresh(topics);
  if (beat.member_epoch < 0) return OnLeave(beat, now, topics);
  if (beat.member_epoch == 0) return OnJoin(beat, now, topics);
  return OnBeat(beat, now, topics);
}

StatusOr<Member*> GroupCoordinator::Impl::FindMember(const Heartbeat& beat, Group* group) const {
  Member* member = nullptr;
  if (group != nullptr && beat.instance_id.empty()) {
    member = group->FindMember(beat.member_id);
  } else if (group != nullptr) {
    member = group->FindInstance(beat.instance_id);
    if (member != nullptr && member->id != beat.member_id) {
      return Error(
          ErrorId::kFencedInstance, beat,
          fmt::format("instance \"{}\" is member \"{}\" now", beat.instance_id, member->id));
    }
  }
  if (member != nullptr) return member;
  return Error(ErrorId::kUnknownMember, beat,
               fmt::format("it is not in the group (any more), its epoch {} means nothing; it must "
                           "join with epoch 0",
                           beat.member_epoch));
}

// ---- joining

Status GroupCoordinator::Impl::CheckJoin(const Heartbeat& beat, Group* group) const {
  if (!beat.topics.has_value() && beat.topic_pattern.value_or("").empty()) {
    return Error(ErrorId::kInvalidArgument, beat, "a join needs topics or a topic pattern");
  }
  if (beat.owned.has_value() && !beat.owned->empty()) {
    return Error(
        ErrorId::kInvalidArgument, beat,
        fmt::format("it joins and owns {} partitions, it must own none", beat.owned->size()));
  }
  if (group == nullptr) return CheckRoomForGroup(beat.group, group);
  const Member* const member = group->FindMember(beat.member_id);
  if (!beat.instance_id.empty()) {
    const Member* const holder = group->FindInstance(beat.instance_id);
    if (holder != nullptr && holder != member) {
      if (!holder->away()) {
        return Error(ErrorId::kUnreleasedInstance, beat,
                     fmt::format("instance \"{}\" is in use by member \"{}\"", beat.instance_id,
                                 holder->id));
      }
      if (member == nullptr) return absl::OkStatus();  // takes that one's place
    }
  }
  if (member != nullptr && member->instance_id != beat.instance_id) {
    return Error(ErrorId::kInvalidArgument, beat,
                 fmt::format("it is in the group with instance id \"{}\" and joins with \"{}\"",
                             member->instance_id, beat.instance_id));
  }
  if (member == nullptr && group->members.size() >= static_cast<size_t>(limits.max_group_size)) {
    return Error(ErrorId::kGroupFull, beat,
                 fmt::format("the group has {} members, max_group_size allows no more",
                             group->members.size()));
  }
  return absl::OkStatus();
}

// The record of the member's subscription, if it changed. True if the target may change with it.
bool GroupCoordinator::Impl::TakeSubscription(const Heartbeat& beat, const Member& before,
                                              Journal& journal) {
  Member after;
  after.instance_id = before.instance_id;
  after.client_id = beat.client_id.empty() ? before.client_id : beat.client_id;
  after.client_host = before.client_host;
  after.topics = before.topics;
  after.topic_pattern = beat.topic_pattern.value_or(before.topic_pattern);
  after.assignor = beat.assignor.value_or(before.assignor);
  after.rebalance_timeout_ms = before.rebalance_timeout_ms;
  if (beat.member_epoch == 0) {
    after.instance_id = beat.instance_id;
    after.client_host =
        beat.in_process ? fmt::format("{}{}", kInProcessHost, incarnation) : beat.client_host;
    after.rebalance_timeout_ms = RebalanceTimeoutMs(beat);
    after.topics.clear();
    after.topic_pattern = beat.topic_pattern.value_or("");
    after.assignor = beat.assignor.value_or("");
  }
  if (beat.topics.has_value()) {
    after.topics = *beat.topics;
    std::ranges::sort(after.topics);
    const auto repeated = std::ranges::unique(after.topics);
    after.topics.erase(repeated.begin(), repeated.end());
  }
  const auto record = ToRecord(after);
  if (before.subscribed && record == ToRecord(before)) return false;
  const bool target_may_change = !before.subscribed || after.topics != before.topics ||
                                 after.topic_pattern != before.topic_pattern ||
                                 after.assignor != before.assignor;
  journal.Put(schema::ConsumerGroupMemberMetadataKey{beat.group, beat.member_id}, record);
  return target_may_change;
}

// The new member takes the old one's subscription and target. The partitions are free for as long
// as this decision takes, and the new member gets them in it.
void GroupCoordinator::Impl::ReplaceStaticMember(const Heartbeat& beat, Member& old,
                                                 Journal& journal) {
  const auto subscription = ToRecord(old);
  const auto target = ToRecord(old.target);
  RemoveMember(beat.group, std::string(old.id), journal);
  journal.Put(schema::ConsumerGroupMemberMetadataKey{beat.group, beat.member_id}, subscription);
  journal.Put(schema::ConsumerGroupTargetAssignmentMemberKey{beat.group, beat.member_id}, target);
}

StatusOr<Decision<HeartbeatReply>> GroupCoordinator::Impl::OnJoin(const Heartbeat& beat,
                                                                  absl::Time now,
                                                                  const TopicsView& topics) {
  Group* group = table.Find(beat.group);
  MILLRACE_RETURN_IF_ERROR(CheckJoin(beat, group));
  Journal journal(table);
  Member* const holder = group == nullptr || beat.instance_id.empty()
                             ? nullptr
                             : group->FindInstance(beat.instance_id);
  if (holder != nullptr && holder->id != beat.member_id)
    ReplaceStaticMember(beat, *holder, journal);

  const Member nobody;
  const Member* const before = group == nullptr ? nullptr : group->FindMember(beat.member_id);
  const bool changed = TakeSubscription(beat, before == nullptr ? nobody : *before, journal);
  group = table.Find(beat.group);
  UpdateTarget(beat.group, changed, now, topics, journal);

  Member& member = *group->FindMember(beat.member_id);
  // Whoever joins owns nothing: what it had is free, for it first of all.
  const auto is_free = [&](const PartitionId& partition) {
    const auto owner = group->owners.find(partition);
    return owner == group->owners.end() || owner->second == &member;
  };
  const Holding joined =
      Reconcile(Holding{}, member.target, group->assignment_epoch, Partitions{}, is_free);
  SetHolding(beat.group, member, joined, now, journal);
  StartTimers(beat, member, now);
  HeartbeatReply reply{.member_id = beat.member_id,
                       .member_epoch = member.holding.epoch,
                       .assignment = names.ToNames(member.holding.assigned)};
  return Decision<HeartbeatReply>{std::move(reply), journal.Take()};
}

// ---- while a member

StatusOr<Decision<HeartbeatReply>> GroupCoordinator::Impl::OnBeat(const Heartbeat& beat,
                                                                  absl::Time now,
                                                                  const TopicsView& topics) {
  Group* const group = table.Find(beat.group);
  MILLRACE_ASSIGN_OR_RETURN(Member* const found, FindMember(beat, group));
  Member& member = *found;
  std::optional<Partitions> owned;
  if (beat.owned.has_value()) owned = TopicNames::ToIds(*beat.owned, topics);
  MILLRACE_RETURN_IF_ERROR(CheckEpoch(beat, member, owned));

  Journal journal(table);
  const bool changed = TakeSubscription(beat, member, journal);
  UpdateTarget(beat.group, changed, now, topics, journal);
  const Holding before = member.holding;
  const auto is_free = [&](const PartitionId& partition) {
    const auto owner = group->owners.find(partition);
    return owner == group->owners.end() || owner->second == &member;
  };
  SetHolding(beat.group, member,
             Reconcile(member.holding, member.target, group->assignment_epoch, owned, is_free), now,
             journal);
  StartTimers(beat, member, now);

  HeartbeatReply reply{.member_id = beat.member_id, .member_epoch = member.holding.epoch};
  const bool is_full =
      beat.owned.has_value() && (beat.topics.has_value() || beat.topic_pattern.has_value());
  // Told again while the member owns something else, and after an answer that was lost.
  const bool differs = owned.has_value() && *owned != member.holding.assigned;
  if (is_full || differs || beat.member_epoch != before.epoch ||
      member.holding.assigned != before.assigned) {
    reply.assignment = names.ToNames(member.holding.assigned);
  }
  return Decision<HeartbeatReply>{std::move(reply), journal.Take()};
}

void GroupCoordinator::Impl::SetHolding(const std::string& group, Member& member,
                                        const Holding& holding, absl::Time now, Journal& journal) {
  const bool was_revoking = member.holding.state == MemberState::kUnrevokedPartitions &&
                            member.holding.epoch == holding.epoch;
  if (member.holding != holding) {
    journal.Put(schema::ConsumerGroupCurrentMemberAssignmentKey{group, member.id},
                ToRecord(holding));
  }
  if (holding.state != MemberState::kUnrevokedPartitions) {
    member.revoke_by = absl::InfiniteFuture();
  } else if (!was_revoking) {
    member.revoke_by = now + absl::Milliseconds(member.rebalance_timeout_ms);
  }
}

void GroupCoordinator::Impl::StartTimers(const Heartbeat& beat, Member& member, absl::Time now) {
  member.timeout = member.in_process() ? beat.poll_timeout : beat.session_timeout;
  member.deadline = now + member.timeout;
  timers.Arm(beat.group, member);
}

// ---- leaving

StatusOr<Decision<HeartbeatReply>> GroupCoordinator::Impl::OnLeave(const Heartbeat& beat,
                                                                   absl::Time now,
                                                                   const TopicsView& topics) {
  Group* const group = table.Find(beat.group);
  MILLRACE_ASSIGN_OR_RETURN(Member* const member, FindMember(beat, group));
  Journal journal(table);
  if (beat.member_epoch == kAwayEpoch) {
    // It keeps its place, until the session would be over.
    Holding away = member->holding;
    away.epoch = kAwayEpoch;
    away.state = MemberState::kStable;
    away.pending_revocation.clear();
    SetHolding(beat.group, *member, away, now, journal);
    member->timeout = beat.session_timeout;
    member->deadline = now + member->timeout;
    timers.Arm(beat.group, *member);
  } else {
    RemoveMember(beat.group, beat.member_id, journal);
    UpdateTarget(beat.group, /*members_changed=*/true, now, topics, journal);
  }
  HeartbeatReply reply{.member_id = beat.member_id, .member_epoch = beat.member_epoch};
  return Decision<HeartbeatReply>{std::move(reply), journal.Take()};
}

void GroupCoordinator::Impl::RemoveMember(const std::string& group, const std::string& id,
                                          Journal& journal) {
  timers.Cancel(group, *table.Find(group)->FindMember(id));
  journal.Remove(schema::ConsumerGroupCurrentMemberAssignmentKey{group, id});
  journal.Remove(schema::ConsumerGroupTargetAssignmentMemberKey{group, id});
  journal.Remove(schema::ConsumerGroupMemberMetadataKey{group, id});
}

}  // namespace millrace::coordinator
