// millrace/admin.h - topics and groups.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "millrace/status.h"
#include "millrace/topic_partition.h"

namespace millrace {

enum class CleanupPolicy { kDelete, kCompact, kCompactAndDelete };  // [cleanup.policy]

// How one topic stores and expires its records. Kafka's name for a field is in brackets; what is
// unset follows the broker's topic_defaults. docs/configuration.md lists every config.
struct TopicOptions {
  // Keys are spread over them; a group has at most this many active members. Can grow, not shrink.
  // Unset: the broker's topic_defaults.
  std::optional<int32_t> partitions = {};
  int16_t replication = 0;                    // 0: the cluster's default (1 when embedded)
  std::optional<CleanupPolicy> cleanup = {};  // unset: kDelete
  // A closed segment goes once its newest record is older. InfiniteDuration: never. [retention.ms]
  std::optional<absl::Duration> retention = {};
  std::optional<int64_t> retention_bytes = {};  // per partition [retention.bytes]
  // A new segment file is begun at this size; records expire a segment at a time. [segment.bytes]
  std::optional<int64_t> segment_bytes = {};
  // Any Kafka topic config by name; what a field above says as well is refused.
  std::map<std::string, std::string> config = {};
};
struct PartitionInfo {
  int32_t id = 0, leader = -1, leader_epoch = -1;
  std::vector<int32_t> replicas, in_sync;
  Offset begin = 0, end = 0;  // what can be read: [begin, end)
  int64_t bytes_on_disk = -1;
  Status status = {};  // why the partition cannot be opened: then these three are not known
};
struct TopicInfo {
  std::string name;
  std::string id;  // topic UUID
  bool internal = false;
  std::vector<PartitionInfo> partitions;
  std::map<std::string, std::string> config;  // what is set on the topic itself
};
// One config of a topic: what holds, and where it was said.
struct TopicConfigInfo {
  std::string name, value, default_value;
  std::string source;  // "topic", "broker default" (topic_defaults) or "built-in"
  std::string type, range, documentation;
};
struct MemberInfo {
  std::string id, instance_id, client_id, host;
  std::vector<TopicPartition> assignment;
};
struct GroupInfo {
  std::string name;
  std::string state;     // "Empty", "Assigning", "Reconciling", "Stable", "Dead"
  std::string protocol;  // the assignor: "uniform", "range"
  std::string kind;      // "consumer"
  std::vector<MemberInfo> members;
  std::map<TopicPartition, Offset> committed;
  std::map<TopicPartition, int64_t> lag;  // of each committed partition that exists
};
enum class OnExists { kFail, kKeep };

// Topics and groups of one backend. Thread-safe; a cheap, copyable reference, which keeps the
// backend alive.
class Admin {
 public:
  // topic_exists (unless kKeep, which leaves the topic as it is), invalid_topic,
  // invalid_partitions, invalid_replication, invalid_config naming every problem.
  Status CreateTopic(std::string_view name, TopicOptions o = {}, OnExists e = OnExists::kFail);
  Status DeleteTopic(std::string_view name);                   // unknown_topic
  Status AddPartitions(std::string_view name, int32_t total);  // invalid_partitions when not more
  // A null value goes back to the default. All of them take effect, or none: invalid_config.
  Status SetTopicConfig(std::string_view name, std::map<std::string, std::optional<std::string>> c);
  StatusOr<std::vector<std::string>> ListTopics(bool include_internal = false);
  StatusOr<TopicInfo> DescribeTopic(std::string_view name);
  StatusOr<std::vector<TopicConfigInfo>> DescribeTopicConfig(std::string_view name);
  // Deletes the records before each offset (-1: all that can be read), durably.
  Status DeleteRecords(const OffsetMap& before);

  StatusOr<std::vector<std::string>> ListGroups();
  StatusOr<GroupInfo> DescribeGroup(std::string_view group);  // group_not_found
  // Both need a group without members: group_not_empty.
  Status AlterGroupOffsets(std::string_view group, const OffsetMap& next);
  Status DeleteGroup(std::string_view group);
  // Needs a group without members that are subscribed to the topics.
  Status DeleteGroupOffsets(std::string_view group, const std::vector<TopicPartition>& partitions);

 private:
  friend class Client;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace millrace
