#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"
#include "client/lane.h"
#include "millrace/producer.h"

namespace millrace::client {

// A topic as a producer sees it: its lanes in the order of partitions, and the limits of its
// records. Immutable.
struct LaneSet {
  std::string_view topic;  // lives as long as the cache
  std::vector<std::shared_ptr<Lane>> lanes;
  std::shared_ptr<Sticky> sticky;
  size_t max_batch_bytes = 0;
  std::string_view max_batch_config;  // the config that says so
  bool compressed = false;
  bool require_keys = false;  // a compacted topic
  // The timestamps that the topic takes, against the broker's clock.
  int64_t before_max_ms = INT64_MAX;
  int64_t after_max_ms = INT64_MAX;
};

// Finds topics by name, without asking the broker as long as its metadata stands still.
// Thread-safe. Its locks are taken before a lane's and the broker's.
class TopicCache {
 public:
  TopicCache(std::shared_ptr<broker::Broker> broker, std::shared_ptr<DeliveryHub> hub,
             const ProducerOptions& options);
  ~TopicCache();

  // invalid_topic, unknown_topic; creates the topic where the broker does that.
  StatusOr<std::shared_ptr<const LaneSet>> Find(std::string_view topic);
  // Calls `fn` with every lane that there is, without a lock; those of topics that changed
  // meanwhile have been flushed. Needs no memory: what was accepted must get on its way without.
  template <typename F>
  void ForEachLane(F&& fn) const;
  // No lane is made any more: Find answers closed.
  void Close();

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  struct Entry {
    explicit Entry(std::string_view topic, uint64_t seed)
        : name(topic), sticky(std::make_shared<Sticky>(seed)) {}
    const std::string name;
    const std::shared_ptr<Sticky> sticky;
    mutable Mutex mu;
    uint32_t seen ABSL_GUARDED_BY(mu) = 0;
    std::shared_ptr<const broker::TopicImage> image ABSL_GUARDED_BY(mu);
    std::shared_ptr<const LaneSet> lanes ABSL_GUARDED_BY(mu);
    Entry* older = nullptr;  // set before it is found
  };

  StatusOr<Entry*> EntryOf(std::string_view topic);
  Status Refresh(Entry& entry, std::vector<std::shared_ptr<Lane>>* retired)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(entry.mu);
  LaneSettings SettingsOf(const broker::TopicConfig& config) const;

  const std::shared_ptr<broker::Broker> broker_;
  const std::shared_ptr<DeliveryHub> hub_;
  const LaneSettings settings_;
  const std::shared_ptr<Bell> metadata_bell_ = std::make_shared<Bell>();
  std::atomic<Entry*> newest_{nullptr};  // the list of all
  std::atomic<Entry*> last_{nullptr};    // most programs send to one topic at a time
  std::atomic<bool> closed_{false};

  mutable Mutex mu_;
  // Entries stay until the cache goes; a topic that was deleted leaves an empty one.
  std::unordered_map<std::string, std::unique_ptr<Entry>, Hash, std::equal_to<>> entries_
      ABSL_GUARDED_BY(mu_);
};

template <typename F>
void TopicCache::ForEachLane(F&& fn) const {
  for (const Entry* entry = newest_.load(std::memory_order_acquire); entry != nullptr;
       entry = entry->older) {
    std::shared_ptr<const LaneSet> topic;
    {
      MutexLock lock(entry->mu);
      topic = entry->lanes;
    }
    if (topic == nullptr) continue;
    for (const auto& lane : topic->lanes) fn(*lane);
  }
}

}  // namespace millrace::client
