// millrace/topic_partition.h - the address of a log: a topic's name and a partition's number.
#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace millrace {

using Offset = int64_t;

struct TopicPartition {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const TopicPartition& tp) {
    return H::combine(std::move(h), tp.topic, tp.partition);
  }
};
using OffsetMap = std::map<TopicPartition, Offset>;

}  // namespace millrace
