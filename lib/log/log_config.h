#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"

namespace millrace::log {

// What one partition's log is told of its topic's configuration. Kafka's name for each in brackets.
struct LogConfig {
  int64_t segment_bytes = int64_t{1} << 30;          // [segment.bytes]
  absl::Duration segment_age = absl::Hours(24 * 7);  // [segment.ms], by record timestamps
  int32_t index_interval_bytes = 4096;               // [index.interval.bytes]
  int32_t index_max_bytes = 10 << 20;                // [segment.index.bytes]
  std::optional<absl::Duration> retention = absl::Hours(24 * 7);  // [retention.ms]; unset: forever
  std::optional<int64_t> retention_bytes = std::nullopt;          // [retention.bytes]
  bool delete_by_retention = true;                                // [cleanup.policy] has "delete"
  size_t max_message_bytes = 1048588;                       // [max.message.bytes], a whole batch
  absl::Duration file_delete_delay = absl::ZeroDuration();  // [file.delete.delay.ms]
  // Of the active segment, between two checkpoints: a scan after a crash reads no more than this.
  // No topic's to choose; tests take less.
  uint64_t checkpoint_bytes = uint64_t{64} << 20;

  // What a batch may take at most, and which config says so. A batch lies in one segment.
  size_t max_batch_bytes() const {
    return std::min(max_message_bytes, static_cast<size_t>(segment_bytes));
  }
  std::string_view max_batch_config() const {
    return max_batch_bytes() < max_message_bytes ? "segment.bytes" : "max.message.bytes";
  }

  bool operator==(const LogConfig&) const = default;
};

}  // namespace millrace::log
