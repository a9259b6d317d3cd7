#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "log/close_manifest.h"
#include "log/directory_impl.h"
#include "log/durable_marks.h"
#include "log/epoch_cache.h"
#include "log/partition_log.h"
#include "log/producer_state.h"
#include "log/segment.h"
#include "log/segment_scanner.h"
#include "log/segment_sums.h"

namespace millrace::log {

// Closed segments that wait for their sync hold a snapshot each in memory: an append waits beyond
// so many.
inline constexpr size_t kMaxClosingSegments = 4;

// The inside of a PartitionLog. Its methods stand by concern: append.cc, sync.cc, read.cc,
// time_search.cc, follow.cc, recovery.cc, retention.cc, scrub.cc, partition_log.cc (the rest).
//
// Lock order: turn (sync_mu_ while taking it) -> append_mu_ -> tail_mu_ -> view_mu_; the segments'
// and the marks' own locks come last. No lock is held across a sync, with one exception: a new
// leader epoch is synced under append_mu_, once an epoch.
struct PartitionLog::Impl {
  // What readers share: replaced as a whole, never changed.
  struct View {
    std::vector<std::shared_ptr<Segment>> segments;  // by base offset; the last is active
    EpochCache epochs;
    std::vector<DamagedRange> damage;  // by first offset, none overlap
    uint32_t epochs_crc = 0;           // of the file that holds `epochs`
  };

  // A segment that is full: its files, and then its record, are to be synced.
  struct Closing {
    std::shared_ptr<Segment> segment;
    SegmentRecord record;
    std::vector<std::byte> snapshot;  // of the producers at its end
  };
  // The end of what is written, all of one moment.
  struct Tail {
    std::shared_ptr<Segment> segment;
    Offset end = 0;
    uint64_t position = 0;
    uint32_t sum = 0;
  };
  struct PendingCheckpoint {
    Checkpoint checkpoint;
    std::vector<std::byte> snapshot;
  };

  Impl(LogDirectory::Impl& directory, std::string name, DurableMarks::Key key,
       const LogConfig& config);

  // ---- opening and closing
  Status Open(const PartitionRecord* clean_record);
  Status AdoptRecord(const PartitionRecord& record);
  StatusOr<std::shared_ptr<View>> AdoptSegments(const PartitionRecord& record);
  void AdoptMark(const PartitionRecord& record);
  Status PruneEpochs();
  // Syncs everything and answers what the manifest says of the partition.
  StatusOr<PartitionRecord> CloseCleanly();

