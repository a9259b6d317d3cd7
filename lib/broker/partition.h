#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/functional/any_invocable.h"
#include "base/buffer.h"
#include "base/uuid.h"
#include "env/bell.h"
#include "log/partition_log.h"
#include "millrace/status.h"
#include "millrace/topic_partition.h"
#include "record/batch.h"
#include "record/batch_builder.h"

namespace millrace::broker {

enum class AckLevel : int8_t { kNone = 0, kLeader = 1, kAll = -1 };  // Kafka's acks

struct Appended {
  Offset base_offset = -1;
  Offset next_offset = -1;
  int64_t log_append_time_ms = -1;  // -1: create time
  bool duplicate = false;
};
// Called exactly once for an accepted append, without locks held, on the thread that appended,
// synced or closed. Must be quick and must not call back into the partition.
// Called once: OK when it is on stable storage, or why nobody knows.
using SyncDone = absl::AnyInvocable<void(const Status&)>;
using AppendDone = absl::AnyInvocable<void(const StatusOr<Appended>&)>;

struct AppendOptions {
  AckLevel acks = AckLevel::kAll;
  bool sync = false;  // answered only once durable, whatever the flush policy
  bool in_process =
      true;  // from a producer of this process: the bytes are known to be a good batch
  bool idempotent = true;  // in process: the partition gives producer id and sequence
  // The caller goes on to SyncTo at once: no thread of the sync lane is woken for this append.
  bool caller_syncs = false;
  // In process: what the topic allowed when the batch was begun. Limits that were lowered since are
  // for what comes later.
  size_t allowed_bytes = 0;
};

struct FetchResult {
  Buffer buffer = {};
  // Whole batches; the first may begin before the offset asked for.
  std::span<const std::byte> bytes = {};
  Offset next_offset = -1;  // where to fetch on
  Offset high_watermark = 0;
  Offset last_stable_offset = 0;
  Offset log_start = 0;
};

enum class ReadLevel { kUncommitted, kCommitted };

// One partition of the broker: a PartitionLog, and what may be seen of it. The acknowledged end is
// the synced end under Flush::kEachBatch and the written end otherwise; the high watermark is the
// smallest acknowledged end of the in-sync set, here this one replica. Fetch, wake-ups and
// acknowledgements stop at it (durable before visible). Thread-safe.
class Partition {
 public:
  virtual ~Partition() = default;

  const TopicPartition& name() const { return name_; }
  const Uuid& topic_id() const { return topic_id_; }

  // Appends one batch as it is; `batch` is written to (offset, epoch, producer) and may be freed on
  // return. An error means not accepted: `done` is not called. OK: `done` is called exactly once,
  // perhaps before Append returns. Errors: those of PartitionLog::Append, quota_reached,
  // invalid_timestamp, unknown_topic (deleted meanwhile), invalid_topic (an internal one), closed.
  virtual Status Append(const record::EncodedBatch& batch, const AppendOptions& options,
                        AppendDone done) = 0;
  // Syncs on this thread (or joins the sync in flight) until everything below `offset` is durable,
  // and completes the appends that this decides: each `done` was called, or another thread is
  // calling it (they are called in the order of offsets). For callers that wait anyway.
  virtual Status SyncTo(Offset offset) = 0;

  // Batches from the one that holds `from`, below the high watermark (kCommitted: below the last
  // stable offset). Empty, with `next_offset == from`, when there is nothing to read yet.
  // offset_out_of_range names the offsets that exist; corrupt_log the damage.
  virtual StatusOr<FetchResult> Fetch(Offset from, size_t max_bytes, ReadLevel level) = 0;

  // Whether the first use was. It waits for the disk: a new partition's folder is made and synced.
  virtual bool is_open() const = 0;
  // Opens the log, as the first use does. OK: the ends below are true. A broker that only reads
  // takes a partition that was never used for an empty one.
  virtual Status EnsureOpen() = 0;
  // The ends are single atomic loads once the partition is open. The first call opens it; where
  // that fails they answer 0, and Fetch and Append say why.
  virtual Offset log_start() const = 0;
  virtual Offset high_watermark() const = 0;
  virtual Offset last_stable_offset() const = 0;
  virtual Offset log_end() const = 0;
  virtual Offset durable_end() const = 0;
  virtual int32_t leader_epoch() const = 0;
  virtual StatusOr<std::optional<log::PartitionLog::OffsetForTime>> FindTime(
      int64_t timestamp_ms) = 0;
  virtual StatusOr<std::optional<log::PartitionLog::OffsetForTime>> FindMaxTimestamp() = 0;
  virtual std::optional<log::EpochEnd> EndOfEpoch(int32_t epoch) const = 0;
  // The log itself, for descriptions, upkeep and tests. Opened on first use. Deleting the topic and
  // closing the broker wait for the handle: do neither while holding one.
  virtual StatusOr<std::shared_ptr<log::PartitionLog>> log() = 0;

  // Rings `bell` whenever the high watermark or the log start moves, or the partition is deleted or
  // closed, until RemoveListener. A bell may be registered once a partition.
  virtual void AddListener(std::shared_ptr<Bell> bell) = 0;
  virtual void RemoveListener(const Bell* bell) = 0;
  virtual bool deleted() const = 0;

 protected:
  Partition(TopicPartition name, Uuid topic_id) : name_(std::move(name)), topic_id_(topic_id) {}

 private:
  const TopicPartition name_;
  const Uuid topic_id_;
};

}  // namespace millrace::broker
