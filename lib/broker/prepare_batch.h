#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "absl/time/time.h"
#include "base/buffer.h"
#include "broker/partition.h"
#include "broker/topic_config.h"

namespace millrace::broker {

// A batch that was checked against the topic's configuration, and is ready to be given an offset.
struct PreparedBatch {
  std::span<std::byte> bytes;  // of the batch as it was given, or of `owner`
  Buffer owner;                // where the batch was compressed anew
  uint32_t payload_crc = 0;
  int32_t record_count = 0;
  bool is_control = false;
  std::optional<int64_t> log_append_time_ms;
};

// Where a batch is going.
struct AppendContext {
  const TopicPartition& name;
  const TopicConfig& config;
  absl::Time now;
  BufferPool& pool;
};

// The checks of a leader that need no lock: structure (of what comes from outside), keys of a
// compacted topic, timestamps, log append time, and the codec that the topic asks for. Errors:
// invalid_record, invalid_timestamp, corrupt_message, record_too_large, each naming the partition.
StatusOr<PreparedBatch> PrepareBatch(const record::EncodedBatch& batch,
                                     const AppendOptions& options, const AppendContext& to);

}  // namespace millrace::broker
