#include "client/partitioner.h"

#include <atomic>
#include <functional>
#include <map>
#include <string>

#include "base/mutex.h"

namespace millrace {
namespace {

class Default : public Partitioner {
 public:
  int32_t Pick(std::string_view, Bytes key, Bytes, int32_t partition_count) override {
    if (!key.is_null()) return client::PartitionOfKey(key, partition_count);
    return static_cast<int32_t>(next_.fetch_add(1, std::memory_order_relaxed) %
                                static_cast<uint32_t>(partition_count));
  }

 private:
  std::atomic<uint32_t> next_{0};
};

class RoundRobin : public Partitioner {
 public:
  int32_t Pick(std::string_view topic, Bytes, Bytes, int32_t partition_count) override {
    MutexLock lock(mu_);
    auto found = next_.find(topic);
    if (found == next_.end()) found = next_.emplace(topic, 0).first;
    return static_cast<int32_t>(found->second++ % static_cast<uint32_t>(partition_count));
  }

 private:
  Mutex mu_;
  // One count a topic: with a shared one, two topics sent to in turn would each get every other
  // partition only.
  std::map<std::string, uint32_t, std::less<>> next_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::shared_ptr<Partitioner> DefaultPartitioner() { return std::make_shared<Default>(); }
std::shared_ptr<Partitioner> RoundRobinPartitioner() { return std::make_shared<RoundRobin>(); }

uint32_t Murmur2(Bytes key) {
  constexpr uint32_t kMultiplier = 0x5bd1e995;
  constexpr uint32_t kSeed = 0x9747b28c;
  const auto* at = reinterpret_cast<const unsigned char*>(key.str().data());
  size_t left = key.size();
  uint32_t hash = kSeed ^ static_cast<uint32_t>(left);
  for (; left >= 4; at += 4, left -= 4) {
    uint32_t word = at[0] | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16 | uint32_t{at[3]} << 24;
    word *= kMultiplier;
    word ^= word >> 24;
    word *= kMultiplier;
    hash = (hash * kMultiplier) ^ word;
  }
  if (left > 2) hash ^= uint32_t{at[2]} << 16;
  if (left > 1) hash ^= uint32_t{at[1]} << 8;
  if (left > 0) hash = (hash ^ at[0]) * kMultiplier;
  hash = (hash ^ (hash >> 13)) * kMultiplier;
  return hash ^ (hash >> 15);
}

namespace client {

bool IsDefault(const std::shared_ptr<Partitioner>& partitioner) {
  return partitioner == nullptr || dynamic_cast<Default*>(partitioner.get()) != nullptr;
}

}  // namespace client
}  // namespace millrace
