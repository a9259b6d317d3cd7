#include "broker/metadata_state.h"

#include <variant>

#include <fmt/format.h>

#include "base/errors.h"

namespace millrace::broker {
namespace {

constexpr int8_t kTopicResource = 2;  // Kafka's ConfigResource.Type

Status Contradiction(std::string_view what) {
  return MakeError(ErrorId::kCorruptLog, fmt::format("the metadata contradicts itself: {}", what));
}

}  // namespace

bool IsInternalTopic(std::string_view name) {
  return name == "__consumer_offsets" || name == "__transaction_state" ||
         name == "__share_group_state" || name == "__cluster_metadata";
}

Status MetadataState::Apply(const schema::MetadataRecord& record) {
  return std::visit([this](const auto& r) { return On(r); }, record);
}

template <typename Other>
Status MetadataState::On(const Other&) {
  return MakeError(
      ErrorId::kUnsupportedVersion,
      fmt::format("the metadata holds a {}, which belongs to a cluster; this version is "
                  "a broker by itself and would lose it",
                  Other::kSchema.name));
}

TopicImage* MetadataState::Draft(const Uuid& id) {
  if (const auto draft = drafts_.find(id); draft != drafts_.end()) return draft->second.get();
  const auto name = names_.find(id);
  if (name == names_.end()) return nullptr;
  auto copy = std::make_shared<TopicImage>(*image_.topics.at(name->second));
  return drafts_.emplace(id, std::move(copy)).first->second.get();
}

Status MetadataState::On(const schema::TopicRecord& record) {
  if (names_.contains(record.topic_id) || ids_.contains(record.name)) {
    return Contradiction(
        fmt::format("topic {} with id {} is there twice", record.name, record.topic_id.ToString()));
  }
  // An id is not used again. A snapshot says which topics there are, then which there were.
  if (tombstones_.contains(record.topic_id)) {
    return Contradiction(fmt::format("topic {} has the id {} of a topic that was deleted",
                                     record.name, record.topic_id.ToString()));
  }
  auto topic = std::make_shared<TopicImage>();
  topic->name = record.name;
  topic->id = record.topic_id;
  topic->internal = IsInternalTopic(record.name);
  names_.emplace(record.topic_id, record.name);
  ids_.emplace(record.name, record.topic_id);
  drafts_.emplace(record.topic_id, std::move(topic));
  return absl::OkStatus();
}

Status MetadataState::On(const schema::PartitionRecord& record) {
  TopicImage* topic = Draft(record.topic_id);
  if (topic == nullptr || record.partition_id != static_cast<int32_t>(topic->partitions.size())) {
    return Contradiction(fmt::format("partition {} of topic id {} has no place",
                                     record.partition_id, record.topic_id.ToString()));
  }
  topic->partitions.push_back(
      {.leader_epoch = record.leader_epoch, .partition_epoch = record.partition_epoch});
  return absl::OkStatus();
}

Status MetadataState::On(const schema::PartitionChangeRecord& record) {
  TopicImage* topic = Draft(record.topic_id);
  if (topic == nullptr || record.partition_id < 0 ||
      static_cast<size_t>(record.partition_id) >= topic->partitions.size()) {
    return Contradiction(fmt::format("partition {} of topic id {} changed, and is not there",
                                     record.partition_id, record.topic_id.ToString()));
  }
  PartitionImage& partition = topic->partitions[static_cast<size_t>(record.partition_id)];
  if (partition.partition_epoch == INT32_MAX || partition.leader_epoch == INT32_MAX) {
    return Contradiction(fmt::format("partition {} of topic {} has no epoch after the last",
                                     record.partition_id, topic->name));
  }
  ++partition.partition_epoch;
  if (record.leader != -2) ++partition.leader_epoch;
  return absl::OkStatus();
}

Status MetadataState::On(const schema::RemoveTopicRecord& record) {
  // In a snapshot the tombstone stands alone: the topic itself is gone.
  tombstones_.insert(record.topic_id);
  drafts_.erase(record.topic_id);
  if (const auto name = names_.find(record.topic_id); name != names_.end()) {
    image_.topics.erase(name->second);
    ids_.erase(name->second);
    names_.erase(name);
  }
  return absl::OkStatus();
}

Status MetadataState::On(const schema::ConfigRecord& record) {
  if (record.resource_type != kTopicResource) {
    return MakeError(ErrorId::kUnsupportedVersion,
                     fmt::format("the metadata holds a config of resource type {}; this version "
                                 "keeps those of topics (2) alone",
                                 record.resource_type));
  }
  const auto id = ids_.find(record.resource_name);
  TopicImage* topic = id == ids_.end() ? nullptr : Draft(id->second);
  if (topic == nullptr) {
    return Contradiction(
        fmt::format("a config of topic {}, which is not there", record.resource_name));
  }
  if (record.value.has_value()) {
    topic->config[record.name] = *record.value;
  } else {
    topic->config.erase(record.name);
  }
  return absl::OkStatus();
}

Status MetadataState::On(const schema::FeatureLevelRecord& record) {
  features_[record.name] = record.feature_level;
  return absl::OkStatus();
}

Status MetadataState::On(const schema::ProducerIdsRecord& record) {
  next_producer_id_ = std::max(next_producer_id_, record.next_producer_id);
  return absl::OkStatus();
}

std::shared_ptr<const MetadataImage> MetadataState::Publish() {
  for (auto& [id, topic] : drafts_) image_.topics[topic->name] = std::move(topic);
  drafts_.clear();
  ++image_.version;
  return std::make_shared<const MetadataImage>(image_);
}

void MetadataState::Clear() {
  const uint64_t version = image_.version;
  *this = MetadataState();
  image_.version = version;
}

std::vector<schema::MetadataRecord> MetadataState::Snapshot() const {
  std::vector<schema::MetadataRecord> records;
  for (const auto& [name, level] : features_) {
    records.push_back(schema::FeatureLevelRecord{.name = name, .feature_level = level});
  }
  const auto add_topic = [&](const TopicImage& topic) {
    records.push_back(schema::TopicRecord{.name = topic.name, .topic_id = topic.id});
    for (size_t i = 0; i < topic.partitions.size(); ++i) {
      records.push_back(
          MakePartitionRecord(topic.id, static_cast<int32_t>(i), topic.partitions[i]));
    }
    for (const auto& [key, value] : topic.config) {
      records.push_back(MakeConfigRecord(topic.name, key, value));
    }
  };
  for (const auto& [name, topic] : image_.topics) {
    if (!drafts_.contains(topic->id)) add_topic(*topic);
  }
  for (const auto& [id, topic] : drafts_) add_topic(*topic);
  if (next_producer_id_ > 0) {
    records.push_back(
        schema::ProducerIdsRecord{.broker_id = kNodeId, .next_producer_id = next_producer_id_});
  }
  for (const Uuid& id : tombstones_) records.push_back(schema::RemoveTopicRecord{.topic_id = id});
  return records;
}

schema::PartitionRecord MakePartitionRecord(const Uuid& topic_id, int32_t partition,
                                            const PartitionImage& image) {
  schema::PartitionRecord record;
  record.partition_id = partition;
  record.topic_id = topic_id;
  record.replicas = {kNodeId};
  record.isr = {kNodeId};
  record.leader = kNodeId;
  record.leader_epoch = image.leader_epoch;
  record.partition_epoch = image.partition_epoch;
  record.directories = {Uuid{}};  // Kafka's "not assigned": there is one directory only
  return record;
}

schema::ConfigRecord MakeConfigRecord(std::string topic, std::string key,
                                      std::optional<std::string> value) {
  return {.resource_type = kTopicResource,
          .resource_name = std::move(topic),
          .name = std::move(key),
          .value = std::move(value)};
}

}  // namespace millrace::broker
