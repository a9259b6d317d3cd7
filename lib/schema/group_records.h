#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/uuid.h"
#include "schema/schema.h"

// The records of __consumer_offsets, as Kafka 4.3 writes them; docs/format/groups.md tells what
// each says. A key is the record's type (int16) and then its key struct in version 0; a value is
// its version (int16) and then the struct. A null value is a tombstone.
namespace millrace::schema {

// ---- committed offsets

struct OffsetCommitKey {
  std::string group = {};
  std::string topic = {};
  int32_t partition = 0;

  static constexpr Description kSchema = {.name = "OffsetCommitKey", .key = 1, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    using T = OffsetCommitKey;
    f("group", &T::group);
    f("topic", &T::topic);
    f("partition", &T::partition);
  }
  bool operator==(const OffsetCommitKey&) const = default;
};

struct OffsetCommitValue {
  int64_t offset = 0;
  int32_t leader_epoch = -1;
  std::string metadata = {};
  int64_t commit_timestamp = 0;
  int64_t expire_timestamp = -1;
  Uuid topic_id = {};

  static constexpr Description kSchema = {
      .name = "OffsetCommitValue", .key = 1, .versions = {0, 4}, .flexible_since = 4};
  template <typename F>
  static void Fields(F f) {
    using T = OffsetCommitValue;
    f("offset", &T::offset);
    f("leaderEpoch", &T::leader_epoch, {.since = 3, .ignorable = true});
    f("metadata", &T::metadata);
    f("commitTimestamp", &T::commit_timestamp);
    f("expireTimestamp", &T::expire_timestamp, {.since = 1, .until = 1, .ignorable = true});
    f("topicId", &T::topic_id, {.since = 4, .ignorable = true, .tag = 0});
  }
  bool operator==(const OffsetCommitValue&) const = default;
};

// ---- classic groups: read, so that a log of Kafka's loads; never written

struct GroupMetadataKey {
  std::string group = {};

  static constexpr Description kSchema = {.name = "GroupMetadataKey", .key = 2, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("group", &GroupMetadataKey::group);
  }
  bool operator==(const GroupMetadataKey&) const = default;
};

struct GroupMetadataValue {
  struct Member {
    std::string member_id = {};
    std::optional<std::string> group_instance_id = {};
    std::string client_id = {};
    std::string client_host = {};
    int32_t rebalance_timeout = -1;
    int32_t session_timeout = 0;
    std::vector<std::byte> subscription = {};
    std::vector<std::byte> assignment = {};

    template <typename F>
    static void Fields(F f) {
      using T = Member;
      f("memberId", &T::member_id);
      f("groupInstanceId", &T::group_instance_id,
        {.since = 3, .ignorable = true, .nullable_since = 3});
      f("clientId", &T::client_id);
      f("clientHost", &T::client_host);
      f("rebalanceTimeout", &T::rebalance_timeout, {.since = 1, .ignorable = true});
      f("sessionTimeout", &T::session_timeout);
      f("subscription", &T::subscription);
      f("assignment", &T::assignment);
    }
    bool operator==(const Member&) const = default;
  };

  std::string protocol_type = {};
  int32_t generation = 0;
  std::optional<std::string> protocol = {};
  std::optional<std::string> leader = {};
  int64_t current_state_timestamp = -1;
  std::vector<Member> members = {};

  static constexpr Description kSchema = {
      .name = "GroupMetadataValue", .key = 2, .versions = {0, 4}, .flexible_since = 4};
  template <typename F>
  static void Fields(F f) {
    using T = GroupMetadataValue;
    f("protocolType", &T::protocol_type);
    f("generation", &T::generation);
    f("protocol", &T::protocol);
    f("leader", &T::leader);
    f("currentStateTimestamp", &T::current_state_timestamp, {.since = 2, .ignorable = true});
    f("members", &T::members);
  }
  bool operator==(const GroupMetadataValue&) const = default;
};

// ---- consumer groups (KIP-848)

struct ConsumerGroupMetadataKey {
  std::string group_id = {};

  static constexpr Description kSchema = {
      .name = "ConsumerGroupMetadataKey", .key = 3, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("groupId", &ConsumerGroupMetadataKey::group_id);
  }
  bool operator==(const ConsumerGroupMetadataKey&) const = default;
};

struct ConsumerGroupMetadataValue {
  int32_t epoch = 0;
  int64_t metadata_hash = 0;

