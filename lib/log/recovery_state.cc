#include <algorithm>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/kill_point.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"
#include "log/recovery.h"

namespace millrace::log {

Status Recovery::LoadEpochs() {
  std::optional<EpochCache> believable;
  const auto bytes = ReadWholeFile(log_.files, log_.PathOf(kEpochFile), kMaxSideFileBytes);
  if (!bytes.ok() && !absl::IsNotFound(bytes.status())) return bytes.status();
  if (bytes.ok()) {
    const std::string_view text = AsText(*bytes);
    auto parsed = EpochCache::Parse(text);
    if (parsed.ok() && FileIsKnown(*parsed, text)) {
      epochs_ = *std::move(parsed);
      epochs_in_file_ = text;
      return absl::OkStatus();
    }
    if (parsed.ok()) {
      latest_in_file_ = parsed->latest();
      believable = *std::move(parsed);
      epochs_in_file_ = text;
    }
  }
  const bool has_data =
      std::ranges::any_of(found_, [](const Found& f) { return f.file_bytes > 0; });
  return has_data ? RebuildEpochs(std::move(believable)) : absl::OkStatus();
}

// Whether it is the file that the mark speaks of, or that file and the epochs that were entered
// since.
bool Recovery::FileIsKnown(const EpochCache& epochs, std::string_view text) const {
  if (!mark_.has_value() || Crc32c(AsBytes(text)) == mark_->epochs_crc) return true;
  auto older = epochs.entries();
  while (!older.empty() && older.back().epoch > mark_->leader_epoch &&
         older.back().start_offset >= mark_->synced_end) {
    older.pop_back();
    if (older.empty()) return mark_->leader_epoch < 0;
    if (Crc32c(AsBytes(EpochCache(older).Format())) == mark_->epochs_crc) return true;
  }
  return false;
}

// The log itself knows its epochs, and with them whether `in_file` is right: where it agrees with
// all that is durable it also tells what may follow, which a torn tail does not.
Status Recovery::RebuildEpochs(std::optional<EpochCache> in_file) {
  for (size_t i = 0; i < found_.size(); ++i) {
    Segment& segment = *found_[i].segment;
    const uint64_t end = found_[i].file_bytes;
    MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
    for (Resumption at{0, segment.base_offset}; at.position < end;) {
      SegmentScanner scanner(*file, log_.directory.scan_pool,
                             {.position = at.position, .end = end, .expected = at.offset});
      for (;;) {
        MILLRACE_ASSIGN_OR_RETURN(const auto outcome, scanner.Next());
        if (outcome != Outcome::kBatch) break;
        const record::BatchHeader& header = scanner.header();
        epochs_.Observe(header.leader_epoch, header.base_offset);
        if (in_file.has_value() && header.base_offset < floor_ &&
            in_file->EpochAt(header.base_offset) != header.leader_epoch)
          in_file.reset();
      }
      at = {scanner.next_position(), scanner.expected()};
      // What follows damage counts where it is durable.
      if (at.position == end || at.offset >= floor_) break;
      MILLRACE_ASSIGN_OR_RETURN(
          at, FindResumption(*file, log_.directory.scan_pool,
                             {segment.index(), segment.base_offset}, at, {end, NextBase(i)}));
    }
  }
  if (in_file.has_value()) {
    epochs_ = *std::move(in_file);
    return absl::OkStatus();
  }
  epochs_in_file_.clear();
  Note(fmt::format("{}: built anew from the log", log_.PathOf(kEpochFile)));
  return absl::OkStatus();
}

StatusOr<ProducerState> Recovery::ReadSnapshot(Offset offset) {
  MILLRACE_ASSIGN_OR_RETURN(
      const auto bytes,
      ReadWholeFile(log_.files, log_.PathOf(OffsetFileName(offset, kSnapshotSuffix)),
                    kMaxSideFileBytes));
  return ProducerState::FromSnapshot(bytes);
}

Status Recovery::LoadProducers() {
  if (SeededBug(Bug::kDedupLostOnRestart)) return absl::OkStatus();
  Offset from = found_.empty() ? start_.offset : found_.front().segment->base_offset;
  for (auto at = snapshots_.rbegin(); at != snapshots_.rend(); ++at) {
    // One of an offset that the log may not have reached: the batches below it may be others by
    // now.
    if (*at > start_.offset) {
      if (!log_.read_only) log_.RemoveSnapshot(*at);
      continue;
    }
    auto state = ReadSnapshot(*at);
    if (!state.ok()) {
      Note(fmt::format("snapshot at offset {}: {}", *at, Text(state.status())));
      continue;
    }
    producers_ = *std::move(state);
    from = *at;
    break;
  }
  if (from >= start_.offset) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(ReplayProducers(from, start_.offset));
  if (log_.read_only) return absl::OkStatus();
  // The mark names it, and the next close relies on it.
  const Status written = log_.WriteSnapshot(start_.offset, producers_.Snapshot());
  return log_.gate.IsLackOfRoom(written) ? absl::OkStatus() : written;
}

Status Recovery::ReplayProducers(Offset from, Offset to) {
  for (size_t i = 0; i < found_.size(); ++i) {
    const Found& found = found_[i];
    if (found.segment->base_offset >= to) break;
    if (NextBase(i) >= 0 && NextBase(i) <= from) continue;
    MILLRACE_ASSIGN_OR_RETURN(const auto file, found.segment->OpenLog());
    SegmentScanner scanner(
        *file, log_.directory.scan_pool,
        {.end = found.file_bytes, .expected = found.segment->base_offset, .epochs = &epochs_});
    for (;;) {
      MILLRACE_ASSIGN_OR_RETURN(const auto outcome, scanner.Next());
      if (outcome != Outcome::kBatch || scanner.header().base_offset >= to) break;
      if (scanner.header().base_offset >= from) producers_.Update(scanner.header());
    }
  }
  Note(fmt::format("producers: read again from offsets [{}, {})", from, to));
  return absl::OkStatus();
}

// An epoch number is not given out twice, even if no batch of it has survived; and the history ends
// with the latest epoch, which the next batch may go on with. What a file says that nobody vouches
// for counts within reason: a flipped bit must not use up all numbers.
void Recovery::KeepEpochNumbers() {
  constexpr int32_t kMaxJump = 1000;
  epochs_.CutBack(expected_);
  if (mark_.has_value() && mark_->leader_epoch > epochs_.latest())
    epochs_.Assign(mark_->leader_epoch, expected_);
  if (latest_in_file_ > epochs_.latest() && latest_in_file_ - epochs_.latest() <= kMaxJump)
    epochs_.Assign(latest_in_file_, expected_);
}

// Everything becomes the log's; then what the last writer left unsynced is synced.
Status Recovery::HandOver() {
  KeepEpochNumbers();
  std::string text = epochs_.Format();
  if (text != epochs_in_file_ && !epochs_.entries().empty() && !log_.read_only) {
    const Status written = log_.gate.ReplaceFile(log_.PathOf(kEpochFile), AsBytes(text));
    // A full disk can still be read: the file is written with the next epoch.
    if (!written.ok() && !log_.gate.IsLackOfRoom(written)) return written;
    if (!written.ok()) text = epochs_in_file_;
  }

  auto opened = std::make_shared<PartitionLog::Impl::View>();
  uint64_t total = 0;
  for (const Found& found : found_) {
    opened->segments.push_back(found.segment);
    total += found.segment->size_bytes();
  }
  std::erase_if(damage_, [&](const DamagedRange& d) { return d.end_offset <= log_start_; });
  std::ranges::sort(damage_, {}, &DamagedRange::first_offset);
  log_.report.damage = damage_;
  opened->damage = damage_;
  opened->epochs = epochs_;
  opened->epochs_crc = epochs_.entries().empty() ? 0 : Crc32c(AsBytes(text));

  Mark begin = mark_.value_or(Mark{.log_start = log_start_});
  begin.opener = log_.directory.opener;
  begin.segment_base =
      closing_.empty() ? found_.back().segment->base_offset : closing_.front()->record.base;
  begin.checkpoint =
      begin.segment_base == start_base_ ? start_ : Checkpoint{.offset = begin.segment_base};
  const uint64_t scanned_from = closing_.empty() ? begin.checkpoint.position : 0;
  // The scan has synced what it read. Where segments wait to be closed, the mark has to pass them
  // one by one.
  begin.synced_end = closing_.empty() ? expected_ : begin.checkpoint.offset;
  begin.position = closing_.empty() ? static_cast<uint32_t>(size_) : begin.checkpoint.position;
  begin.sum = closing_.empty() ? sum_ : begin.checkpoint.sum;
  {
    MutexLock lock(log_.append_mu_);
    log_.active = found_.back().segment;
    log_.index_builder = *builder_;
    log_.producers = std::move(producers_);
    log_.latest_epoch_seen = epochs_.latest();
    MutexLock tail_lock(log_.tail_mu_);
    log_.tail = {log_.active, expected_, size_, sum_};
    log_.closing_count = closing_.size();
    log_.closing = std::move(closing_);
    MutexLock view_lock(log_.view_mu_);
    log_.view_ = std::move(opened);
  }
  log_.log_start = log_start_;
  log_.log_end = expected_;
  log_.synced_end = log_.read_only ? expected_ : begin.synced_end;
  log_.size_bytes = total;
  log_.directory.total_bytes += total;
  {
    MutexLock lock(log_.sync_mu_);
    log_.mark_ = begin;
  }
  if (log_.read_only) return absl::OkStatus();
  {
    MutexLock lock(log_.append_mu_);
    if (size_ - scanned_from >= log_.config.checkpoint_bytes) log_.CaptureCheckpoint();
  }
  MILLRACE_KILL_POINT(kRecovered);
  // A mark speaks of files whose names are durable too; a killed process may not have seen to that.
  MILLRACE_RETURN_IF_ERROR(log_.gate.SyncDir(log_.path));
  const PartitionLog::Impl::Turn turn(log_);
  MILLRACE_RETURN_IF_ERROR(log_.SyncAll());
  log_.MoveSyncedEnd(log_.mark());  // also where nothing was left to sync
  return absl::OkStatus();
}

}  // namespace millrace::log
