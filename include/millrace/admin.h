// millrace/admin.h
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "millrace/record.h"
#include "millrace/status.h"

namespace millrace {

enum class CleanupPolicy { kDelete, kCompact, kCompactAndDelete };

struct TopicOptions {
  int32_t partitions = 1;
  int16_t replication = 0;  // 0: the cluster's default (1 when embedded)
  CleanupPolicy cleanup = CleanupPolicy::kDelete;
  std::optional<absl::Duration> retention = {};       // unset: the broker's default
  std::optional<int64_t> retention_bytes = {};        // per partition
  std::optional<int64_t> segment_bytes = {};
  std::map<std::string, std::string> config = {};     // any Kafka topic config by name
};
struct PartitionInfo {
  int32_t id = 0, leader = -1, leader_epoch = -1;
  std::vector<int32_t> replicas, in_sync;
  Offset begin = 0, end = 0;
  int64_t bytes_on_disk = -1;
};
struct TopicInfo {
  std::string name;
  std::string id;  // topic UUID
  bool internal = false;
  std::vector<PartitionInfo> partitions;
  std::map<std::string, std::string> config;
};
struct MemberInfo {
  std::string id, instance_id, client_id, host;
  std::vector<TopicPartition> assignment;
};
struct GroupInfo {
  std::string name, state, protocol, kind;  // kind: consumer | share | streams
  std::vector<MemberInfo> members;
  std::map<TopicPartition, Offset> committed;
  std::map<TopicPartition, int64_t> lag;
};
enum class OnExists { kFail, kKeep };

// Thread-safe. Every call takes the client's admin timeout; a per-item failure is in its own Status.
class Admin {
 public:
  Status CreateTopic(std::string_view name, TopicOptions o = {}, OnExists e = OnExists::kFail);
  Status DeleteTopic(std::string_view name);
  Status AddPartitions(std::string_view name, int32_t total);
  Status SetTopicConfig(std::string_view name, std::map<std::string, std::optional<std::string>> c);
  StatusOr<std::vector<std::string>> ListTopics(bool include_internal = false);
  StatusOr<TopicInfo> DescribeTopic(std::string_view name);
  Status DeleteRecords(const OffsetMap& before);

  StatusOr<std::vector<std::string>> ListGroups();
  StatusOr<GroupInfo> DescribeGroup(std::string_view group);
  Status AlterGroupOffsets(std::string_view group, const OffsetMap& next);
  Status DeleteGroup(std::string_view group);

 private:
  friend class Client;
  std::shared_ptr<void> impl_;
};

}  // namespace millrace
