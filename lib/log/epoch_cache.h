#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/status.h"
#include "millrace/topic_partition.h"

namespace millrace::log {

// A leader epoch and the offset of its first record.
struct EpochStart {
  int32_t epoch = -1;
  Offset start_offset = -1;
  bool operator==(const EpochStart&) const = default;
};

// The history of a log's leader epochs (KIP-101): epochs and start offsets both strictly ascend.
// A value; thread-compatible.
class EpochCache {
 public:
  EpochCache() = default;
  explicit EpochCache(std::vector<EpochStart> entries) : entries_(std::move(entries)) {}

  // The file `leader-epoch-checkpoint`, as Kafka writes it. corrupt_log for anything else.
  static StatusOr<EpochCache> Parse(std::string_view text);
  std::string Format() const;

  const std::vector<EpochStart>& entries() const { return entries_; }
  int32_t latest() const { return entries_.empty() ? -1 : entries_.back().epoch; }
  // The epoch of the batch at `offset`; -1 below the first entry.
  int32_t EpochAt(Offset offset) const;
  // Epoch `epoch` starts at `start`. Entries that it overtakes go: an epoch that began at `start`
  // too holds no record.
  void Assign(int32_t epoch, Offset start);
  // As Assign, for scans: the epoch of a batch at `offset`, which may lie below the latest one.
  void Observe(int32_t epoch, Offset offset);
  // The log now begins at `log_start`: earlier epochs go, the one that holds it begins there.
  void CutFront(Offset log_start);
  // The log now ends at `log_end`: an epoch that began later begins there, so that its number is
  // not used again.
  void CutBack(Offset log_end);

  struct End {
    int32_t epoch;
    Offset end_offset;
  };
  // The largest epoch at or below `epoch` and where it ends (KIP-279); below the first entry, where
  // that begins. nullopt: no epoch is known.
  std::optional<End> EndOf(int32_t epoch, Offset log_end) const;

 private:
  std::vector<EpochStart> entries_;
};

}  // namespace millrace::log