  // ---- append.cc
  StatusOr<AppendResult> Append(std::span<std::byte> batch, const AppendRequest& request,
                                bool verified);
  StatusOr<AppendResult> AppendLocked(std::span<std::byte> batch, record::BatchHeader header,
                                      const AppendRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  Status CheckBatch(std::span<const std::byte> batch, const record::BatchHeader& header,
                    bool verified) const;
  Status EnterEpoch(int32_t epoch, Offset start) ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  StatusOr<bool> RollIsDue(const record::BatchHeader& header)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  Status RollLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  Status WriteBatch(std::span<const std::byte> batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  void Publish(std::span<const std::byte> batch, const record::BatchHeader& header) noexcept
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  void CaptureCheckpoint() ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  StatusOr<int64_t> FirstTimestamp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  Status CheckWritable() const;

  // ---- sync.cc
  Status SyncTo(Offset offset);
  // Waits until no other thread syncs, and keeps others from it.
  void TakeTurn();
  void GiveTurn();
  // The turn for the length of a scope, however it is left: memory may run out on the way.
  class Turn {
   public:
    explicit Turn(Impl& log) : Turn(log, std::adopt_lock) { log.TakeTurn(); }
    Turn(Impl& log, std::adopt_lock_t) : log_(log) {}  // it is taken already
    ~Turn() { log_.GiveTurn(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Impl& log_;
  };
  Status SyncAll();  // with the turn
  Status SyncLog(Segment& segment);
  Status SyncClosedLog(const Closing& full, bool is_first);
  Status SyncBeyondMark(const Tail& written);
  Status FinishSegment(const Closing& full);
  Status FinishClosedSegments();
  Status SyncActive(const Tail& written, const std::optional<PendingCheckpoint>& pending);
  Status SyncCheckpoint(Segment& segment, const PendingCheckpoint& pending);
  void MoveSyncedEnd(const Mark& mark);
  void PublishSyncedEnd(Offset end);
  Status WriteSnapshot(Offset offset, std::span<const std::byte> bytes);
  void RemoveSnapshot(Offset offset);
  void RemoveStaleSnapshot();

  // ---- read.cc
  StatusOr<ReadResult> Read(Offset from, Offset below, size_t max_bytes, BufferPool& pool);
  struct ReadRange {
    Offset from, below;
    size_t max_bytes;
  };
  StatusOr<ReadResult> ReadBatches(const View& view, Segment& segment, const ReadRange& range,
                                   BufferPool& pool);
  // The position of the batch that holds `from`.
  StatusOr<Resumption> Locate(Segment& segment, File& file, Offset from, BufferPool& pool);
  StatusOr<Resumption> ScanStart(const View& view, Segment& segment, File& file, Offset from);
  Status RebuildIndexes(Segment& segment);
  // Records damage at this place, and answers it.
  StatusOr<DamagedRange> NoteDamage(Segment& segment, File& file, const Resumption& at,
                                    std::string what, BufferPool& pool);
  Status DamageError(const DamagedRange& damage) const;
  void AddDamage(const DamagedRange& damage);
  struct Hint {
    Offset offset = -1;
    uint64_t position = 0;  // of its batch in its segment
  };
  std::optional<uint64_t> TakeHint(Offset offset);
  void KeepHint(const Hint& hint);

  // ---- follow.cc
  StatusOr<bool> Follow();
  Status FollowActive() ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  void PublishFollowed(const SegmentScanner& scanner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  StatusOr<std::optional<Offset>> FindNextSegment() ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  StatusOr<bool> EnterNextSegment() ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  Status ForgetRemovedSegments();

  // ---- time_search.cc
  StatusOr<std::optional<OffsetForTime>> FindTime(int64_t timestamp_ms, Offset below,
                                                  BufferPool& pool);
  StatusOr<std::optional<OffsetForTime>> FindMaxTimestamp(Offset below, BufferPool& pool);
  StatusOr<Offset> TimeSearchStart(Segment& segment, int64_t timestamp_ms);

  // ---- retention.cc
  Status DeleteRecordsBefore(Offset offset, Offset high_watermark);
  StatusOr<uint64_t> ApplyRetention(absl::Time now, Offset high_watermark);
  Status RollIfDue(absl::Time now);
  Status Roll();
  StatusOr<uint64_t> MoveLogStart(Offset offset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  StatusOr<uint64_t> RemoveSegmentsBelow(Offset log_start)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Offset RetainedFrom(absl::Time now, Offset high_watermark, const LogConfig& config) const;
  Status RemoveSegmentFiles(const Segment& segment);
  // Gives them another name until their time has come.
  Status DelayRemoval(const Segment& segment, absl::Time due)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  void RemoveDelayed(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);

  // ---- scrub.cc
  StatusOr<bool> Scrub(size_t max_bytes, BufferPool& pool);
  struct ScrubTarget {
    Segment* segment = nullptr;
    uint64_t end = 0;
  };
  std::optional<ScrubTarget> NextToScrub(const View& now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Status ScrubPiece(const View& now, const ScrubTarget& target, File& file, size_t max_bytes,
                    BufferPool& pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  void CompareSum(const Segment& segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);

  // ---- partition_log.cc
  std::shared_ptr<const View> view() const;
  // The end of what is written, all of one moment.
  Tail written_tail() const {
    MutexLock lock(tail_mu_);
    return tail;
  }
  template <typename F>
  void ChangeView(F&& change);
  void ReleaseIdle();
  std::string PathOf(std::string_view name) const;
  // The record of the segment that is appended to, as of now.
  SegmentRecord ActiveRecord() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(append_mu_);
  Mark mark() const;

  // ---- fixed
  LogDirectory::Impl& directory;
  FileSystem& files;
  SyncGate& gate;
  const std::string name;
  const std::string path;
  const DurableMarks::Key key;
  const bool read_only;
  RecoveryReport report;  // fixed once open

  // ---- published
  std::atomic<Offset> log_start{0};
  std::atomic<Offset> log_end{0};
  std::atomic<Offset> synced_end{0};
  std::atomic<uint64_t> size_bytes{0};
  std::atomic<bool> closed{false};
  std::atomic<size_t> closing_count{0};

  mutable Mutex view_mu_;
  std::shared_ptr<const View> view_ ABSL_GUARDED_BY(view_mu_);

  // ---- the appender's
  mutable Mutex append_mu_;
  LogConfig config ABSL_GUARDED_BY(append_mu_);
  std::shared_ptr<Segment> active ABSL_GUARDED_BY(append_mu_);
  std::shared_ptr<File> active_file ABSL_GUARDED_BY(append_mu_);  // null: opened when needed
  ProducerState producers ABSL_GUARDED_BY(append_mu_);
  Status append_error ABSL_GUARDED_BY(append_mu_);  // a failed write that could not be undone
  int32_t latest_epoch_seen ABSL_GUARDED_BY(append_mu_) = -1;
  std::optional<IndexBuilder> index_builder ABSL_GUARDED_BY(append_mu_);  // of `active`
  std::optional<int64_t> first_timestamp_ms ABSL_GUARDED_BY(append_mu_);
  uint64_t checkpoint_asked_at ABSL_GUARDED_BY(append_mu_) = 0;

  // ---- between the appender and the syncs
  mutable Mutex tail_mu_;
  Tail tail ABSL_GUARDED_BY(tail_mu_);
  std::vector<std::shared_ptr<const Closing>> closing ABSL_GUARDED_BY(tail_mu_);  // oldest first
  std::optional<PendingCheckpoint> pending_checkpoint ABSL_GUARDED_BY(tail_mu_);

  // ---- the syncs'
  mutable Mutex sync_mu_;
  CondVar turn_changed;  // the turn was given back, or the synced end moved
  bool turn_taken ABSL_GUARDED_BY(sync_mu_) = false;
  Mark mark_ ABSL_GUARDED_BY(sync_mu_);
  // With the turn:
  Offset stale_snapshot = -1;  // of a checkpoint that was overtaken
  Status beside_error;         // why the last files beside a log were not written, if they were not
  SegmentSums sums;

  // ---- readers' and upkeep's
  static constexpr size_t kHints = 8;
  Mutex hint_mu_;
  std::array<Hint, kHints> hints ABSL_GUARDED_BY(hint_mu_);
  size_t next_hint ABSL_GUARDED_BY(hint_mu_) = 0;

  struct ScrubState {
    Offset segment_base = -1;
    Resumption at = {};
    uint32_t sum = 0;
    bool damaged = false;

    static ScrubState Of(Offset segment_base) {
      return {.segment_base = segment_base, .at = {0, segment_base}};
    }
  };
  mutable Mutex upkeep_mu_;  // one pass at a time; taken before all others
  ScrubState scrub ABSL_GUARDED_BY(upkeep_mu_);
  struct Delayed {
    absl::Time due;
    std::string path;
  };
  std::vector<Delayed> delayed ABSL_GUARDED_BY(upkeep_mu_);
};

template <typename F>
void PartitionLog::Impl::ChangeView(F&& change) {
  MutexLock lock(view_mu_);
  auto next = std::make_shared<View>(*view_);
  change(*next);
  view_ = std::move(next);
}

}  // namespace millrace::log