  static constexpr Description kSchema = {
      .name = "ConsumerGroupMetadataValue", .key = 3, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = ConsumerGroupMetadataValue;
    f("epoch", &T::epoch);
    f("metadataHash", &T::metadata_hash, {.tag = 0});
  }
  bool operator==(const ConsumerGroupMetadataValue&) const = default;
};

struct ConsumerGroupPartitionMetadataKey {
  std::string group_id = {};

  static constexpr Description kSchema = {
      .name = "ConsumerGroupPartitionMetadataKey", .key = 4, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("groupId", &ConsumerGroupPartitionMetadataKey::group_id);
  }
  bool operator==(const ConsumerGroupPartitionMetadataKey&) const = default;
};

struct ConsumerGroupPartitionMetadataValue {
  struct PartitionMetadata {
    int32_t partition = 0;
    std::vector<std::string> racks = {};

    template <typename F>
    static void Fields(F f) {
      f("partition", &PartitionMetadata::partition);
      f("racks", &PartitionMetadata::racks);
    }
    bool operator==(const PartitionMetadata&) const = default;
  };
  struct TopicMetadata {
    Uuid topic_id = {};
    std::string topic_name = {};
    int32_t num_partitions = 0;
    std::vector<PartitionMetadata> partition_metadata = {};

    template <typename F>
    static void Fields(F f) {
      using T = TopicMetadata;
      f("topicId", &T::topic_id);
      f("topicName", &T::topic_name);
      f("numPartitions", &T::num_partitions);
      f("partitionMetadata", &T::partition_metadata);
    }
    bool operator==(const TopicMetadata&) const = default;
  };

  std::vector<TopicMetadata> topics = {};

  static constexpr Description kSchema = {.name = "ConsumerGroupPartitionMetadataValue",
                                          .key = 4,
                                          .versions = {0, 0},
                                          .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("topics", &ConsumerGroupPartitionMetadataValue::topics);
  }
  bool operator==(const ConsumerGroupPartitionMetadataValue&) const = default;
};

struct ConsumerGroupMemberMetadataKey {
  std::string group_id = {};
  std::string member_id = {};

  static constexpr Description kSchema = {
      .name = "ConsumerGroupMemberMetadataKey", .key = 5, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("groupId", &ConsumerGroupMemberMetadataKey::group_id);
    f("memberId", &ConsumerGroupMemberMetadataKey::member_id);
  }
  bool operator==(const ConsumerGroupMemberMetadataKey&) const = default;
};

// Of a member that speaks the classic protocol. Not nested below: Clang cannot have an optional of
// a nested struct with initialisers inside the struct around it.
struct ClassicMemberMetadata {
  struct ClassicProtocol {
    std::string name = {};
    std::vector<std::byte> metadata = {};

    template <typename F>
    static void Fields(F f) {
      f("name", &ClassicProtocol::name);
      f("metadata", &ClassicProtocol::metadata);
    }
    bool operator==(const ClassicProtocol&) const = default;
  };

  int32_t session_timeout_ms = 0;
  std::vector<ClassicProtocol> supported_protocols = {};

  template <typename F>
  static void Fields(F f) {
    f("sessionTimeoutMs", &ClassicMemberMetadata::session_timeout_ms);
    f("supportedProtocols", &ClassicMemberMetadata::supported_protocols);
  }
  bool operator==(const ClassicMemberMetadata&) const = default;
};

struct ConsumerGroupMemberMetadataValue {
  std::optional<std::string> instance_id = {};
  std::optional<std::string> rack_id = {};
  std::string client_id = {};
  std::string client_host = {};
  std::vector<std::string> subscribed_topic_names = {};
  std::optional<std::string> subscribed_topic_regex = {};
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::string> server_assignor = {};
  std::optional<ClassicMemberMetadata> classic_member_metadata = {};

  static constexpr Description kSchema = {.name = "ConsumerGroupMemberMetadataValue",
                                          .key = 5,
                                          .versions = {0, 0},
                                          .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = ConsumerGroupMemberMetadataValue;
    f("instanceId", &T::instance_id);
    f("rackId", &T::rack_id);
    f("clientId", &T::client_id);
    f("clientHost", &T::client_host);
    f("subscribedTopicNames", &T::subscribed_topic_names);
    f("subscribedTopicRegex", &T::subscribed_topic_regex);
    f("rebalanceTimeoutMs", &T::rebalance_timeout_ms);
    f("serverAssignor", &T::server_assignor);
    f("classicMemberMetadata", &T::classic_member_metadata, {.tag = 0});
  }
  bool operator==(const ConsumerGroupMemberMetadataValue&) const = default;
};

struct ConsumerGroupTargetAssignmentMetadataKey {
  std::string group_id = {};

