#pragma once

#include <memory>

#include "client/backend.h"
#include "client/context.h"

namespace millrace::client {

// Admin over a broker in this process. Thread-safe.
class EmbeddedAdmin final : public AdminBackend {
 public:
  explicit EmbeddedAdmin(std::shared_ptr<Context> context) : context_(std::move(context)) {}

  Status CreateTopic(std::string_view name, const TopicOptions& o, OnExists e) override;
  Status DeleteTopic(std::string_view name) override;
  Status AddPartitions(std::string_view name, int32_t total) override;
  Status SetTopicConfig(std::string_view name,
                        const std::map<std::string, std::optional<std::string>>& c) override;
  StatusOr<std::vector<std::string>> ListTopics(bool include_internal) override;
  StatusOr<TopicInfo> DescribeTopic(std::string_view name) override;
  StatusOr<std::vector<TopicConfigInfo>> DescribeTopicConfig(std::string_view name) override;
  Status DeleteRecords(const OffsetMap& before) override;
  StatusOr<std::vector<std::string>> ListGroups() override;
  StatusOr<GroupInfo> DescribeGroup(std::string_view group) override;
  Status AlterGroupOffsets(std::string_view group, const OffsetMap& next) override;
  Status DeleteGroup(std::string_view group) override;
  Status DeleteGroupOffsets(std::string_view group,
                            const std::vector<TopicPartition>& partitions) override;

 private:
  template <typename Call>
  Status Change(Call call);
  StatusOr<PartitionInfo> Describe(broker::Partition& partition) const;

  const std::shared_ptr<Context> context_;
};

}  // namespace millrace::client
