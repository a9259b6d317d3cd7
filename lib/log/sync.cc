#include <fmt/format.h>

#include "base/errors.h"
#include "base/kill_point.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"
#include "log/partition_impl.h"

namespace millrace::log {

Status PartitionLog::Impl::SyncTo(Offset offset) {
  if (read_only || SeededBug(Bug::kAckBeforeSync)) return absl::OkStatus();
  offset = std::min(offset, log_end.load(std::memory_order_acquire));
  {
    MutexLock lock(sync_mu_);
    while (turn_taken && synced_end.load(std::memory_order_acquire) < offset && gate.failed().ok())
      turn_changed.Wait(sync_mu_);
    MILLRACE_RETURN_IF_ERROR(gate.failed());
    if (synced_end.load(std::memory_order_acquire) >= offset) return absl::OkStatus();
    turn_taken = true;
  }
  const Status status = SyncAll();
  GiveTurn();
  MILLRACE_RETURN_IF_ERROR(status);
  return gate.failed();
}

void PartitionLog::Impl::TakeTurn() {
  MutexLock lock(sync_mu_);
  while (turn_taken) turn_changed.Wait(sync_mu_);
  turn_taken = true;
}

void PartitionLog::Impl::GiveTurn() {
  MutexLock lock(sync_mu_);
  turn_taken = false;
  turn_changed.NotifyAll();
}

// Of the segments [0, 40) and [40, 95), written and not synced: first all files of [0, 40), then
// the log of [40, 95). The synced end passes 40 only in between.
Status PartitionLog::Impl::SyncAll() {
  bool finished_some = false;
  for (;;) {
    std::shared_ptr<const Closing> full;
    Tail written;
    std::optional<PendingCheckpoint> pending;
    {
      MutexLock lock(tail_mu_);
      if (!closing.empty()) {
        full = closing.front();
      } else {
        written = tail;
        pending.swap(pending_checkpoint);
      }
    }
    if (full == nullptr) {
      MILLRACE_RETURN_IF_ERROR(SyncActive(written, pending));
      break;
    }
    MILLRACE_RETURN_IF_ERROR(FinishSegment(*full));
    MutexLock lock(tail_mu_);
    closing.erase(closing.begin());
    closing_count.fetch_sub(1, std::memory_order_relaxed);
    finished_some = true;
  }
  // The mark has left the segment: recovery should not look for it there.
  return finished_some ? directory.marks->Write() : absl::OkStatus();
}

Status PartitionLog::Impl::FinishSegment(const Closing& full) {
  Segment& segment = *full.segment;
  const SegmentRecord& record = full.record;
  Mark next = mark();
  if (!SeededBug(Bug::kBoundaryBeforeSync)) {
    MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
    MILLRACE_RETURN_IF_ERROR(gate.Sync(*file));
    next.synced_end = record.end_offset;
    next.position = static_cast<uint32_t>(record.size_bytes);
    next.sum = record.sum;
    if (!record.damaged) MoveSyncedEnd(next);
  }
  MILLRACE_KILL_POINT(kSegmentSynced);
  // Beyond its end nothing is acknowledged before all of the segment's files are safe: a scan of
  // what follows starts from them.
  MILLRACE_RETURN_IF_ERROR(segment.index().Sync(gate));
  MILLRACE_RETURN_IF_ERROR(segment.time_index().Sync(gate));
  MILLRACE_RETURN_IF_ERROR(WriteSnapshot(record.end_offset, full.snapshot));
  MILLRACE_KILL_POINT(kSnapshotWritten);
  MILLRACE_RETURN_IF_ERROR(sums.Append(gate, record));
  MILLRACE_KILL_POINT(kSumWritten);
  MILLRACE_RETURN_IF_ERROR(gate.SyncDir(path));
  if (next.checkpoint.offset != next.segment_base) RemoveSnapshot(next.checkpoint.offset);
  next.segment_base = record.end_offset;
  next.synced_end = record.end_offset;
  next.position = 0;
  next.sum = 0;
  next.checkpoint = {.offset = record.end_offset};
  MoveSyncedEnd(next);
  return absl::OkStatus();
}

Status PartitionLog::Impl::SyncActive(const Tail& written,
                                      const std::optional<PendingCheckpoint>& pending) {
  if (written.end > synced_end.load(std::memory_order_acquire)) {
    Mark next = mark();
    next.synced_end = written.end;
    next.position = static_cast<uint32_t>(written.position);
    next.sum = written.sum;
    if (SeededBug(Bug::kMarkBeforeSync)) {
      directory.marks->Update(key, next);
      MILLRACE_RETURN_IF_ERROR(directory.marks->Write());
    }
    MILLRACE_ASSIGN_OR_RETURN(const auto file, written.segment->OpenLog());
    MILLRACE_RETURN_IF_ERROR(gate.Sync(*file));
    MILLRACE_KILL_POINT(kSyncDone);
    MoveSyncedEnd(next);
  }
  if (!pending.has_value()) return absl::OkStatus();
  // A checkpoint only shortens the next recovery: on a full disk the old one stays.
  const Status status = SyncCheckpoint(*written.segment, *pending);
  return gate.failed().ok() ? absl::OkStatus() : status;
}

Status PartitionLog::Impl::SyncCheckpoint(Segment& segment, const PendingCheckpoint& pending) {
  MILLRACE_RETURN_IF_ERROR(segment.index().Sync(gate));
  MILLRACE_RETURN_IF_ERROR(segment.time_index().Sync(gate));
  MILLRACE_RETURN_IF_ERROR(WriteSnapshot(pending.checkpoint.offset, pending.snapshot));
  Mark next = mark();
  const Offset old = next.checkpoint.offset;
  next.checkpoint = pending.checkpoint;
  MoveSyncedEnd(next);
  if (old == next.segment_base) return absl::OkStatus();  // stays as long as its segment
  stale_snapshot = old;
  // The mark on the disk still names the old one. A close writes all marks at once.
  if (closed.load(std::memory_order_acquire)) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(directory.marks->Write());
  RemoveStaleSnapshot();
  return absl::OkStatus();
}

void PartitionLog::Impl::RemoveStaleSnapshot() {
  if (stale_snapshot >= 0) RemoveSnapshot(stale_snapshot);
  stale_snapshot = -1;
}

// With the turn, which all that change the mark hold.
void PartitionLog::Impl::MoveSyncedEnd(const Mark& next) {
  const auto now = view();
  MutexLock lock(sync_mu_);
  mark_ = next;
  mark_.leader_epoch = std::max(mark_.leader_epoch, now->epochs.latest());
  mark_.epochs_crc = now->epochs_crc;
  directory.marks->Update(key, mark_);
  synced_end.store(next.synced_end, std::memory_order_release);
  turn_changed.NotifyAll();
}

Mark PartitionLog::Impl::mark() const {
  MutexLock lock(sync_mu_);
  return mark_;
}

Status PartitionLog::Impl::WriteSnapshot(Offset offset, std::span<const std::byte> bytes) {
  return gate.ReplaceFile(PathOf(OffsetFileName(offset, kSnapshotSuffix)), bytes);
}

void PartitionLog::Impl::RemoveSnapshot(Offset offset) {
  // A leftover is harmless: recovery takes the one that the mark names.
  files.RemoveFile(PathOf(OffsetFileName(offset, kSnapshotSuffix))).IgnoreError();
}

}  // namespace millrace::log
