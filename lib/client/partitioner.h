#pragma once

#include <cstdint>
#include <memory>

#include "millrace/producer.h"

namespace millrace::client {

// Java's Utils.toPositive(Utils.murmur2(key)) % count.
inline int32_t PartitionOfKey(Bytes key, int32_t partition_count) {
  return static_cast<int32_t>(Murmur2(key) & 0x7fffffffU) % partition_count;
}
// True for null and for what DefaultPartitioner returns: the producer then picks by itself, without
// a virtual call.
bool IsDefault(const std::shared_ptr<Partitioner>& partitioner);

}  // namespace millrace::client
