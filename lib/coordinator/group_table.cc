#include "coordinator/group_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace millrace::coordinator {
namespace {

using schema::ConsumerGroupCurrentMemberAssignmentKey;
using schema::ConsumerGroupCurrentMemberAssignmentValue;
using schema::ConsumerGroupMemberMetadataKey;
using schema::ConsumerGroupMemberMetadataValue;
using schema::ConsumerGroupMetadataKey;
using schema::ConsumerGroupMetadataValue;
using schema::ConsumerGroupTargetAssignmentMemberKey;
using schema::ConsumerGroupTargetAssignmentMemberValue;
using schema::ConsumerGroupTargetAssignmentMetadataKey;
using schema::ConsumerGroupTargetAssignmentMetadataValue;
using schema::OffsetCommitKey;
using schema::OffsetCommitValue;

// About what a record takes beside its texts and lists: its frame in a batch and its fixed fields.
constexpr size_t kRecordBytes = 40;

size_t LiveBytes(std::string_view group, const TopicPartition& tp, const CommittedOffset& offset) {
  return kRecordBytes + group.size() + tp.topic.size() + offset.metadata.size();
}

size_t LiveBytes(std::string_view group, const Member& member) {
  size_t bytes = 3 * (kRecordBytes + group.size() + member.id.size()) + member.instance_id.size() +
                 member.client_id.size() + member.client_host.size() + member.topic_pattern.size() +
                 member.assignor.size();
  for (const std::string& topic : member.topics) bytes += topic.size() + 1;
  const Holding& holding = member.holding;
  return bytes + sizeof(int32_t) * (holding.assigned.size() + holding.pending_revocation.size() +
                                    member.target.size());
}

size_t LiveBytesOfGroup(std::string_view group) { return 2 * (kRecordBytes + group.size()); }

// Partitions as the records list them: each topic once.
template <typename TopicList>
TopicList ToTopics(const Partitions& partitions) {
  TopicList topics;
  for (const auto& [topic, partition] : partitions) {
    if (topics.empty() || topics.back().topic_id != topic) topics.emplace_back().topic_id = topic;
    topics.back().partitions.push_back(partition);
  }
  return topics;
}

template <typename TopicList>
Partitions FromTopics(const TopicList& topics) {
  Partitions partitions;
  for (const auto& topic : topics) {
    for (const int32_t partition : topic.partitions)
      partitions.push_back({topic.topic_id, partition});
  }
  MakeSet(partitions);
  return partitions;
}

std::optional<std::string> NullIfEmpty(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

}  // namespace

Member* Group::FindMember(std::string_view id) {
  const auto it = members.find(id);
  return it == members.end() ? nullptr : &it->second;
}

Member* Group::FindInstance(std::string_view instance_id) {
  const auto it = members_by_instance.find(instance_id);
  return it == members_by_instance.end() ? nullptr : FindMember(it->second);
}

Group* GroupTable::Find(std::string_view name) {
  const auto it = groups_.find(name);
  return it == groups_.end() ? nullptr : &it->second;
}

void GroupTable::set_version(uint64_t version) {
  version_ = version;
  for (auto& [name, group] : groups_) group.version = version;
}

// ---- records into state

Status GroupTable::Replay(std::span<const std::byte> key_bytes,
                          std::optional<std::span<const std::byte>> value_bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const schema::GroupRecordKey any_key,
                            schema::DecodeGroupKey(key_bytes));
  return std::visit(
      [&]<typename Key>(const Key& key) -> Status {
        if constexpr (requires { this->Apply(key, nullptr); }) {
          if (!value_bytes.has_value()) return Apply(key, nullptr), absl::OkStatus();
          using Value = typename schema::GroupValueOf<Key>::type;
          MILLRACE_ASSIGN_OR_RETURN(const Value value,
                                    schema::DecodeGroupValue<Value>(*value_bytes));
          Apply(key, &value);
        } else if constexpr (std::same_as<Key, schema::ConsumerGroupPartitionMetadataKey> ||
                             std::same_as<Key, schema::ConsumerGroupRegularExpressionKey>) {
          // What Kafka derives from topics and patterns; we derive it anew.
        } else {
          std::vector<std::byte> id(key_bytes.begin(), key_bytes.end());
          if (const auto it = foreign_.find(id); it != foreign_.end()) {
            live_bytes_ -= kRecordBytes + it->first.size() + it->second.size();
            foreign_.erase(it);
          }
          if (!value_bytes.has_value()) return absl::OkStatus();
          live_bytes_ += kRecordBytes + key_bytes.size() + value_bytes->size();
          foreign_[std::move(id)].assign(value_bytes->begin(), value_bytes->end());
        }
        return absl::OkStatus();
      },
      any_key);
}

