#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"
#include "broker/local_partition.h"

namespace millrace::broker {

// The partitions that the metadata says are there, as objects. Follows the metadata: the broker
// changes both under its lock of administration. Thread-safe.
class TopicTable {
 public:
  using Partitions = std::vector<std::shared_ptr<LocalPartition>>;
  explicit TopicTable(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  // Adds the topic, or the partitions that it has grown by. `fresh`: none of them was ever written.
  void Install(const TopicImage& topic, bool fresh);
  void SetConfig(const TopicImage& topic);
  Partitions Remove(std::string_view name);
  // Null, with the topic's number of partitions (-1: no such topic), when it is not there.
  std::shared_ptr<LocalPartition> Find(std::string_view topic, int32_t partition,
                                       int32_t* count) const;
  std::optional<Partitions> FindTopic(std::string_view topic) const;
  Partitions All() const;  // in the order of names
  // Removes one topic; false when there is none. Needs no memory.
  bool TakeTopic(Partitions* partitions);

 private:
  struct Topic {
    std::shared_ptr<const TopicConfig> config;
    Partitions partitions;
  };
  std::shared_ptr<const TopicConfig> ParsedConfig(const TopicImage& topic) const;

  const std::shared_ptr<Shared> shared_;
  mutable Mutex mu_;
  std::map<std::string, Topic, std::less<>> topics_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::broker
