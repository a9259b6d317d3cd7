#include <algorithm>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/kill_point.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"
#include "log/partition_impl.h"

namespace millrace::log {
namespace {

// Entries of the sums file that speak of segments long gone are worth one rewrite beyond so many.
constexpr size_t kStaleSums = 256;

// In the order in which they go. The log is the last: while it is there, the others can be built
// from it.
constexpr std::string_view kSegmentSuffixes[] = {kSnapshotSuffix, kTimeIndexSuffix, kIndexSuffix,
                                                 kLogSuffix};

}  // namespace

Status PartitionLog::Impl::DeleteRecordsBefore(Offset offset, Offset high_watermark) {
  MILLRACE_RETURN_IF_ERROR(CheckWritable());
  const Offset start = log_start.load();
  if (offset < 0 || offset > high_watermark) {
    return MakeError(ErrorId::kOffsetOutOfRange,
                     fmt::format("{}: records can be deleted up to an offset in [{}, {}], not {}",
                                 path, start, high_watermark, offset));
  }
  MutexLock lock(upkeep_mu_);
  // The log start is durable at once, whatever the policy; so must be what it speaks of. Else a
  // power cut could leave a log that ends below its start, and less of the last file than of the
  // next.
  MILLRACE_RETURN_IF_ERROR(SyncTo(offset));
  return MoveLogStart(offset).status();
}

StatusOr<uint64_t> PartitionLog::Impl::MoveLogStart(Offset offset) {
  if (offset <= log_start.load()) return uint64_t{0};
  // What lies below is gone for good once this is answered; so the start must be durable before it
  // shows, and before any file goes.
  const Turn turn(*this);
  Mark next = mark();
  next.log_start = offset;
  MoveSyncedEnd(next);
  if (!SeededBug(Bug::kRetentionBeforeMark)) MILLRACE_RETURN_IF_ERROR(directory.marks->Write());
  MILLRACE_KILL_POINT(kLogStartMarked);
  log_start.store(offset, std::memory_order_release);
  ChangeView([&](View& v) {
    std::erase_if(v.damage, [&](const DamagedRange& d) { return d.end_offset <= offset; });
  });
  return RemoveSegmentsBelow(offset);
}

StatusOr<uint64_t> PartitionLog::Impl::RemoveSegmentsBelow(Offset offset) {
  std::vector<std::shared_ptr<Segment>> gone;
  const Offset finished = mark().segment_base;
  ChangeView([&](View& v) {
    auto& all = v.segments;
    // The active segment stays, and so do those whose sync is still due.
    while (all.size() > 1 && all[1]->base_offset <= std::min(offset, finished)) {
      gone.push_back(all.front());
      all.erase(all.begin());
    }
  });
  absl::Duration delay;
  {
    MutexLock lock(append_mu_);
    delay = config.file_delete_delay;
  }
  uint64_t removed = 0;
  // They are out of the log, whatever becomes of their files: the next opening finds leftovers.
  for (const auto& segment : gone) removed += segment->size_bytes();
  size_bytes.fetch_sub(removed, std::memory_order_relaxed);
  directory.total_bytes.fetch_sub(removed, std::memory_order_relaxed);
  for (const auto& segment : gone) {
    MILLRACE_RETURN_IF_ERROR(delay <= absl::ZeroDuration()
                                 ? RemoveSegmentFiles(*segment)
                                 : DelayRemoval(*segment, directory.clock.Now() + delay));
  }
  if (gone.empty()) return removed;
  const auto now = view();
  if (sums.entry_count() > now->segments.size() + kStaleSums) {
    std::vector<SegmentRecord> records;
    for (const auto& segment : now->segments) {
      const auto record = segment->record();
      // Not of those whose other files still wait for room.
      if (record.has_value() && record->end_offset <= finished) records.push_back(*record);
    }
    MILLRACE_RETURN_IF_ERROR(sums.Rewrite(gate, records));
  }
  return removed;
}

Status PartitionLog::Impl::RemoveSegmentFiles(const Segment& segment) {
  for (const std::string_view suffix : kSegmentSuffixes) {
    const Status removed = files.RemoveFile(PathOf(OffsetFileName(segment.base_offset, suffix)));
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
    MILLRACE_KILL_POINT(kSegmentFileGone);
  }
  return absl::OkStatus();
}

Status PartitionLog::Impl::DelayRemoval(const Segment& segment, absl::Time due) {
  for (const std::string_view suffix : kSegmentSuffixes) {
    const std::string file = PathOf(OffsetFileName(segment.base_offset, suffix));
    const std::string renamed = fmt::format("{}{}", file, kDeletedSuffix);
    const Status status = files.Rename(file, renamed);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
    if (status.ok()) delayed.push_back({due, renamed});
    MILLRACE_KILL_POINT(kSegmentFileGone);
  }
  return absl::OkStatus();
}

void PartitionLog::Impl::RemoveDelayed(absl::Time now) {
  std::erase_if(delayed, [&](const Delayed& d) {
    if (d.due > now) return false;
    const Status removed = files.RemoveFile(d.path);
    return removed.ok() || absl::IsNotFound(removed);
  });
}

// The offset below which retention lets every segment go; whole segments only.
Offset PartitionLog::Impl::RetainedFrom(absl::Time now, Offset high_watermark,
                                        const LogConfig& limits) const {
  const auto all = view()->segments;
  Offset keep = log_start.load();
  uint64_t left = size_bytes.load();
  const int64_t oldest_ms =
      limits.retention.has_value() ? absl::ToUnixMillis(now - *limits.retention) : INT64_MIN;
  for (const auto& segment : all) {
    const Offset end = segment->end_offset();
    if (end > high_watermark || segment->size_bytes() == 0) break;
    const bool expired = limits.retention.has_value() && segment->max_timestamp_ms() >= 0 &&
                         segment->max_timestamp_ms() < oldest_ms;
    const bool too_much =
        limits.retention_bytes.has_value() && *limits.retention_bytes >= 0 &&
        left - segment->size_bytes() >= static_cast<uint64_t>(*limits.retention_bytes);
    if (!expired && !too_much) break;
    left -= segment->size_bytes();
    keep = std::max(keep, end);
  }
  return keep;
}

StatusOr<uint64_t> PartitionLog::Impl::ApplyRetention(absl::Time now, Offset high_watermark) {
  MILLRACE_RETURN_IF_ERROR(CheckWritable());
  MutexLock lock(upkeep_mu_);
  RemoveDelayed(now);
  LogConfig limits;
  {
    MutexLock append_lock(append_mu_);
    limits = config;
  }
  if (!limits.delete_by_retention) return uint64_t{0};
  high_watermark = std::min(high_watermark, synced_end.load());
  const Offset keep = RetainedFrom(now, high_watermark, limits);
  if (keep <= log_start.load()) return uint64_t{0};
  {
    MutexLock append_lock(append_mu_);
    // The whole log is due: what comes next goes into a new file, and the old one can go.
    if (active->end_offset() == keep && active->size_bytes() > 0)
      MILLRACE_RETURN_IF_ERROR(RollLocked());
  }
  {
    const Turn turn(*this);
    MILLRACE_RETURN_IF_ERROR(SyncAll());
  }
  return MoveLogStart(keep);
}

Status PartitionLog::Impl::RollIfDue(absl::Time now) {
  MILLRACE_RETURN_IF_ERROR(CheckWritable());
  {
    MutexLock lock(append_mu_);
    if (active->size_bytes() == 0) return absl::OkStatus();
    MILLRACE_ASSIGN_OR_RETURN(const int64_t first, FirstTimestamp());
    if (first < 0 || now - absl::FromUnixMillis(first) <= config.segment_age)
      return absl::OkStatus();
  }
  return Roll();
}

Status PartitionLog::Impl::Roll() {
  MILLRACE_RETURN_IF_ERROR(CheckWritable());
  {
    MutexLock lock(append_mu_);
    MILLRACE_RETURN_IF_ERROR(append_error);
    if (active->size_bytes() == 0) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(RollLocked());
  }
  const Turn turn(*this);
  return SyncAll();
}

}  // namespace millrace::log