  static constexpr Description kSchema = {
      .name = "ConsumerGroupTargetAssignmentMetadataKey", .key = 6, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("groupId", &ConsumerGroupTargetAssignmentMetadataKey::group_id);
  }
  bool operator==(const ConsumerGroupTargetAssignmentMetadataKey&) const = default;
};

struct ConsumerGroupTargetAssignmentMetadataValue {
  int32_t assignment_epoch = 0;
  int64_t assignment_timestamp = 0;

  static constexpr Description kSchema = {.name = "ConsumerGroupTargetAssignmentMetadataValue",
                                          .key = 6,
                                          .versions = {0, 0},
                                          .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = ConsumerGroupTargetAssignmentMetadataValue;
    f("assignmentEpoch", &T::assignment_epoch);
    f("assignmentTimestamp", &T::assignment_timestamp, {.ignorable = true, .tag = 0});
  }
  bool operator==(const ConsumerGroupTargetAssignmentMetadataValue&) const = default;
};

struct ConsumerGroupTargetAssignmentMemberKey {
  std::string group_id = {};
  std::string member_id = {};

  static constexpr Description kSchema = {
      .name = "ConsumerGroupTargetAssignmentMemberKey", .key = 7, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("groupId", &ConsumerGroupTargetAssignmentMemberKey::group_id);
    f("memberId", &ConsumerGroupTargetAssignmentMemberKey::member_id);
  }
  bool operator==(const ConsumerGroupTargetAssignmentMemberKey&) const = default;
};

struct ConsumerGroupTargetAssignmentMemberValue {
  struct TopicPartition {
    Uuid topic_id = {};
    std::vector<int32_t> partitions = {};

    template <typename F>
    static void Fields(F f) {
      f("topicId", &TopicPartition::topic_id);
      f("partitions", &TopicPartition::partitions);
    }
    bool operator==(const TopicPartition&) const = default;
  };

  std::vector<TopicPartition> topic_partitions = {};

  static constexpr Description kSchema = {.name = "ConsumerGroupTargetAssignmentMemberValue",
                                          .key = 7,
                                          .versions = {0, 0},
                                          .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("topicPartitions", &ConsumerGroupTargetAssignmentMemberValue::topic_partitions);
  }
  bool operator==(const ConsumerGroupTargetAssignmentMemberValue&) const = default;
};

struct ConsumerGroupCurrentMemberAssignmentKey {
  std::string group_id = {};
  std::string member_id = {};

  static constexpr Description kSchema = {
      .name = "ConsumerGroupCurrentMemberAssignmentKey", .key = 8, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("groupId", &ConsumerGroupCurrentMemberAssignmentKey::group_id);
    f("memberId", &ConsumerGroupCurrentMemberAssignmentKey::member_id);
  }
  bool operator==(const ConsumerGroupCurrentMemberAssignmentKey&) const = default;
};

struct ConsumerGroupCurrentMemberAssignmentValue {
  struct TopicPartitions {
    Uuid topic_id = {};
    std::vector<int32_t> partitions = {};
    std::optional<std::vector<int32_t>> assignment_epochs = {};

    template <typename F>
    static void Fields(F f) {
      f("topicId", &TopicPartitions::topic_id);
      f("partitions", &TopicPartitions::partitions);
      f("assignmentEpochs", &TopicPartitions::assignment_epochs, {.tag = 0});
    }
    bool operator==(const TopicPartitions&) const = default;
  };

  int32_t member_epoch = 0;
  int32_t previous_member_epoch = 0;
  int8_t state = 0;
  std::vector<TopicPartitions> assigned_partitions = {};
  std::vector<TopicPartitions> partitions_pending_revocation = {};

  static constexpr Description kSchema = {.name = "ConsumerGroupCurrentMemberAssignmentValue",
                                          .key = 8,
                                          .versions = {0, 0},
                                          .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = ConsumerGroupCurrentMemberAssignmentValue;
    f("memberEpoch", &T::member_epoch);
    f("previousMemberEpoch", &T::previous_member_epoch);
    f("state", &T::state);
    f("assignedPartitions", &T::assigned_partitions);
    f("partitionsPendingRevocation", &T::partitions_pending_revocation);
  }
  bool operator==(const ConsumerGroupCurrentMemberAssignmentValue&) const = default;
};

struct ConsumerGroupRegularExpressionKey {
  std::string group_id = {};
  std::string regular_expression = {};