void GroupTable::Apply(const OffsetCommitKey& key, const OffsetCommitValue* value) {
  const TopicPartition tp{key.topic, key.partition};
  if (Group* const group = Find(key.group)) {
    if (const auto it = group->offsets.find(tp); it != group->offsets.end()) {
      live_bytes_ -= LiveBytes(key.group, tp, it->second);
      group->offsets.erase(it);
    }
  }
  if (value == nullptr) return ForgetIfNothingLeft(key.group);
  const CommittedOffset offset{value->offset, value->leader_epoch, value->metadata,
                               value->commit_timestamp};
  live_bytes_ += LiveBytes(key.group, tp, offset);
  groups_[key.group].offsets[tp] = offset;
}

void GroupTable::Apply(const ConsumerGroupMetadataKey& key,
                       const ConsumerGroupMetadataValue* value) {
  if (value == nullptr) {
    Group* const group = Find(key.group_id);
    if (group == nullptr || !group->described) return;
    live_bytes_ -= LiveBytesOfGroup(key.group_id);
    group->described = false;
    group->epoch = 0;
    group->metadata_hash = 0;
    return ForgetIfNothingLeft(key.group_id);
  }
  Group& group = groups_[key.group_id];
  if (!group.described) live_bytes_ += LiveBytesOfGroup(key.group_id);
  group.described = true;
  group.epoch = value->epoch;
  group.metadata_hash = value->metadata_hash;
  Changed(group);
}

void GroupTable::Apply(const ConsumerGroupTargetAssignmentMetadataKey& key,
                       const ConsumerGroupTargetAssignmentMetadataValue* value) {
  if (value == nullptr && Find(key.group_id) == nullptr) return;
  Group& group = groups_[key.group_id];
  group.assignment_epoch = value == nullptr ? 0 : value->assignment_epoch;
  group.assignment_time_ms = value == nullptr ? 0 : value->assignment_timestamp;
  Changed(group);
  ForgetIfNothingLeft(key.group_id);
}

void GroupTable::Apply(const ConsumerGroupMemberMetadataKey& key,
                       const ConsumerGroupMemberMetadataValue* value) {
  Group* group = Find(key.group_id);
  if (value == nullptr) {
    Member* const member = group == nullptr ? nullptr : group->FindMember(key.member_id);
    if (member == nullptr) return;
    if (member->subscribed) live_bytes_ -= LiveBytes(key.group_id, *member);
    member->subscribed = false;
    SetHolding(*group, *member, {});
    ForgetInstance(*group, *member);
    group->members.erase(group->members.find(key.member_id));
    Changed(*group);
    return ForgetIfNothingLeft(key.group_id);
  }
  group = &groups_[key.group_id];
  Member& member = MakeMember(*group, key.member_id);
  if (member.subscribed) live_bytes_ -= LiveBytes(key.group_id, member);
  ForgetInstance(*group, member);
  member.instance_id = value->instance_id.value_or("");
  member.client_id = value->client_id;
  member.client_host = value->client_host;
  member.topics = value->subscribed_topic_names;
  member.topic_pattern = value->subscribed_topic_regex.value_or("");
  member.assignor = value->server_assignor.value_or("");
  member.rebalance_timeout_ms = value->rebalance_timeout_ms;
  member.subscribed = true;
  if (!member.instance_id.empty()) group->members_by_instance[member.instance_id] = member.id;
  live_bytes_ += LiveBytes(key.group_id, member);
  Changed(*group);
}

void GroupTable::Apply(const ConsumerGroupTargetAssignmentMemberKey& key,
                       const ConsumerGroupTargetAssignmentMemberValue* value) {
  Group* group = Find(key.group_id);
  if (value == nullptr && (group == nullptr || group->FindMember(key.member_id) == nullptr)) return;
  group = &groups_[key.group_id];
  Member& member = MakeMember(*group, key.member_id);
  const size_t before = member.target.size();
  member.target = value == nullptr ? Partitions() : FromTopics(value->topic_partitions);
  if (member.subscribed) live_bytes_ += sizeof(int32_t) * (member.target.size() - before);
  Changed(*group);
}

void GroupTable::Apply(const ConsumerGroupCurrentMemberAssignmentKey& key,
                       const ConsumerGroupCurrentMemberAssignmentValue* value) {
  Group* group = Find(key.group_id);
  if (value == nullptr && (group == nullptr || group->FindMember(key.member_id) == nullptr)) return;
  group = &groups_[key.group_id];
  Member& member = MakeMember(*group, key.member_id);
  Holding holding;
  if (value != nullptr) {
    holding.epoch = value->member_epoch;
    holding.previous_epoch = value->previous_member_epoch;
    holding.state = static_cast<MemberState>(value->state);
    holding.assigned = FromTopics(value->assigned_partitions);
    holding.pending_revocation = FromTopics(value->partitions_pending_revocation);
  }
  SetHolding(*group, member, std::move(holding));
}

