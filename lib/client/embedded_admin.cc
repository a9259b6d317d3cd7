#include "client/embedded_admin.h"

#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "broker/topic_config.h"
#include "client/client_config.h"
#include "client/sync_future.h"
#include "client/topic_options.h"

namespace millrace::client {

// Waits for the disk apart, for at most admin_timeout.
template <typename Call>
Status EmbeddedAdmin::Change(Call call) {
  const auto done = SyncFuture::RunApart(context_, context_->clock, std::move(call));
  return done->Get(context_->options.admin_timeout, {}).status();
}

// ---- topics

Status EmbeddedAdmin::CreateTopic(std::string_view name, const TopicOptions& o, OnExists e) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  // Where it is kept, what the options say does not matter.
  if (e == OnExists::kKeep && context_->broker->metadata()->topics.contains(name))
    return absl::OkStatus();
  broker::CreateTopicRequest request;
  request.name = std::string(name);
  request.partitions = o.partitions;
  request.replication = o.replication;
  auto config = ConfigOf(o);
  if (!config.ok())
    return AllProblems({config.status(), broker::ParseTopicConfig(o.config, {}).status()});
  request.config = *std::move(config);
  Status status = Change([request](broker::Broker& broker) { return broker.CreateTopic(request); });
  if (e == OnExists::kKeep && ErrorIdOf(status) == ErrorId::kTopicExists) return absl::OkStatus();
  return status;
}

Status EmbeddedAdmin::DeleteTopic(std::string_view name) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  return Change(
      [name = std::string(name)](broker::Broker& broker) { return broker.DeleteTopic(name); });
}

Status EmbeddedAdmin::AddPartitions(std::string_view name, int32_t total) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  return Change([name = std::string(name), total](broker::Broker& broker) {
    return broker.AddPartitions(name, total);
  });
}

Status EmbeddedAdmin::SetTopicConfig(std::string_view name,
                                     const std::map<std::string, std::optional<std::string>>& c) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  return Change([name = std::string(name), c](broker::Broker& broker) {
    return broker.AlterConfig(name, c);
  });
}

StatusOr<std::vector<std::string>> EmbeddedAdmin::ListTopics(bool include_internal) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  std::vector<std::string> names;
  const auto metadata = context_->broker->metadata();
  for (const auto& [name, topic] : metadata->topics)
    if (include_internal || !topic->internal) names.push_back(name);
  return names;
}

StatusOr<PartitionInfo> EmbeddedAdmin::Describe(broker::Partition& partition) const {
  PartitionInfo info;
  info.id = partition.name().partition;
  info.leader = 0;
  info.replicas = info.in_sync = {0};
  // A partition that cannot be opened is described all the same, as far as metadata goes.
  info.status = partition.EnsureOpen();
  if (info.status.ok()) {
    const auto log = partition.log();  // none, where nothing was ever written
    info.bytes_on_disk = log.ok() ? static_cast<int64_t>((*log)->size_bytes()) : 0;
    info.begin = partition.log_start();
    info.end = partition.high_watermark();
  }
  info.leader_epoch = partition.leader_epoch();
  return info;
}

StatusOr<TopicInfo> EmbeddedAdmin::DescribeTopic(std::string_view name) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  MILLRACE_ASSIGN_OR_RETURN(const auto partitions, context_->broker->FindTopic(name, false));
  const auto metadata = context_->broker->metadata();
  const auto found = metadata->topics.find(name);
  if (found == metadata->topics.end())
    return MakeError(ErrorId::kUnknownTopic, fmt::format("there is no topic '{}'", name),
                     {.topic = name});
  TopicInfo info{.name = std::string(name),
                 .id = found->second->id.ToString(),
                 .internal = found->second->internal,
                 .partitions = {},
                 .config = found->second->config};
  for (const auto& partition : partitions) {
    MILLRACE_ASSIGN_OR_RETURN(PartitionInfo described, Describe(*partition));
    info.partitions.push_back(std::move(described));
  }
  return info;
}

StatusOr<std::vector<TopicConfigInfo>> EmbeddedAdmin::DescribeTopicConfig(std::string_view name) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  MILLRACE_ASSIGN_OR_RETURN(std::vector<broker::ConfigEntry> entries,
                            context_->broker->DescribeConfig(name));
  std::vector<TopicConfigInfo> infos;
  for (broker::ConfigEntry& entry : entries)
    infos.push_back({.name = std::move(entry.name),
                     .value = std::move(entry.value),
                     .default_value = std::move(entry.default_value),
                     .source = std::string(broker::Name(entry.source)),
                     .type = std::move(entry.type),
                     .range = std::move(entry.range),
                     .documentation = std::move(entry.documentation)});
  return infos;
}

Status EmbeddedAdmin::DeleteRecords(const OffsetMap& before) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  return Change([before](broker::Broker& broker) { return broker.DeleteRecords(before); });
}

// ---- groups

StatusOr<std::vector<std::string>> EmbeddedAdmin::ListGroups() {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  MILLRACE_ASSIGN_OR_RETURN(const auto groups, context_->broker->ListGroups());
  std::vector<std::string> names;
  for (const auto& [name, state] : groups) names.push_back(name);
  return names;
}

StatusOr<GroupInfo> EmbeddedAdmin::DescribeGroup(std::string_view group) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  MILLRACE_ASSIGN_OR_RETURN(coordinator::GroupDescription described,
                            context_->broker->DescribeGroup(group));
  MILLRACE_ASSIGN_OR_RETURN(const auto committed, context_->broker->CommittedOffsets(group));
  GroupInfo info;
  info.name = std::string(group);
  info.state = std::string(coordinator::Name(described.state));
  info.protocol = described.assignor;
  info.kind = "consumer";
  for (coordinator::MemberDescription& member : described.members)
    info.members.push_back({.id = std::move(member.member_id),
                            .instance_id = std::move(member.instance_id),
                            .client_id = std::move(member.client_id),
                            .host = std::move(member.client_host),
                            .assignment = std::move(member.assigned)});
  for (const auto& [tp, offset] : committed) {
    info.committed[tp] = offset.offset;
    const auto partition = context_->broker->FindPartition(tp.topic, tp.partition);
    if (partition.ok())
      info.lag[tp] = std::max<int64_t>((*partition)->high_watermark() - offset.offset, 0);
  }
  return info;
}

Status EmbeddedAdmin::AlterGroupOffsets(std::string_view group, const OffsetMap& next) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  return Change([group = std::string(group), next](broker::Broker& broker) {
    return broker.AlterGroupOffsets(group, next);
  });
}

Status EmbeddedAdmin::DeleteGroup(std::string_view group) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  return Change(
      [group = std::string(group)](broker::Broker& broker) { return broker.DeleteGroup(group); });
}

Status EmbeddedAdmin::DeleteGroupOffsets(std::string_view group,
                                         const std::vector<TopicPartition>& partitions) {
  MILLRACE_RETURN_IF_ERROR(context_->usable());
  return Change([group = std::string(group), partitions](broker::Broker& broker) {
    return broker.DeleteGroupOffsets(group, partitions);
  });
}

}  // namespace millrace::client
