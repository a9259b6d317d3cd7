#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "base/uuid.h"

namespace millrace::coordinator {

// A partition by its topic's id: a topic that is deleted and made again is another one.
struct PartitionId {
  Uuid topic;
  int32_t partition = 0;
  auto operator<=>(const PartitionId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const PartitionId& id) {
    return H::combine(std::move(h), id.topic, id.partition);
  }
};

// A set: sorted, each once.
using Partitions = std::vector<PartitionId>;

inline void MakeSet(Partitions& partitions) {
  std::ranges::sort(partitions);
  const auto repeated = std::ranges::unique(partitions);
  partitions.erase(repeated.begin(), repeated.end());
}
inline Partitions Both(const Partitions& a, const Partitions& b) {
  Partitions out;
  std::ranges::set_intersection(a, b, std::back_inserter(out));
  return out;
}
inline Partitions Either(const Partitions& a, const Partitions& b) {
  Partitions out;
  std::ranges::set_union(a, b, std::back_inserter(out));
  return out;
}
inline Partitions Minus(const Partitions& a, const Partitions& b) {
  Partitions out;
  std::ranges::set_difference(a, b, std::back_inserter(out));
  return out;
}
inline bool IsSubset(const Partitions& part, const Partitions& whole) {
  return std::ranges::includes(whole, part);
}

}  // namespace millrace::coordinator