  static constexpr Description kSchema = {
      .name = "ConsumerGroupRegularExpressionKey", .key = 16, .versions = {0, 0}};
  template <typename F>
  static void Fields(F f) {
    f("groupId", &ConsumerGroupRegularExpressionKey::group_id);
    f("regularExpression", &ConsumerGroupRegularExpressionKey::regular_expression);
  }
  bool operator==(const ConsumerGroupRegularExpressionKey&) const = default;
};

struct ConsumerGroupRegularExpressionValue {
  std::vector<std::string> topics = {};
  int64_t version = 0;
  int64_t timestamp = 0;

  static constexpr Description kSchema = {.name = "ConsumerGroupRegularExpressionValue",
                                          .key = 16,
                                          .versions = {0, 0},
                                          .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = ConsumerGroupRegularExpressionValue;
    f("topics", &T::topics);
    f("version", &T::version);
    f("timestamp", &T::timestamp);
  }
  bool operator==(const ConsumerGroupRegularExpressionValue&) const = default;
};

// ---- keys and values with their two bytes in front

// A record of a type that is not declared above: of share or streams groups, or of a later Kafka.
struct OtherGroupKey {
  int16_t type = 0;
  bool operator==(const OtherGroupKey&) const = default;
};

using GroupRecordKey =
    std::variant<OffsetCommitKey, GroupMetadataKey, ConsumerGroupMetadataKey,
                 ConsumerGroupPartitionMetadataKey, ConsumerGroupMemberMetadataKey,
                 ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMemberKey,
                 ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupRegularExpressionKey,
                 OtherGroupKey>;

// The value that belongs to a key.
template <Message Key>
struct GroupValueOf;
template <>
struct GroupValueOf<OffsetCommitKey> : std::type_identity<OffsetCommitValue> {};
template <>
struct GroupValueOf<GroupMetadataKey> : std::type_identity<GroupMetadataValue> {};
template <>
struct GroupValueOf<ConsumerGroupMetadataKey> : std::type_identity<ConsumerGroupMetadataValue> {};
template <>
struct GroupValueOf<ConsumerGroupPartitionMetadataKey>
    : std::type_identity<ConsumerGroupPartitionMetadataValue> {};
template <>
struct GroupValueOf<ConsumerGroupMemberMetadataKey>
    : std::type_identity<ConsumerGroupMemberMetadataValue> {};
template <>
struct GroupValueOf<ConsumerGroupTargetAssignmentMetadataKey>
    : std::type_identity<ConsumerGroupTargetAssignmentMetadataValue> {};
template <>
struct GroupValueOf<ConsumerGroupTargetAssignmentMemberKey>
    : std::type_identity<ConsumerGroupTargetAssignmentMemberValue> {};
template <>
struct GroupValueOf<ConsumerGroupCurrentMemberAssignmentKey>
    : std::type_identity<ConsumerGroupCurrentMemberAssignmentValue> {};
template <>
struct GroupValueOf<ConsumerGroupRegularExpressionKey>
    : std::type_identity<ConsumerGroupRegularExpressionValue> {};

StatusOr<GroupRecordKey> DecodeGroupKey(std::span<const std::byte> bytes);

// A key with its type, or a value with its version, before it.
template <Message M>
StatusOr<std::vector<std::byte>> EncodePrefixed(const M& message, int16_t prefix, int16_t version) {
  ByteWriter writer;
  writer.Integer(prefix);
  std::vector<std::byte> bytes = writer.Take();
  MILLRACE_RETURN_IF_ERROR(Encode(message, version, bytes));
  return bytes;
}
template <Message Key>
StatusOr<std::vector<std::byte>> EncodeGroupKey(const Key& key) {
  return EncodePrefixed(key, Key::kSchema.key, 0);
}
template <Message Value>
StatusOr<std::vector<std::byte>> EncodeGroupValue(const Value& value,
                                                  int16_t version = NewestVersion<Value>()) {
  return EncodePrefixed(value, version, version);
}
template <Message Value>
StatusOr<Value> DecodeGroupValue(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Integer<int16_t>();
  if (!reader.ok()) {
    return MakeError(ErrorId::kCorruptMessage, fmt::format("{}: {} bytes cannot hold a version",
                                                           Value::kSchema.name, bytes.size()));
  }
  return Decode<Value>(reader.rest(), version);
}

// As Kafka's dump tool prints them: {"type":"1","data":{...}} and {"version":"3","data":{...}}. A
// record of another type is {"type":"9"} and {"version":"0"}; no value is null.
StatusOr<std::string> DumpGroupKey(std::span<const std::byte> key);
StatusOr<std::string> DumpGroupValue(std::span<const std::byte> key,
                                     std::optional<std::span<const std::byte>> value);

}  // namespace millrace::schema
