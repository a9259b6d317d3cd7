#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "log/durable_marks.h"
#include "log/epoch_cache.h"
#include "log/segment_sums.h"
#include "millrace/status.h"

namespace millrace::log {

// What a clean close says of one partition, so that the next open need not look into its files.
struct PartitionRecord {
  std::string name;  // of the folder: "orders-0"
  Uuid topic_id;
  int32_t partition = 0;
  Offset log_start = 0;
  std::vector<EpochStart> epochs = {};
  int32_t leader_epoch = -1;
  bool has_producers = false;                // the snapshot at the log end holds some
  std::vector<SegmentRecord> segments = {};  // by base; the last is the active one

  Offset log_end() const { return segments.empty() ? log_start : segments.back().end_offset; }
  uint64_t size_bytes() const;
  // The mark that the close has written with it. Needs a segment.
  Mark MakeMark(uint32_t opener) const;
};

// The file `manifest`: written last by a clean close, removed before anything is appended. It
// vouches for the partitions in it; one that could not be closed cleanly is not in it.
struct CloseManifest {
  Uuid directory_id;
  bool all_clean = true;  // no partition had to be left out
  std::map<DurableMarks::Key, PartitionRecord> partitions;

  std::vector<std::byte> Format() const;
  // corrupt_log when anything is wrong with it.
  static StatusOr<CloseManifest> Parse(std::span<const std::byte> bytes);
};

}  // namespace millrace::log
