#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <absl/hash/hash.h>
#include <absl/time/time.h>

#include "coordinator/group_coordinator.h"
#include "coordinator/partitions.h"
#include "coordinator/reconciler.h"
#include "schema/group_records.h"

// The state of all groups, and the records that make it. State changes only by records: a decision
// writes them to a Journal, which applies them with the code that replays them after a restart. So
// what is replayed is what was.
namespace millrace::coordinator {

// The client host of an in-process member; after it stands the incarnation that it lives in.
inline constexpr std::string_view kInProcessHost = "in-process:";
// The epoch of a static member that left for a while.
inline constexpr int32_t kAwayEpoch = -2;

struct Member {
  // ---- as its records say
  std::string id;
  std::string instance_id;  // empty: a dynamic member
  std::string client_id;
  std::string client_host;
  std::vector<std::string> topics;
  std::string topic_pattern;
  std::string assignor;  // empty: no preference
  int32_t rebalance_timeout_ms = 0;
  bool subscribed = false;  // its own record was there, not only that of an assignment
  Partitions target;
  Holding holding;
  // ---- of this run alone
  absl::Duration timeout;                        // poll or session
  absl::Time deadline = absl::InfiniteFuture();  // it is removed then, unless it shows life
  absl::Time revoke_by =
      absl::InfiniteFuture();                 // it is removed then, unless it gives up partitions
  absl::Time armed = absl::InfiniteFuture();  // when its timer rings

  bool in_process() const { return client_host.starts_with(kInProcessHost); }
  bool away() const { return holding.epoch == kAwayEpoch; }
};

struct Group {
  // ---- as its records say
  bool described = false;  // has its own record; a group that only commits has none
  int32_t epoch = 0;
  int32_t assignment_epoch = 0;
  int64_t assignment_time_ms = 0;
  int64_t metadata_hash = 0;  // of the topics that the target was computed for
  std::map<std::string, Member, std::less<>> members;
  std::map<std::string, std::string, std::less<>> members_by_instance;
  // Who holds a partition, assigned or still to be given up. Never iterated: its order is not
  // fixed.
  std::unordered_map<PartitionId, const Member*, absl::Hash<PartitionId>> owners;
  std::map<TopicPartition, CommittedOffset> offsets;
  // ---- of this run alone
  uint64_t version = 0;                 // GroupVersion
  std::optional<uint64_t> topics_seen;  // the view that the target is up to date with
  std::map<std::string, std::vector<std::string>, std::less<>> pattern_topics;  // of that view

  Member* FindMember(std::string_view id);
  Member* FindInstance(std::string_view instance_id);
};

class GroupTable {
 public:
  using Groups = std::map<std::string, Group, std::less<>>;

  Group* Find(std::string_view name);
  const Groups& groups() const { return groups_; }
  Groups& groups() { return groups_; }

  Status Replay(std::span<const std::byte> key, std::optional<std::span<const std::byte>> value);
  std::vector<StateRecord> Snapshot() const;
  size_t live_bytes() const { return live_bytes_; }

  // Grows with each change that members may have to hear of.
  uint64_t version() const { return version_; }
  void set_version(uint64_t version);

  // Null: a tombstone.
  void Apply(const schema::OffsetCommitKey& key, const schema::OffsetCommitValue* value);
  void Apply(const schema::ConsumerGroupMetadataKey& key,
             const schema::ConsumerGroupMetadataValue* value);
  void Apply(const schema::ConsumerGroupMemberMetadataKey& key,
             const schema::ConsumerGroupMemberMetadataValue* value);
  void Apply(const schema::ConsumerGroupTargetAssignmentMetadataKey& key,
             const schema::ConsumerGroupTargetAssignmentMetadataValue* value);
  void Apply(const schema::ConsumerGroupTargetAssignmentMemberKey& key,
             const schema::ConsumerGroupTargetAssignmentMemberValue* value);
  void Apply(const schema::ConsumerGroupCurrentMemberAssignmentKey& key,
             const schema::ConsumerGroupCurrentMemberAssignmentValue* value);

 private:
  void SetHolding(Group& group, Member& member, Holding holding);
  static void ForgetInstance(Group& group, const Member& member);
  Member& MakeMember(Group& group, const std::string& id);
  void ForgetIfNothingLeft(std::string_view name);
  void Changed(Group& group) { group.version = ++version_; }

  Groups groups_;
  // Records of kinds that are not ours, by key: they are kept as they are.
  std::map<std::vector<std::byte>, std::vector<std::byte>> foreign_;
  size_t live_bytes_ = 0;
  uint64_t version_ = 0;
};

// The records of one decision, applied as they are written.
class Journal {
 public:
  explicit Journal(GroupTable& table) : table_(table) {}

  template <schema::Message Key>
  void Put(const Key& key, const typename schema::GroupValueOf<Key>::type& value) {
    records_.push_back(MakeRecord(key, value));
    table_.Apply(key, &value);
  }
  template <schema::Message Key>
  void Remove(const Key& key) {
    records_.push_back({EncodeKey(key), std::nullopt});
    table_.Apply(key, nullptr);
  }
  std::vector<StateRecord> Take() { return std::move(records_); }

  template <schema::Message Key>
  static StateRecord MakeRecord(const Key& key,
                                const typename schema::GroupValueOf<Key>::type& value) {
    return {EncodeKey(key), MustEncode(schema::EncodeGroupValue(value, VersionOf(value)))};
  }

 private:
  template <schema::Message Key>
  static std::vector<std::byte> EncodeKey(const Key& key) {
    return MustEncode(schema::EncodeGroupKey(key));
  }
  template <schema::Message Value>
  static constexpr int16_t VersionOf(const Value&) {
    return schema::NewestVersion<Value>();
  }
  // Version 4 only adds the topic's id, which we do not store; every Kafka since 2.1 reads 3.
  static constexpr int16_t VersionOf(const schema::OffsetCommitValue&) { return 3; }
  static std::vector<std::byte> MustEncode(StatusOr<std::vector<std::byte>> bytes);

  GroupTable& table_;
  std::vector<StateRecord> records_;
};

// ---- what the records hold, from the state

schema::OffsetCommitValue ToRecord(const CommittedOffset& offset);
schema::ConsumerGroupMemberMetadataValue ToRecord(const Member& member);
schema::ConsumerGroupCurrentMemberAssignmentValue ToRecord(const Holding& holding);
schema::ConsumerGroupTargetAssignmentMemberValue ToRecord(const Partitions& target);

}  // namespace millrace::coordinator
