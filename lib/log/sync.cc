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
  if (SeededBug(Bug::kAckBeforeSync)) return absl::OkStatus();
  if (read_only) return absl::OkStatus();
  offset = std::min(offset, log_end.load(std::memory_order_acquire));
  {
    MutexLock lock(sync_mu_);
    while (turn_taken && synced_end.load(std::memory_order_acquire) < offset)
      turn_changed.Wait(sync_mu_);
    MILLRACE_RETURN_IF_ERROR(gate.failed());
    if (synced_end.load(std::memory_order_acquire) >= offset) return absl::OkStatus();
    turn_taken = true;
  }
  const Turn turn(*this, std::adopt_lock);
  MILLRACE_RETURN_IF_ERROR(SyncAll());
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
// the log of [40, 95). The synced end passes 40 only in between. Where the disk has no room for the
// files beside a log, the logs are synced all the same, so that what was written can be
// acknowledged: the mark stays behind, and a recovery would scan from there.
Status PartitionLog::Impl::SyncAll() {
  bool finished_some = false;
  size_t waiting = 0;  // segments at the front whose files have to wait for room
  Tail written;
  std::optional<PendingCheckpoint> pending;
  for (;;) {
    std::shared_ptr<const Closing> full;
    {
      MutexLock lock(tail_mu_);
      if (closing.size() > waiting) {
        full = closing[waiting];
      } else {
        written = tail;
        pending.swap(pending_checkpoint);
      }
    }
    if (full == nullptr) break;
    MILLRACE_RETURN_IF_ERROR(SyncClosedLog(*full, /*is_first=*/waiting == 0));
    MILLRACE_KILL_POINT(kSegmentSynced);
    const Status status = waiting == 0 ? FinishSegment(*full) : absl::OkStatus();
    if (waiting > 0 || gate.IsLackOfRoom(status)) {
      if (!status.ok()) beside_error = status;
      ++waiting;
      continue;
    }
    MILLRACE_RETURN_IF_ERROR(status);
    MutexLock lock(tail_mu_);
    closing.erase(closing.begin());
    closing_count.fetch_sub(1, std::memory_order_relaxed);
    finished_some = true;
  }
  if (waiting > 0) return SyncBeyondMark(written);
  MILLRACE_RETURN_IF_ERROR(SyncActive(written, pending));
  // The mark has left the segment: recovery should not look for it there.
  return finished_some ? directory.marks->Write() : absl::OkStatus();
}

Status PartitionLog::Impl::SyncLog(Segment& segment) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
  return gate.Sync(*file);
}

Status PartitionLog::Impl::SyncClosedLog(const Closing& full, bool is_first) {
  if (SeededBug(Bug::kBoundaryBeforeSync)) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(SyncLog(*full.segment));
  if (!is_first) {
    // No FinishSegment has synced its name.
    MILLRACE_RETURN_IF_ERROR(gate.SyncDir(path));
    PublishSyncedEnd(full.record.end_offset);
    return absl::OkStatus();
  }
  if (full.record.damaged) return absl::OkStatus();
  Mark next = mark();
  next.synced_end = full.record.end_offset;
  next.position = static_cast<uint32_t>(full.record.size_bytes);
  next.sum = full.record.sum;
  MoveSyncedEnd(next);
  return absl::OkStatus();
}

Status PartitionLog::Impl::SyncBeyondMark(const Tail& written) {
  MILLRACE_RETURN_IF_ERROR(SyncLog(*written.segment));
  MILLRACE_RETURN_IF_ERROR(gate.SyncDir(path));
  PublishSyncedEnd(written.end);
  return absl::OkStatus();
}

// Beyond the end of a segment a scan starts from the segment's other files: so they are synced
// before the mark passes it.
Status PartitionLog::Impl::FinishSegment(const Closing& full) {
  Segment& segment = *full.segment;
  const SegmentRecord& record = full.record;
  MILLRACE_RETURN_IF_ERROR(segment.index().Sync(gate));
  MILLRACE_RETURN_IF_ERROR(segment.time_index().Sync(gate));
  MILLRACE_RETURN_IF_ERROR(WriteSnapshot(record.end_offset, full.snapshot));
  MILLRACE_KILL_POINT(kSnapshotWritten);
  MILLRACE_RETURN_IF_ERROR(sums.Append(gate, record));
  MILLRACE_KILL_POINT(kSumWritten);
  MILLRACE_RETURN_IF_ERROR(gate.SyncDir(path));
  Mark next = mark();
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
  if (Mark next = mark(); written.end > next.synced_end) {
    next.synced_end = written.end;
    next.position = static_cast<uint32_t>(written.position);
    next.sum = written.sum;
    if (SeededBug(Bug::kMarkBeforeSync)) {
      directory.marks->Update(key, next);
      directory.marks->Write().IgnoreError();
    }
    MILLRACE_RETURN_IF_ERROR(SyncLog(*written.segment));
    MILLRACE_KILL_POINT(kSyncDone);
    MoveSyncedEnd(next);
  }
  if (!pending.has_value()) return absl::OkStatus();
  // A checkpoint only shortens the next recovery: on a full disk the old one stays.
  beside_error = SyncCheckpoint(*written.segment, *pending);
  return gate.failed().ok() ? absl::OkStatus() : beside_error;
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
  Mark moved = next;
  moved.leader_epoch = std::max(moved.leader_epoch, now->epochs.latest());
  moved.epochs_crc = now->epochs_crc;
  directory.marks->Update(key, moved);  // needs memory, as long as the partition is new
  mark_ = moved;
  const Offset end = std::max(next.synced_end, synced_end.load(std::memory_order_relaxed));
  synced_end.store(end, std::memory_order_release);
  turn_changed.NotifyAll();
}

void PartitionLog::Impl::PublishSyncedEnd(Offset end) {
  MutexLock lock(sync_mu_);
  synced_end.store(std::max(end, synced_end.load(std::memory_order_relaxed)),
                   std::memory_order_release);
  turn_changed.NotifyAll();
}

// For an appender that finds too many closed segments waiting.
Status PartitionLog::Impl::FinishClosedSegments() {
  {
    const Turn turn(*this);
    MILLRACE_RETURN_IF_ERROR(SyncAll());
  }
  if (closing_count.load(std::memory_order_relaxed) < kMaxClosingSegments) return absl::OkStatus();
  return MakeError(ErrorId::kNoSpace,
                   fmt::format("{}: {} closed segments wait for room for their indexes", path,
                               closing_count.load()));
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
