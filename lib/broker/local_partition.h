#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "broker/bell_list.h"
#include "broker/gate.h"
#include "broker/partition.h"
#include "broker/prepare_batch.h"
#include "broker/shared.h"
#include "broker/topic_config.h"

namespace millrace::broker {

// A partition whose only replica is here. Its log is opened on first use, and holds no descriptor
// while idle. Thread-safe. Lock order: open_mu_, mu_, then the log's own; callbacks and bells
// without any.
class LocalPartition final : public Partition,
                             public Syncable,
                             public std::enable_shared_from_this<LocalPartition> {
 public:
  struct Traits {
    bool internal = false;  // of the broker's own state: only the broker appends
    bool fresh = false;     // made by this broker: until its first use there is nothing to keep
    std::shared_ptr<const TopicConfig> config;
    int32_t leader_epoch = 0;
  };
  LocalPartition(std::shared_ptr<Shared> shared, TopicPartition name, Uuid topic_id, Traits traits);

  Status Append(const record::EncodedBatch& batch, const AppendOptions& options,
                AppendDone done) override;
  Status SyncTo(Offset offset) override;
  StatusOr<FetchResult> Fetch(Offset from, size_t max_bytes, ReadLevel level) override;
  bool is_open() const override { return open_log() != nullptr; }
  Status EnsureOpen() override;
  Offset log_start() const override;
  Offset high_watermark() const override;
  Offset last_stable_offset() const override { return high_watermark(); }
  Offset log_end() const override;
  Offset durable_end() const override;
  int32_t leader_epoch() const override { return leader_epoch_.load(std::memory_order_acquire); }
  StatusOr<std::optional<log::PartitionLog::OffsetForTime>> FindTime(int64_t timestamp_ms) override;
  StatusOr<std::optional<log::PartitionLog::OffsetForTime>> FindMaxTimestamp() override;
  std::optional<log::EpochEnd> EndOfEpoch(int32_t epoch) const override;
  StatusOr<std::shared_ptr<log::PartitionLog>> log() override;
  void AddListener(std::shared_ptr<Bell> bell) override;
  void RemoveListener(const Bell* bell) override { bells_.Remove(bell); }
  bool deleted() const override { return deleted_.load(std::memory_order_acquire); }

  // ---- for the broker
  // Appends to an internal topic. No quota and no checks: the caller is the broker.
  Status AppendState(const record::EncodedBatch& batch, const AppendOptions& options,
                     AppendDone done);
  // Has the sync lane sync until everything below `offset` is durable; `done` is called then, as
  // that of an append is. On the broker's own threads, and in memory, the sync is done here.
  Status WhenSynced(Offset offset, SyncDone done);
  void RunSync() override;
  // The log if it is open: what upkeep looks at without opening idle partitions.
  log::PartitionLog* open_log() const { return log_.load(std::memory_order_acquire); }
  // Durably moves the log start; listeners hear of it. `before` is at most the high watermark.
  Status DeleteRecordsBefore(Offset before);
  // Rolls and expires what is due, and gives idle descriptors back.
  void Housekeep(absl::Time now);
  void SetConfig(const std::shared_ptr<const TopicConfig>& config);
  void SetLeaderEpoch(int32_t epoch) { leader_epoch_.store(epoch, std::memory_order_release); }
  bool needs_sync() const;  // something is written and not synced, or waits to be answered
  void RingBells() { bells_.Ring(); }
  bool has_listeners() const { return !bells_.empty(); }
  // In a broker that only reads: looks for what the writer has done; listeners hear of it.
  void Follow();
  // Answers every append that waits with `why`; their bytes may be on disk all the same.
  void FailWaiting(const Status& why);
  // No call is inside after this one, and none gets in; listeners hear of it. The log stays until
  // TakeLog, and syncs of the lane go on until then, unless the topic was deleted: then every
  // append that waits is answered.
  void Shut(bool deleted);
  std::unique_ptr<log::PartitionLog> TakeLog();  // after Shut

 private:
  struct Waiting {
    Appended appended;
    AppendDone done;
  };

  Status WhyShut() const;
  bool IsUnused(const Status& status) const;
  Status CheckRoom(size_t more) const;  // on the disk, and in the quota
  Status Gone() const;                  // of a deleted topic
  StatusOr<log::PartitionLog*> Opened() const;
  Status OpenLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(open_mu_);
  std::shared_ptr<const TopicConfig> config() const;
  Status AppendPrepared(log::PartitionLog* log, const PreparedBatch& batch,
                        const AppendOptions& options, const TopicConfig& config, AppendDone done);
  // Writes the batch; fills `appended`. `answer` tells whether the append is to be answered at
  // once, and otherwise `done` has been taken into the queue.
  struct Written {
    Appended appended;
    bool waits = false;  // for a sync, with `done`
  };
  StatusOr<Written> Write(log::PartitionLog* log, const PreparedBatch& batch,
                          const AppendOptions& options, const TopicConfig& config,
                          AppendDone* done);
  bool MustWait(const AppendOptions& options, const log::PartitionLog& log, Offset end) const;
  void AskForSync(const AppendOptions& options, const TopicConfig& config, int32_t records,
                  bool rolled) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmTimer(absl::Duration age);
  Status SyncOpened(log::PartitionLog* log, Offset offset);
  // Moves the high watermark to what is synced and answers the appends that this decides, in order.
  void Complete(log::PartitionLog* log);
  // Some appends to answer; few at a time, so that no list of them has to be made.
  struct Ready {
    std::array<Waiting, 8> appends;
    size_t count = 0;
  };
  bool TakeReady(log::PartitionLog* log, Ready* ready, bool* moved)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MoveHighWatermark(Offset to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<Shared> shared_;
  const bool internal_;
  const bool fresh_;
  mutable Gate gate_;
  BellList bells_;
  std::atomic<bool> deleted_{false};
  mutable std::atomic<int32_t> leader_epoch_;

  mutable Mutex open_mu_;
  mutable std::unique_ptr<log::PartitionLog> owned_log_ ABSL_GUARDED_BY(open_mu_);
  mutable Status open_error_ ABSL_GUARDED_BY(open_mu_);  // damage; no use in trying again
  mutable std::atomic<log::PartitionLog*> log_{nullptr};
  mutable std::atomic<Offset> high_watermark_{kNotOpen};
  static constexpr Offset kNotOpen = -1;

  mutable Mutex config_mu_;
  std::shared_ptr<const TopicConfig> config_ ABSL_GUARDED_BY(config_mu_);

  mutable Mutex mu_;  // held across one append to the log, so that offsets and the queue agree
  std::vector<Waiting> waiting_ ABSL_GUARDED_BY(mu_);  // [first_waiting_, end), by offset
  size_t first_waiting_ ABSL_GUARDED_BY(mu_) = 0;
  bool answering_ ABSL_GUARDED_BY(mu_) = false;  // a thread is calling what TakeReady gave it
  int64_t unsynced_records_ ABSL_GUARDED_BY(mu_) = 0;
  Offset synced_seen_ ABSL_GUARDED_BY(mu_) = -1;
  std::atomic<bool> timer_armed_{false};
};

}  // namespace millrace::broker
