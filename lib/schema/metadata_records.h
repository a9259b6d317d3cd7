#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/uuid.h"
#include "schema/schema.h"

// The records of __cluster_metadata, as Kafka 4.3 writes them. The value of such a record is a
// frame version (unsigned varint, 1), the record's type and version (unsigned varints), then the
// struct.
namespace millrace::schema {

struct RegisterBrokerRecord {
  struct BrokerEndpoint {
    std::string name = {};
    std::string host = {};
    uint16_t port = 0;
    int16_t security_protocol = 0;

    template <typename F>
    static void Fields(F f) {
      using T = BrokerEndpoint;
      f("name", &T::name);
      f("host", &T::host);
      f("port", &T::port);
      f("securityProtocol", &T::security_protocol);
    }
    bool operator==(const BrokerEndpoint&) const = default;
  };
  struct BrokerFeature {
    std::string name = {};
    int16_t min_supported_version = 0;
    int16_t max_supported_version = 0;

    template <typename F>
    static void Fields(F f) {
      using T = BrokerFeature;
      f("name", &T::name);
      f("minSupportedVersion", &T::min_supported_version);
      f("maxSupportedVersion", &T::max_supported_version);
    }
    bool operator==(const BrokerFeature&) const = default;
  };

  int32_t broker_id = 0;
  bool is_migrating_zk_broker = false;
  Uuid incarnation_id = {};
  int64_t broker_epoch = 0;
  std::vector<BrokerEndpoint> end_points = {};
  std::vector<BrokerFeature> features = {};
  std::optional<std::string> rack = {};
  bool fenced = true;
  bool in_controlled_shutdown = false;
  std::vector<Uuid> log_dirs = {};
  std::optional<std::vector<Uuid>> cordoned_log_dirs = {};

  static constexpr Description kSchema = {
      .name = "RegisterBrokerRecord", .key = 0, .versions = {0, 4}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = RegisterBrokerRecord;
    f("brokerId", &T::broker_id);
    f("isMigratingZkBroker", &T::is_migrating_zk_broker, {.since = 2});
    f("incarnationId", &T::incarnation_id);
    f("brokerEpoch", &T::broker_epoch);
    f("endPoints", &T::end_points);
    f("features", &T::features);
    f("rack", &T::rack);
    f("fenced", &T::fenced);
    f("inControlledShutdown", &T::in_controlled_shutdown, {.since = 1});
    f("logDirs", &T::log_dirs, {.since = 3, .tag = 0});
    f("cordonedLogDirs", &T::cordoned_log_dirs, {.since = 4, .nullable_since = 4, .tag = 1});
  }
  bool operator==(const RegisterBrokerRecord&) const = default;
};

struct TopicRecord {
  std::string name = {};
  Uuid topic_id = {};

  static constexpr Description kSchema = {
      .name = "TopicRecord", .key = 2, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("name", &TopicRecord::name);
    f("topicId", &TopicRecord::topic_id);
  }
  bool operator==(const TopicRecord&) const = default;
};

struct PartitionRecord {
  int32_t partition_id = -1;
  Uuid topic_id = {};
  std::vector<int32_t> replicas = {};
  std::vector<int32_t> isr = {};
  std::vector<int32_t> removing_replicas = {};
  std::vector<int32_t> adding_replicas = {};
  int32_t leader = -1;
  int8_t leader_recovery_state = 0;
  int32_t leader_epoch = -1;
  int32_t partition_epoch = -1;
  std::vector<Uuid> directories = {};
  std::optional<std::vector<int32_t>> eligible_leader_replicas = {};
  std::optional<std::vector<int32_t>> last_known_elr = {};

  static constexpr Description kSchema = {
      .name = "PartitionRecord", .key = 3, .versions = {0, 2}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = PartitionRecord;
    f("partitionId", &T::partition_id);
    f("topicId", &T::topic_id);
    f("replicas", &T::replicas);
    f("isr", &T::isr);
    f("removingReplicas", &T::removing_replicas);
    f("addingReplicas", &T::adding_replicas);
    f("leader", &T::leader);
    f("leaderRecoveryState", &T::leader_recovery_state, {.tag = 0});
    f("leaderEpoch", &T::leader_epoch);
    f("partitionEpoch", &T::partition_epoch);
    f("directories", &T::directories, {.since = 1});
    f("eligibleLeaderReplicas", &T::eligible_leader_replicas,
      {.since = 2, .nullable_since = 2, .tag = 1});
    f("lastKnownElr", &T::last_known_elr, {.since = 2, .nullable_since = 2, .tag = 2});
  }
  bool operator==(const PartitionRecord&) const = default;
};

struct ConfigRecord {
  int8_t resource_type = 0;  // 2 a topic, 4 a broker, 32 a group
  std::string resource_name = {};
  std::string name = {};
  std::optional<std::string> value;  // null: back to the default

  static constexpr Description kSchema = {
      .name = "ConfigRecord", .key = 4, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = ConfigRecord;
    f("resourceType", &T::resource_type);
    f("resourceName", &T::resource_name);
    f("name", &T::name);
    f("value", &T::value);
  }
  bool operator==(const ConfigRecord&) const = default;
};

// A field that is null, -2 or -1 did not change.
struct PartitionChangeRecord {
  int32_t partition_id = -1;
  Uuid topic_id = {};
  std::optional<std::vector<int32_t>> isr = {};
  int32_t leader = -2;
  std::optional<std::vector<int32_t>> replicas = {};
  std::optional<std::vector<int32_t>> removing_replicas = {};
  std::optional<std::vector<int32_t>> adding_replicas = {};
  int8_t leader_recovery_state = -1;
  std::optional<std::vector<Uuid>> directories = {};
  std::optional<std::vector<int32_t>> eligible_leader_replicas = {};
  std::optional<std::vector<int32_t>> last_known_elr = {};

