#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/buffer.h"
#include "base/uuid.h"
#include "log/log_config.h"
#include "millrace/status.h"
#include "millrace/topic_partition.h"
#include "record/batch.h"

namespace millrace::log {

class LogDirectory;
class Recovery;

struct AppendRequest {
  int32_t leader_epoch = 0;
  // The batch comes from a producer of this process: the log gives it this producer id and epoch
  // and the next sequence of that id in this partition (design: in-process producers share one id).
  bool assign_sequence = false;
  int64_t producer_id = record::kNoProducerId;
  int16_t producer_epoch = record::kNoProducerEpoch;
  uint32_t payload_crc =
      0;  // with assign_sequence or log_append_time_ms: record::PayloadCrc(batch)
  std::optional<int64_t> log_append_time_ms =
      {};  // set: overwrite timestamps (LogAppendTime topics)
  // A batch of so many bytes is taken even where the limits are lower now.
  size_t allowed_bytes = 0;
};

struct AppendResult {
  Offset base_offset = -1;
  Offset next_offset = -1;  // one past the batch
  bool duplicate = false;   // a retry of one of the last five batches: offsets are the original's
  int64_t max_timestamp_ms = -1;
  bool rolled = false;  // a segment was closed: its sync is due, whatever the flush policy
};

struct ReadResult {
  Buffer buffer = {};                     // owns `bytes`; empty when nothing was readable
  std::span<const std::byte> bytes = {};  // whole batches, in offset order, each checked
  Offset next_offset = -1;                // one past the last batch
};

// A stretch of the log that is damaged below the durable mark. Kept, never cut.
struct DamagedRange {
  std::string file;
  uint64_t position = 0, size_bytes = 0;
  Offset first_offset = -1, end_offset = -1;  // [first, end)
  std::string what;
};
// "t-0/00000000000000000000.log: bytes [138, 207), offsets [2, 3): why"
std::string Describe(const DamagedRange& damage);
// The error of a batch that lies in the log, proves its place, and whose records cannot be decoded.
// No retry helps, unlike with one that is on its way.
Status UnreadableBatch(const Status& why, const record::BatchHeader& header,
                       const std::string& where);

// What opening found and did. A clean open leaves all of it empty.
struct RecoveryReport {
  bool clean = true;         // opened from the close manifest
  Offset durable_mark = -1;  // -1: the marks were lost
  uint64_t cut_bytes = 0;    // torn tail, kept in `cut_file`
  Offset cut_offset = -1;    // the log end after the cut
  std::string cut_file;
  std::vector<DamagedRange> damage;
  std::vector<std::string> notes;  // indexes rebuilt, left-overs removed, unknown files left alone
};

struct SegmentInfo {
  Offset base_offset = 0, end_offset = 0;
  uint64_t size_bytes = 0;
  int64_t max_timestamp_ms = -1;
  bool closed = false;
};

struct EpochEnd {
  int32_t epoch = -1;
  Offset end_offset = -1;
};

// One partition: an append-only sequence of batches in segment files, with sparse indexes, the
// state of its producers and the history of its leader epochs. Knows what is written and what is
// synced; what may be seen (high watermark, acknowledgement) is its owner's affair. Thread-safe:
// any method from any thread. Appends are ordered by one mutex, held across the write and never
// across a sync; reads of what is published take it only to copy a pointer.
class PartitionLog {
 public:
  ~PartitionLog();  // closes files; does not sync

  // Checks and writes one batch: structure and CRC are checked (when `verified` is false), the size
  // against the config's limits, the sequence of an idempotent producer (KIP-98); then base offset
  // and leader epoch are set in `batch` itself and the bytes are written at the end with one
  // positional write. Errors: record_too_large, corrupt_message, out_of_order_sequence,
  // invalid_producer_epoch, no_space (the log is as it was), io_error (possibly persisted),
  // directory_failed, read_only, closed.
  StatusOr<AppendResult> Append(std::span<std::byte> batch, const AppendRequest& request,
                                bool verified);

  // Returns once everything below `offset` is durable. Joins a sync in flight, or runs one on this
  // thread for everything written so far: concurrent callers share it. An error is final for the
  // directory (directory_failed from then on).
  Status SyncTo(Offset offset);

  // Whole batches from the one that holds `from`, at most `max_bytes` but at least one batch, none
  // at or beyond `below`, from one segment. Every batch is checked: CRC, continuity of offsets,
  // leader epoch against the epoch history. offset_out_of_range names [log start, below);
  // corrupt_log names file, position and offsets of the damage. An empty result when from == below.
  StatusOr<ReadResult> Read(Offset from, Offset below, size_t max_bytes, BufferPool& pool);

  // Of a log that is open for reading beside its writer: takes what the writer has appended since,
  // as far as batches are whole, and forgets what it has removed. True when something changed.
  StatusOr<bool> Follow();

  struct OffsetForTime {
    Offset offset = -1;
    int64_t timestamp_ms = -1;
    int32_t leader_epoch = -1;
  };
  // The first record below `below` with a timestamp at or after `timestamp_ms`; nullopt when none.
  StatusOr<std::optional<OffsetForTime>> FindTime(int64_t timestamp_ms, Offset below,
                                                  BufferPool& pool);
  // The record with the greatest timestamp below `below` (ListOffsets -3).
  StatusOr<std::optional<OffsetForTime>> FindMaxTimestamp(Offset below, BufferPool& pool);

  Offset log_start() const;
  Offset log_end() const;     // what is written
  Offset synced_end() const;  // what a power cut leaves
  int32_t latest_epoch() const;
  // The end offset of the largest epoch at or below `epoch` (KIP-101, KIP-279); nullopt when
  // unknown.
  std::optional<EpochEnd> EndOfEpoch(int32_t epoch) const;
  uint64_t size_bytes() const;  // logical size of the log files
  std::vector<SegmentInfo> segments() const;
  const RecoveryReport& recovery() const;
  const std::string& directory() const;

  // ---- upkeep; none of these is needed for correctness of what was acknowledged
  void SetConfig(const LogConfig& config);
  // Moves the log start to `offset` (at most `high_watermark`), durably, then removes the segments
  // that lie wholly below.
  Status DeleteRecordsBefore(Offset offset, Offset high_watermark);
  // Deletes what retention says, never at or above `high_watermark`; rolls the active segment first
  // when it is due as a whole (KIP-405's rule of Kafka: retention may empty a log). Returns bytes
  // removed.
  StatusOr<uint64_t> ApplyRetention(absl::Time now, Offset high_watermark);
  // Rolls the active segment if its age says so.
  Status RollIfDue(absl::Time now);
  // Closes descriptors when everything is synced and nothing was used since the last call.
  void ReleaseIdle();
  // Reads on from where the last call ended, from the device, at most `max_bytes`, and compares
  // with CRCs and segment sums; damage becomes part of damage(). True when a whole round is done.
  StatusOr<bool> Scrub(size_t max_bytes, BufferPool& pool);
  std::vector<DamagedRange> damage() const;
  // Makes the next append start a new segment (administration and tests).
  Status Roll();

 private:
  friend class LogDirectory;
  friend class Recovery;
  struct Impl;
  explicit PartitionLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::log
