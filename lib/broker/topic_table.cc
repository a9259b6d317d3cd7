#include "broker/topic_table.h"

#include <fmt/format.h>

#include "base/errors.h"

namespace millrace::broker {

std::shared_ptr<const TopicConfig> TopicTable::ParsedConfig(const TopicImage& topic) const {
  auto parsed = ParseTopicConfig(topic.config, shared_->options.topic_defaults);
  if (!parsed.ok()) {
    // It was valid for whoever set it. Data that can be read is worth more than a setting.
    shared_->Log(Severity::kWarning, fmt::format("topic {}: its configuration is ignored: {}",
                                                 topic.name, Text(parsed.status())));
    parsed = ParseTopicConfig({}, shared_->options.topic_defaults);
  }
  return std::make_shared<const TopicConfig>(parsed.ok() ? *parsed : TopicConfig{});
}

void TopicTable::Install(const TopicImage& image, bool fresh) {
  const auto config = ParsedConfig(image);
  MutexLock lock(mu_);
  // All of it or nothing, should memory run out.
  const auto there = topics_.find(image.name);
  Topic topic{.config = config, .partitions = {}};
  if (there != topics_.end()) topic = there->second;
  topic.partitions.reserve(image.partitions.size());
  for (size_t i = topic.partitions.size(); i < image.partitions.size(); ++i) {
    topic.partitions.push_back(std::make_shared<LocalPartition>(
        shared_, TopicPartition{image.name, static_cast<int32_t>(i)}, image.id,
        LocalPartition::Traits{.internal = image.internal,
                               .fresh = fresh,
                               .config = topic.config,
                               .leader_epoch = image.partitions[i].leader_epoch}));
  }
  topics_.insert_or_assign(image.name, std::move(topic));
}

void TopicTable::SetConfig(const TopicImage& image) {
  const auto config = ParsedConfig(image);
  Partitions partitions;
  {
    MutexLock lock(mu_);
    const auto it = topics_.find(image.name);
    if (it == topics_.end()) return;
    it->second.config = config;
    partitions = it->second.partitions;
  }
  for (const auto& partition : partitions) partition->SetConfig(config);
}

TopicTable::Partitions TopicTable::Remove(std::string_view name) {
  MutexLock lock(mu_);
  const auto it = topics_.find(name);
  if (it == topics_.end()) return {};
  Partitions partitions = std::move(it->second.partitions);
  topics_.erase(it);
  return partitions;
}

std::shared_ptr<LocalPartition> TopicTable::Find(std::string_view topic, int32_t partition,
                                                 int32_t* count) const {
  MutexLock lock(mu_);
  const auto it = topics_.find(topic);
  *count = it == topics_.end() ? -1 : static_cast<int32_t>(it->second.partitions.size());
  if (partition < 0 || partition >= *count) return nullptr;
  return it->second.partitions[static_cast<size_t>(partition)];
}

std::optional<TopicTable::Partitions> TopicTable::FindTopic(std::string_view topic) const {
  MutexLock lock(mu_);
  const auto it = topics_.find(topic);
  if (it == topics_.end()) return std::nullopt;
  return it->second.partitions;
}

TopicTable::Partitions TopicTable::All() const {
  MutexLock lock(mu_);
  Partitions all;
  for (const auto& [name, topic] : topics_) {
    all.insert(all.end(), topic.partitions.begin(), topic.partitions.end());
  }
  return all;
}

bool TopicTable::TakeTopic(Partitions* partitions) {
  Topic taken;  // destroyed without the lock
  MutexLock lock(mu_);
  if (topics_.empty()) return false;
  taken = std::move(topics_.begin()->second);
  topics_.erase(topics_.begin());
  if (partitions != nullptr) partitions->swap(taken.partitions);
  return true;
}

}  // namespace millrace::broker