  static constexpr Description kSchema = {
      .name = "PartitionChangeRecord", .key = 5, .versions = {0, 2}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = PartitionChangeRecord;
    f("partitionId", &T::partition_id);
    f("topicId", &T::topic_id);
    f("isr", &T::isr, {.tag = 0});
    f("leader", &T::leader, {.tag = 1});
    f("replicas", &T::replicas, {.tag = 2});
    f("removingReplicas", &T::removing_replicas, {.tag = 3});
    f("addingReplicas", &T::adding_replicas, {.tag = 4});
    f("leaderRecoveryState", &T::leader_recovery_state, {.tag = 5});
    f("directories", &T::directories, {.since = 1, .nullable_since = 1, .tag = 8});
    f("eligibleLeaderReplicas", &T::eligible_leader_replicas,
      {.since = 2, .nullable_since = 2, .tag = 6});
    f("lastKnownElr", &T::last_known_elr, {.since = 2, .nullable_since = 2, .tag = 7});
  }
  bool operator==(const PartitionChangeRecord&) const = default;
};

struct RemoveTopicRecord {
  Uuid topic_id = {};

  static constexpr Description kSchema = {
      .name = "RemoveTopicRecord", .key = 9, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("topicId", &RemoveTopicRecord::topic_id);
  }
  bool operator==(const RemoveTopicRecord&) const = default;
};

struct FeatureLevelRecord {
  std::string name = {};
  int16_t feature_level = 0;

  static constexpr Description kSchema = {
      .name = "FeatureLevelRecord", .key = 12, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("name", &FeatureLevelRecord::name);
    f("featureLevel", &FeatureLevelRecord::feature_level);
  }
  bool operator==(const FeatureLevelRecord&) const = default;
};

struct ProducerIdsRecord {
  int32_t broker_id = 0;
  int64_t broker_epoch = -1;
  int64_t next_producer_id = 0;

  static constexpr Description kSchema = {
      .name = "ProducerIdsRecord", .key = 15, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = ProducerIdsRecord;
    f("brokerId", &T::broker_id);
    f("brokerEpoch", &T::broker_epoch);
    f("nextProducerId", &T::next_producer_id);
  }
  bool operator==(const ProducerIdsRecord&) const = default;
};

struct BrokerRegistrationChangeRecord {
  int32_t broker_id = 0;
  int64_t broker_epoch = 0;
  int8_t fenced = 0;  // -1 unfenced, 0 unchanged, 1 fenced
  int8_t in_controlled_shutdown = 0;
  std::vector<Uuid> log_dirs = {};
  std::optional<std::vector<Uuid>> cordoned_log_dirs = {};

  static constexpr Description kSchema = {
      .name = "BrokerRegistrationChangeRecord", .key = 17, .versions = {0, 3}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    using T = BrokerRegistrationChangeRecord;
    f("brokerId", &T::broker_id);
    f("brokerEpoch", &T::broker_epoch);
    f("fenced", &T::fenced, {.tag = 0});
    f("inControlledShutdown", &T::in_controlled_shutdown, {.since = 1, .tag = 1});
    f("logDirs", &T::log_dirs, {.since = 2, .tag = 2});
    f("cordonedLogDirs", &T::cordoned_log_dirs, {.since = 3, .nullable_since = 3, .tag = 3});
  }
  bool operator==(const BrokerRegistrationChangeRecord&) const = default;
};

struct NoOpRecord {
  static constexpr Description kSchema = {
      .name = "NoOpRecord", .key = 20, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F) {}
  bool operator==(const NoOpRecord&) const = default;
};

// Records between Begin and End take effect together, or not at all.
struct BeginTransactionRecord {
  std::optional<std::string> name = {};

  static constexpr Description kSchema = {
      .name = "BeginTransactionRecord", .key = 23, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("name", &BeginTransactionRecord::name, {.tag = 0});
  }
  bool operator==(const BeginTransactionRecord&) const = default;
};

struct EndTransactionRecord {
  static constexpr Description kSchema = {
      .name = "EndTransactionRecord", .key = 24, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F) {}
  bool operator==(const EndTransactionRecord&) const = default;
};

struct AbortTransactionRecord {
  std::optional<std::string> reason = {};

  static constexpr Description kSchema = {
      .name = "AbortTransactionRecord", .key = 25, .versions = {0, 0}, .flexible_since = 0};
  template <typename F>
  static void Fields(F f) {
    f("reason", &AbortTransactionRecord::reason, {.tag = 0});
  }
  bool operator==(const AbortTransactionRecord&) const = default;
};

using MetadataRecord =
    std::variant<NoOpRecord, RegisterBrokerRecord, TopicRecord, PartitionRecord, ConfigRecord,
                 PartitionChangeRecord, RemoveTopicRecord, FeatureLevelRecord, ProducerIdsRecord,
                 BrokerRegistrationChangeRecord, BeginTransactionRecord, EndTransactionRecord,
                 AbortTransactionRecord>;

// The frame and the record in its newest version. invalid_argument: a text or list is too long.
StatusOr<std::vector<std::byte>> EncodeMetadataRecord(const MetadataRecord& record);
// corrupt_message, or unsupported_version naming the type or version that this program does not
// know.
StatusOr<MetadataRecord> DecodeMetadataRecord(std::span<const std::byte> bytes);
// As Kafka's dump tool prints one: {"type":"TOPIC_RECORD","version":0,"data":{...}}.
StatusOr<std::string> DumpMetadataRecord(std::span<const std::byte> bytes);

}  // namespace millrace::schema
