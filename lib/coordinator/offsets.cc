#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "coordinator/coordinator_impl.h"

namespace millrace::coordinator {
namespace {

bool IsSubscribed(const Group& group, const std::string& topic) {
  for (const auto& [id, member] : group.members) {
    if (std::ranges::find(member.topics, topic) != member.topics.end()) return true;
    const auto pattern = group.pattern_topics.find(member.topic_pattern);
    if (pattern != group.pattern_topics.end() && std::ranges::binary_search(pattern->second, topic))
      return true;
  }
  return false;
}

void PutOffsets(std::string_view group, const std::map<TopicPartition, CommittedOffset>& offsets,
                absl::Time now, Journal& journal) {
  for (const auto& [tp, offset] : offsets) {
    CommittedOffset stamped = offset;
    if (stamped.commit_time_ms < 0) stamped.commit_time_ms = absl::ToUnixMillis(now);
    journal.Put(schema::OffsetCommitKey{std::string(group), tp.topic, tp.partition},
                ToRecord(stamped));
  }
}

}  // namespace

Status GroupCoordinator::Impl::CheckOffsets(
    std::string_view group, const std::map<TopicPartition, CommittedOffset>& offsets) const {
  for (const auto& [tp, offset] : offsets) {
    const auto error = [&, &tp = tp](ErrorId id, std::string_view what) {
      return MakeError(id,
                       fmt::format("group \"{}\": {}-{}: {}", group, tp.topic, tp.partition, what),
                       {.topic = tp.topic, .partition = tp.partition});
    };
    if (tp.topic.empty() || tp.topic.size() > kMaxTextBytes) {
      return error(ErrorId::kInvalidTopic,
                   fmt::format("a topic's name of {} bytes, allowed are 1 to {}", tp.topic.size(),
                               kMaxTextBytes));
    }
    if (tp.partition < 0) return error(ErrorId::kInvalidArgument, "a negative partition");
    if (offset.offset < 0) {
      return error(ErrorId::kInvalidArgument,
                   fmt::format("offset {} cannot be committed, the first is 0", offset.offset));
    }
    const size_t limit = std::min(limits.max_metadata_bytes, kMaxTextBytes);
    if (offset.metadata.size() > limit) {
      return error(
          ErrorId::kOffsetMetadataTooLarge,
          fmt::format("{} bytes of metadata, allowed are {}", offset.metadata.size(), limit));
    }
  }
  return absl::OkStatus();
}

// Only a member at the coordinator's own epoch commits: what an older one read may be another's
// now.
Status GroupCoordinator::Impl::CheckCommitter(const OffsetCommit& commit, Group* group) const {
  if (commit.member_id.empty() && commit.member_epoch < 0) {
    if (group == nullptr || group->members.empty()) return absl::OkStatus();
    return MakeError(ErrorId::kUnknownMember,
                     fmt::format("group \"{}\": a commit without a member id is refused while the "
                                 "group has members ({})",
                                 commit.group, group->members.size()));
  }
  const Member* const member = group == nullptr ? nullptr : group->FindMember(commit.member_id);
  if (member == nullptr) {
    return MakeError(ErrorId::kUnknownMember,
                     fmt::format("group \"{}\": \"{}\" is not a member, its commit at epoch {} is "
                                 "refused",
                                 commit.group, commit.member_id, commit.member_epoch));
  }
  if (commit.member_epoch == member->holding.epoch && !member->away()) return absl::OkStatus();
  const bool stale = commit.member_epoch < member->holding.epoch;
  return MakeError(
      stale ? ErrorId::kStaleMemberEpoch : ErrorId::kFencedMember,
      fmt::format("group \"{}\": member \"{}\" commits at epoch {}, its epoch is {}", commit.group,
                  commit.member_id, commit.member_epoch, member->holding.epoch));
}

StatusOr<GroupCoordinator::Impl::Nothing> GroupCoordinator::Impl::OnCommit(
    const OffsetCommit& commit, absl::Time now) {
  MILLRACE_RETURN_IF_ERROR(CheckGroupName(commit.group));
  Group* const group = table.Find(commit.group);
  MILLRACE_RETURN_IF_ERROR(CheckCommitter(commit, group));
  MILLRACE_RETURN_IF_ERROR(CheckOffsets(commit.group, commit.offsets));
  MILLRACE_RETURN_IF_ERROR(CheckRoomForGroup(commit.group, group));
  Journal journal(table);
  PutOffsets(commit.group, commit.offsets, now, journal);
  return Nothing{{}, journal.Take()};
}

StatusOr<GroupCoordinator::Impl::Nothing> GroupCoordinator::Impl::AlterOffsets(
    std::string_view name, const std::map<TopicPartition, CommittedOffset>& offsets,
    absl::Time now) {
  MILLRACE_RETURN_IF_ERROR(CheckGroupName(name));
  const Group* const group = table.Find(name);
  if (group != nullptr && !group->members.empty()) {
    return MakeError(ErrorId::kGroupNotEmpty,
                     fmt::format("group \"{}\": its offsets cannot be altered while it has "
                                 "members ({})",
                                 name, group->members.size()));
  }
  MILLRACE_RETURN_IF_ERROR(CheckOffsets(name, offsets));
  MILLRACE_RETURN_IF_ERROR(CheckRoomForGroup(name, group));
  Journal journal(table);
  PutOffsets(name, offsets, now, journal);
  return Nothing{{}, journal.Take()};
}

StatusOr<GroupCoordinator::Impl::Nothing> GroupCoordinator::Impl::DeleteOffsets(
    std::string_view name, const std::vector<TopicPartition>& partitions) {
  const Group* const group = table.Find(name);
  if (group == nullptr) {
    return MakeError(ErrorId::kGroupNotFound, fmt::format("group \"{}\" does not exist", name));
  }
  for (const TopicPartition& tp : partitions) {
    if (!IsSubscribed(*group, tp.topic)) continue;
    return MakeError(ErrorId::kGroupNotEmpty,
                     fmt::format("group \"{}\": the offset of {}-{} cannot be deleted while "
                                 "members subscribe to the topic",
                                 name, tp.topic, tp.partition),
                     {.topic = tp.topic, .partition = tp.partition});
  }
  Journal journal(table);
  for (const TopicPartition& tp : partitions) {
    const Group* const rest = table.Find(name);  // the last offset may take the group with it
    if (rest == nullptr || !rest->offsets.contains(tp)) continue;
    journal.Remove(schema::OffsetCommitKey{std::string(name), tp.topic, tp.partition});
  }
  return Nothing{{}, journal.Take()};
}

std::vector<StateRecord> GroupCoordinator::Impl::OnTopicDeleted(std::string_view topic) {
  std::vector<schema::OffsetCommitKey> keys;
  for (const auto& [name, group] : table.groups()) {
    const TopicPartition first{std::string(topic), INT32_MIN};
    for (auto it = group.offsets.lower_bound(first); it != group.offsets.end(); ++it) {
      if (it->first.topic != topic) break;
      keys.push_back({name, it->first.topic, it->first.partition});
    }
  }
  Journal journal(table);
  for (const schema::OffsetCommitKey& key : keys) journal.Remove(key);
  return journal.Take();
}

}  // namespace millrace::coordinator