void GroupTable::SetHolding(Group& group, Member& member, Holding holding) {
  const auto count = [](const Holding& h) {
    return h.assigned.size() + h.pending_revocation.size();
  };
  if (member.subscribed) live_bytes_ += sizeof(int32_t) * (count(holding) - count(member.holding));
  bool released = false;
  for (const Partitions* list : {&member.holding.assigned, &member.holding.pending_revocation}) {
    for (const PartitionId& partition : *list) {
      const auto it = group.owners.find(partition);
      if (it != group.owners.end() && it->second == &member) group.owners.erase(it);
    }
  }
  for (const Partitions* list : {&holding.assigned, &holding.pending_revocation}) {
    for (const PartitionId& partition : *list) group.owners[partition] = &member;
  }
  for (const Partitions* list : {&member.holding.assigned, &member.holding.pending_revocation}) {
    for (const PartitionId& partition : *list) released |= !group.owners.contains(partition);
  }
  member.holding = std::move(holding);
  if (released) Changed(group);
}

void GroupTable::ForgetInstance(Group& group, const Member& member) {
  const auto it = group.members_by_instance.find(member.instance_id);
  if (it != group.members_by_instance.end() && it->second == member.id)
    group.members_by_instance.erase(it);
}

// A compacted log may tell of a member's assignment before it tells of the member.
Member& GroupTable::MakeMember(Group& group, const std::string& id) {
  Member& member = group.members[id];
  member.id = id;
  return member;
}

void GroupTable::ForgetIfNothingLeft(std::string_view name) {
  const auto it = groups_.find(name);
  if (it == groups_.end()) return;
  const Group& group = it->second;
  if (group.described || !group.members.empty() || !group.offsets.empty()) return;
  groups_.erase(it);
  ++version_;
}

// ---- state into records

OffsetCommitValue ToRecord(const CommittedOffset& offset) {
  return {.offset = offset.offset,
          .leader_epoch = offset.leader_epoch,
          .metadata = offset.metadata,
          .commit_timestamp = offset.commit_time_ms};
}

ConsumerGroupMemberMetadataValue ToRecord(const Member& member) {
  ConsumerGroupMemberMetadataValue value;
  value.instance_id = NullIfEmpty(member.instance_id);
  value.client_id = member.client_id;
  value.client_host = member.client_host;
  value.subscribed_topic_names = member.topics;
  value.subscribed_topic_regex = NullIfEmpty(member.topic_pattern);
  value.rebalance_timeout_ms = member.rebalance_timeout_ms;
  value.server_assignor = NullIfEmpty(member.assignor);
  return value;
}

ConsumerGroupCurrentMemberAssignmentValue ToRecord(const Holding& holding) {
  using Topics = std::vector<ConsumerGroupCurrentMemberAssignmentValue::TopicPartitions>;
  return {.member_epoch = holding.epoch,
          .previous_member_epoch = holding.previous_epoch,
          .state = static_cast<int8_t>(holding.state),
          .assigned_partitions = ToTopics<Topics>(holding.assigned),
          .partitions_pending_revocation = ToTopics<Topics>(holding.pending_revocation)};
}

ConsumerGroupTargetAssignmentMemberValue ToRecord(const Partitions& target) {
  return {ToTopics<std::vector<ConsumerGroupTargetAssignmentMemberValue::TopicPartition>>(target)};
}

std::vector<StateRecord> GroupTable::Snapshot() const {
  std::vector<StateRecord> records;
  const auto put = [&](const auto& key, const auto& value) {
    records.push_back(Journal::MakeRecord(key, value));
  };
  for (const auto& [name, group] : groups_) {
    if (group.described) {
      put(ConsumerGroupMetadataKey{name},
          ConsumerGroupMetadataValue{.epoch = group.epoch, .metadata_hash = group.metadata_hash});
      put(ConsumerGroupTargetAssignmentMetadataKey{name},
          ConsumerGroupTargetAssignmentMetadataValue{
              .assignment_epoch = group.assignment_epoch,
              .assignment_timestamp = group.assignment_time_ms});
    }
    for (const auto& [id, member] : group.members) {
      if (!member.subscribed) continue;
      put(ConsumerGroupMemberMetadataKey{name, id}, ToRecord(member));
      put(ConsumerGroupTargetAssignmentMemberKey{name, id}, ToRecord(member.target));
      put(ConsumerGroupCurrentMemberAssignmentKey{name, id}, ToRecord(member.holding));
    }
    for (const auto& [tp, offset] : group.offsets)
      put(OffsetCommitKey{name, tp.topic, tp.partition}, ToRecord(offset));
  }
  for (const auto& [key, value] : foreign_) records.push_back({key, value});
  return records;
}

std::vector<std::byte> Journal::MustEncode(StatusOr<std::vector<std::byte>> bytes) {
  // Texts are held to what a record can hold when they come in (CheckHeartbeat, CheckOffsets), and
  // nothing else can fail.
  MILLRACE_CHECK(bytes.ok());
  return *std::move(bytes);
}

}  // namespace millrace::coordinator
