#include "coordinator/topic_names.h"

namespace millrace::coordinator {

void TopicNames::Refresh(const TopicsView& topics) {
  if (seen_ == topics.version()) return;
  seen_ = topics.version();
  std::erase_if(names_, [&](const auto& entry) {
    const auto topic = topics.Find(entry.second);
    return !topic.has_value() || topic->id != entry.first;
  });
  topics.ForEach(
      [&](std::string_view name, const TopicsView::Topic& topic) { Add(topic.id, name); });
}

std::vector<TopicPartition> TopicNames::ToNames(const Partitions& partitions) const {
  std::vector<TopicPartition> named;
  for (const auto& [topic, partition] : partitions) {
    const auto name = names_.find(topic);
    if (name != names_.end()) named.push_back({name->second, partition});
  }
  return named;
}

Partitions TopicNames::ToIds(const std::vector<TopicPartition>& partitions,
                             const TopicsView& topics) {
  Partitions ids;
  std::string_view last_name;
  std::optional<TopicsView::Topic> topic;
  for (const TopicPartition& tp : partitions) {
    if (tp.topic != last_name || ids.empty()) topic = topics.Find(tp.topic);
    last_name = tp.topic;
    if (topic.has_value()) ids.push_back({topic->id, tp.partition});
  }
  MakeSet(ids);
  return ids;
}

}  // namespace millrace::coordinator
