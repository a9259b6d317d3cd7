#include "client/topic_cache.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "broker/topic_config.h"

namespace millrace::client {
namespace {

record::Codec CodecOf(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return record::Codec::kNone;
    case Compression::kGzip:
      return record::Codec::kGzip;
    case Compression::kSnappy:
      return record::Codec::kSnappy;
    case Compression::kLz4:
      return record::Codec::kLz4;
    case Compression::kZstd:
      return record::Codec::kZstd;
  }
  return record::Codec::kNone;
}

broker::AckLevel AcksOf(Acks acks) {
  switch (acks) {
    case Acks::kNone:
      return broker::AckLevel::kNone;
    case Acks::kLeader:
      return broker::AckLevel::kLeader;
    case Acks::kAll:
      return broker::AckLevel::kAll;
  }
  return broker::AckLevel::kAll;
}

}  // namespace

TopicCache::TopicCache(std::shared_ptr<broker::Broker> broker, std::shared_ptr<DeliveryHub> hub,
                       const ProducerOptions& options)
    : broker_(std::move(broker)),
      hub_(std::move(hub)),
      settings_{.linger = options.linger,
                .batch_bytes = options.batch_bytes,
                .codec = CodecOf(options.compression),
                .acks = AcksOf(options.acks),
                .idempotent = options.idempotent} {
  broker_->AddMetadataListener(metadata_bell_);
}

TopicCache::~TopicCache() { broker_->RemoveMetadataListener(metadata_bell_.get()); }

StatusOr<TopicCache::Entry*> TopicCache::EntryOf(std::string_view topic) {
  Entry* const last = last_.load(std::memory_order_acquire);
  if (last != nullptr && last->name == topic) return last;
  {
    MutexLock lock(mu_);
    if (const auto found = entries_.find(topic); found != entries_.end()) {
      last_.store(found->second.get(), std::memory_order_release);
      return found->second.get();
    }
  }
  MILLRACE_RETURN_IF_ERROR(broker::CheckTopicName(topic));
  // Only for topics that are there, or come to be: whoever sends to names at random must not fill
  // the cache with them.
  MILLRACE_RETURN_IF_ERROR(broker_->FindTopic(topic, true).status());
  auto made = std::make_unique<Entry>(topic, broker_->random().Next());
  MutexLock lock(mu_);
  const auto [found, is_new] = entries_.emplace(std::string(topic), std::move(made));
  Entry* const entry = found->second.get();
  if (is_new) {
    entry->older = newest_.load(std::memory_order_relaxed);
    newest_.store(entry, std::memory_order_release);
  }
  last_.store(entry, std::memory_order_release);
  return entry;
}

StatusOr<std::shared_ptr<const LaneSet>> TopicCache::Find(std::string_view topic) {
  MILLRACE_ASSIGN_OR_RETURN(Entry * entry, EntryOf(topic));
  std::vector<std::shared_ptr<Lane>> retired;
  std::shared_ptr<const LaneSet> lanes;
  Status status;
  {
    MutexLock lock(entry->mu);
    if (closed_.load())
      status = MakeError(ErrorId::kClosed, "the producer was closed");
    else if (entry->lanes == nullptr || entry->seen != metadata_bell_->count())
      status = Refresh(*entry, &retired);
    lanes = entry->lanes;
  }
  // Without the lock: what waits in them is appended now, or answered unknown_topic.
  for (const auto& lane : retired) lane->Close();
  if (!status.ok()) return status;
  return lanes;
}

Status TopicCache::Refresh(Entry& entry, std::vector<std::shared_ptr<Lane>>* retired) {
  const uint32_t seen = metadata_bell_->count();
  const auto metadata = broker_->metadata();
  const auto found = metadata->topics.find(entry.name);
  if (entry.lanes != nullptr && found != metadata->topics.end() && found->second == entry.image) {
    entry.seen = seen;
    return absl::OkStatus();
  }
  // Stays until the new ones are there: what is in its lanes must not be forgotten.
  const std::shared_ptr<const LaneSet> old = entry.lanes;
  std::shared_ptr<LaneSet> lanes;
  std::shared_ptr<const broker::TopicImage> image;
  Status status = [&]() -> Status {
    MILLRACE_ASSIGN_OR_RETURN(const auto partitions, broker_->FindTopic(entry.name, true));
    // Again: it may just have been created.
    const auto now = broker_->metadata();
    const auto topic = now->topics.find(entry.name);
    const broker::ConfigMap& own =
        topic != now->topics.end() ? topic->second->config : broker::ConfigMap();
    MILLRACE_ASSIGN_OR_RETURN(const broker::TopicConfig config,
                              broker::ParseTopicConfig(own, broker_->options().topic_defaults));
    lanes = std::make_shared<LaneSet>();
    lanes->topic = entry.name;
    lanes->sticky = entry.sticky;
    lanes->max_batch_bytes = config.log.max_batch_bytes();
    lanes->max_batch_config = config.log.max_batch_config();
    lanes->require_keys = config.compact;
    if (!config.log_append_time) {
      lanes->before_max_ms = config.timestamp_before_max_ms;
      lanes->after_max_ms = config.timestamp_after_max_ms;
    }
    const LaneSettings settings = SettingsOf(config);
    lanes->compressed = settings.codec != record::Codec::kNone;
    for (const auto& partition : partitions) {
      const auto index = lanes->lanes.size();
      if (old != nullptr && index < old->lanes.size() &&
          old->lanes[index]->partition() == partition) {
        lanes->lanes.push_back(old->lanes[index]);
        lanes->lanes.back()->SetSettings(settings);
      } else {
        lanes->lanes.push_back(std::make_shared<Lane>(hub_, partition, entry.sticky, settings));
      }
    }
    image = topic != now->topics.end() ? topic->second : nullptr;
    return absl::OkStatus();
  }();
  if (old != nullptr)
    for (const auto& lane : old->lanes)
      if (!status.ok() || std::ranges::find(lanes->lanes, lane) == lanes->lanes.end())
        retired->push_back(lane);
  if (!status.ok()) {
    entry.image = nullptr;
    entry.lanes = nullptr;
    return status;
  }
  entry.lanes = std::move(lanes);
  entry.image = std::move(image);
  entry.seen = seen;
  return absl::OkStatus();
}

LaneSettings TopicCache::SettingsOf(const broker::TopicConfig& config) const {
  LaneSettings settings = settings_;
  if (config.compression.has_value()) {
    settings.codec = *config.compression;
    settings.compression_level = config.compression_level;
  }
  // No batch may become larger than the topic takes. What does not compress grows a little.
  settings.max_batch_bytes = config.log.max_batch_bytes();
  size_t limit = settings.max_batch_bytes;
  if (settings.codec != record::Codec::kNone) limit -= std::min(limit, limit / 64 + 1024);
  settings.batch_bytes = std::min(settings.batch_bytes, limit);
  return settings;
}

void TopicCache::Close() { closed_.store(true); }

}  // namespace millrace::client
