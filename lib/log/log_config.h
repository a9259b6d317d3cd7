#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

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

  bool operator==(const LogConfig&) const = default;
};

}  // namespace millrace::log
