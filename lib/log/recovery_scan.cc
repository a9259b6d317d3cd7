#include <algorithm>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"
#include "log/recovery.h"

namespace millrace::log {

Status Recovery::ScanOpenSegments() {
  expected_ = start_.offset;
  size_t index = 0;
  while (index < found_.size() && found_[index].segment->base_offset < start_base_) ++index;
  const Offset first = index < found_.size() ? found_[index].segment->base_offset : -1;
  if (first != start_base_) {
    // The segment in which the scan should start is gone; what lies below the log start is no loss.
    expected_ = std::max(expected_, log_start_);
    if (first > expected_ && expected_ >= floor_ && !same_boot_) return SetAsideFrom(index);
    if (first > expected_) AddGap(first, "the segment files are missing");
    if (first >= 0) expected_ = first;
  }
  for (; index < found_.size(); ++index) {
    MILLRACE_ASSIGN_OR_RETURN(bool go_on, ScanSegment(index));
    if (go_on) {
      MILLRACE_ASSIGN_OR_RETURN(go_on, LeaveSegment(index));
    }
    if (!go_on) break;
  }
  return absl::OkStatus();
}

StatusOr<bool> Recovery::ScanSegment(size_t index) {
  Found& found = found_[index];
  Segment& segment = *found.segment;
  const bool at_start = segment.base_offset == start_base_;
  uint64_t position = at_start ? start_.position : 0;
  sum_ = at_start ? start_.sum : 0;
  segment_damaged_ = false;
  MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
  if (!log_.read_only) MILLRACE_RETURN_IF_ERROR(log_.gate.Sync(*file));
  // Memory may show what the device does not have.
  MILLRACE_RETURN_IF_ERROR(file->DropCache());
  MILLRACE_RETURN_IF_ERROR(RestoreIndexes(segment, *file));
  size_ = position;
  while (size_ < found.file_bytes) {
    SegmentScanner scanner(
        *file, log_.directory.scan_pool,
        {.position = size_, .end = found.file_bytes, .expected = expected_, .epochs = &epochs_});
    auto outcome = Outcome::kBatch;
    for (;;) {
      MILLRACE_ASSIGN_OR_RETURN(outcome, scanner.Next());
      if (outcome != Outcome::kBatch) break;
      if (const Status appendable = CheckAppendable(scanner.header()); !appendable.ok()) {
        const absl::string_view why = appendable.message();
        size_ = scanner.position();
        MILLRACE_RETURN_IF_ERROR(CutSegment(index, *file, size_, {why.data(), why.size()}));
        return false;
      }
      builder_->Add(scanner.header(), scanner.position());
      producers_.Update(scanner.header());
      sum_ = ExtendSum(sum_, scanner.head());
      expected_ = scanner.expected();
      if (mark_.has_value() && expected_ == mark_->synced_end)
        CheckSum(segment, scanner.next_position());
    }
    size_ = scanner.next_position();
    if (outcome == Outcome::kEnd) break;
    if (IsTorn(outcome, index)) {
      MILLRACE_RETURN_IF_ERROR(CutSegment(index, *file, size_, scanner.what()));
      return false;
    }
    MILLRACE_ASSIGN_OR_RETURN(const Resumption next,
                              ReportDamage(index, *file, {size_, expected_}, scanner.what()));
    size_ = next.position;
    expected_ = next.offset;
  }
  return true;
}

// A batch's offset lies outside of its CRC. Where a power cut tears a write within a header, an old
// batch in the blocks behind it could pass for the one that begins there; an append would have
// refused it by its sequence.
Status Recovery::CheckAppendable(const record::BatchHeader& header) const {
  if (same_boot_ || expected_ < floor_ || !damage_.empty()) return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(const auto original, producers_.Check(header));
  if (!original.has_value()) return absl::OkStatus();
  return MakeError(ErrorId::kCorruptLog,
                   fmt::format("the batch repeats the one at offset {}", original->base_offset));
}

// Every batch up to the mark may be sound and in its place, and yet not be the one that was synced
// there: a write of the device went astray. Which one it is the sum does not tell.
void Recovery::CheckSum(const Segment& segment, uint64_t position) {
  if (segment_damaged_ || (position == mark_->position && sum_ == mark_->sum)) return;
  damage_.push_back(
      {.file = segment.path,
       .position = start_.position,
       .size_bytes = position - start_.position,
       .first_offset = start_.offset,
       .end_offset = expected_,
       .what = fmt::format("the batches up to byte {} have the sum {:#010x}, synced were those up "
                           "to byte {}, of {:#010x}",
                           position, sum_, mark_->position, mark_->sum)});
  segment_damaged_ = true;
}

// What lies between this segment and the next one. False when the next ones do not count.
StatusOr<bool> Recovery::LeaveSegment(size_t index) {
  Segment& segment = *found_[index].segment;
  while (NextBase(index) >= 0 && NextBase(index) < expected_) {
    Note(fmt::format("{}: lies within the segment before it, left alone",
                     found_[index + 1].segment->path));
    found_.erase(found_.begin() + static_cast<ptrdiff_t>(index) + 1);
  }
  const Offset next_base = NextBase(index);
  if (next_base < 0) return true;
  if (expected_ < next_base) {
    if (expected_ >= floor_ && !same_boot_) {
      MILLRACE_RETURN_IF_ERROR(SetAsideFrom(index + 1));
      return false;
    }
    AddGap(next_base,
           fmt::format("the file ends {} offsets before the next segment", next_base - expected_));
    segment_damaged_ = true;
  }
  CloseScanned(segment);
  return true;
}

// Entries above the checkpoint were not synced: what a power cut has made of them, nobody knows.
Status Recovery::RestoreIndexes(Segment& segment, File& file) {
  builder_.emplace(segment, interval_bytes_);
  const bool at_start = segment.base_offset == start_base_ && start_.position > 0;
  if (SeededBug(Bug::kTrustIndexAfterCrash)) {
    const auto all_of = [&](const std::string& path, size_t entry_bytes) {
      const uint64_t bytes = log_.files.Stat(path).value_or(FileInfo{}).size_bytes;
      return IndexExtent{static_cast<uint32_t>(bytes / entry_bytes), 0};
    };
    segment.index().Adopt(all_of(segment.index().path(), OffsetIndexEntry::kBytes));
    segment.time_index().Adopt(all_of(segment.time_index().path(), TimeIndexEntry::kBytes));
    segment.time_index_checked = true;
    return absl::OkStatus();
  }
  if (at_start && segment.index().Matches(start_.index) &&
      segment.time_index().Matches(start_.time_index)) {
    segment.index().Adopt(start_.index);
    segment.time_index().Adopt(start_.time_index);
    builder_->ResumeFrom(start_.max_timestamp_ms, start_.max_timestamp_offset);
    return absl::OkStatus();
  }
  segment.index().Clear();
  segment.time_index().Clear();
  if (!at_start) return absl::OkStatus();
  Note(fmt::format("{}: built anew", segment.index().path()));
  SegmentScanner scanner(file, log_.directory.scan_pool,
                         {.end = start_.position,
                          .expected = segment.base_offset,
                          .epochs = &epochs_,
                          .check_crc = false});
  for (;;) {
    MILLRACE_ASSIGN_OR_RETURN(const auto outcome, scanner.Next());
    if (outcome != Outcome::kBatch)
      break;  // damage below the checkpoint is for the readers to find
    builder_->Add(scanner.header(), scanner.position());
  }
  builder_->ResumeFrom(start_.max_timestamp_ms, start_.max_timestamp_offset);
  return absl::OkStatus();
}

bool Recovery::IsTorn(Outcome outcome, size_t index) const {
  if (outcome == Outcome::kZeros) {
    if (SeededBug(Bug::kZeroTailIsDamage)) return false;
  }
  if (expected_ < floor_) return SeededBug(Bug::kCorruptionIsTornTail);
  if (SeededBug(Bug::kTornTailIsCorruption)) return false;
  if (log_.read_only || !same_boot_) return true;
  const bool nothing_follows =
      std::all_of(found_.begin() + static_cast<ptrdiff_t>(index) + 1, found_.end(),
                  [](const Found& f) { return f.file_bytes == 0; });
  return outcome == Outcome::kIncomplete && nothing_follows;
}

StatusOr<Resumption> Recovery::ReportDamage(size_t index, File& file, const Resumption& at,
                                            const std::string& what) {
  Found& found = found_[index];
  MILLRACE_ASSIGN_OR_RETURN(Resumption next,
                            FindResumption(file, log_.directory.scan_pool,
                                           {found.segment->index(), found.segment->base_offset}, at,
                                           {found.file_bytes, NextBase(index)}));
  if (next.position >= found.file_bytes) {
    MILLRACE_ASSIGN_OR_RETURN(next, BehindMark(found, file, at, next));
  }
  if (next.position >= found.file_bytes && NextBase(index) < 0) {
    // After a power cut nothing above the floor was promised to anybody.
    next.offset = same_boot_ ? std::max(next.offset, floor_) : floor_;
  }
  next.offset = std::max(next.offset, at.offset + 1);
  damage_.push_back({.file = found.segment->path,
                     .position = at.position,
                     .size_bytes = next.position - at.position,
                     .first_offset = at.offset,
                     .end_offset = next.offset,
                     .what = what});
  segment_damaged_ = true;
  builder_->ForceEntry();
  return next;
}

// Where neither the damaged batch nor the index says where the next one begins, the mark may: a
// sync ended there.
StatusOr<Resumption> Recovery::BehindMark(const Found& found, File& file, const Resumption& damage,
                                          const Resumption& otherwise) {
  if (!mark_.has_value() || found.segment->base_offset != mark_->segment_base ||
      damage.position >= mark_->position)
    return otherwise;
  const Resumption behind{mark_->position, mark_->synced_end};
  if (behind.position == found.file_bytes) return behind;
  MILLRACE_ASSIGN_OR_RETURN(const auto batch, ProbeBatch(file, log_.directory.scan_pool,
                                                         mark_->position, found.file_bytes));
  const bool sound = batch.has_value() && batch->base_offset == behind.offset;
  return sound ? behind : otherwise;
}

// Offsets that no file holds.
void Recovery::AddGap(Offset to, std::string what) {
  damage_.push_back(
      {.file = log_.path, .first_offset = expected_, .end_offset = to, .what = std::move(what)});
  expected_ = to;
}

Status Recovery::CutSegment(size_t index, File& file, uint64_t position, const std::string& why) {
  Found& found = found_[index];
  MILLRACE_RETURN_IF_ERROR(SetAsideFrom(index + 1));
  RecoveryReport& report = log_.report;
  report.cut_bytes += found.file_bytes - position;
  report.cut_offset = expected_;
  Note(fmt::format("{}: cut at byte {}, offset {}: {}", found.segment->path, position, expected_,
                   why));
  if (log_.read_only) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(CopyTail(found, file, position));
  MILLRACE_RETURN_IF_ERROR(file.Truncate(position));
  found.file_bytes = position;
  // Durable before anything is appended: else the cut tail could come back behind a new batch.
  return SeededBug(Bug::kCutNotSynced) ? absl::OkStatus() : log_.gate.Sync(file);
}

Status Recovery::CopyTail(const Found& found, File& file, uint64_t position) {
  const uint64_t size = std::min(found.file_bytes - position, kMaxCutBytes);
  Buffer tail = log_.directory.scan_pool.Get(size);
  MILLRACE_ASSIGN_OR_RETURN(const size_t count, file.ReadAt(position, tail.span().first(size)));
  const auto bytes = std::span<const std::byte>(tail.data(), count);
  if (std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }))
    return absl::OkStatus();
  const std::string copy = log_.PathOf(
      OffsetFileName(found.segment->base_offset, fmt::format(".{}{}", position, kCutSuffix)));
  log_.report.cut_file = copy;
  Status kept = log_.gate.ReplaceFile(copy, bytes);
  if (kept.ok() || !log_.gate.failed().ok()) return kept;
  // On a full disk the copy is not worth refusing to open.
  log_.report.cut_file.clear();
  Note(fmt::format("{}: not kept: {}", copy, Text(kept)));
  return absl::OkStatus();
}

// Whole segments behind a torn place: nothing in them was ever acknowledged. The last goes first,
// so that a recovery that is stopped in between finds no gap.
Status Recovery::SetAsideFrom(size_t index) {
  if (index >= found_.size()) return absl::OkStatus();
  for (size_t i = found_.size(); i-- > index && !log_.read_only;) {
    Segment& segment = *found_[i].segment;
    if (found_[i].file_bytes == 0) {
      MILLRACE_RETURN_IF_ERROR(log_.files.RemoveFile(segment.path));
    } else {
      const std::string aside =
          log_.PathOf(OffsetFileName(segment.base_offset, fmt::format(".0{}", kCutSuffix)));
      MILLRACE_RETURN_IF_ERROR(log_.files.Rename(segment.path, aside));
      log_.report.cut_bytes += found_[i].file_bytes;
      log_.report.cut_file = aside;
      log_.report.cut_offset = expected_;
    }
    for (const std::string& derived : {segment.index().path(), segment.time_index().path()}) {
      const Status removed = log_.files.RemoveFile(derived);
      if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
    }
    MILLRACE_RETURN_IF_ERROR(log_.gate.SyncDir(log_.path));
  }
  found_.resize(index);
  return absl::OkStatus();
}

// The segment gets no more batches; its record follows once the log is handed over.
void Recovery::CloseScanned(Segment& segment) {
  builder_->Finish();
  auto closing = std::make_shared<PartitionLog::Impl::Closing>();
  closing->record = {.base = segment.base_offset,
                     .end_offset = expected_,
                     .size_bytes = size_,
                     .max_timestamp_ms = builder_->max_timestamp_ms(),
                     .max_timestamp_offset = builder_->max_timestamp_offset(),
                     .sum = sum_,
                     .index = segment.index().extent(),
                     .time_index = segment.time_index().extent(),
                     .damaged = segment_damaged_};
  closing->snapshot = producers_.Snapshot();
  segment.Publish(size_, expected_, builder_->max_timestamp_ms());
  segment.Close(closing->record);
  segment.time_index_checked = true;
  for (const Found& f : found_) {
    if (f.segment.get() == &segment) closing->segment = f.segment;
  }
  closing_.push_back(std::move(closing));
}

// Where the next batch goes: to the end of the last segment, or into a new one when that end is not
// known to be the end of what was written.
Status Recovery::ChooseActive() {
  const bool have_open = !found_.empty() && !found_.back().segment->closed();
  bool need_new = !have_open || segment_damaged_;
  if (expected_ < floor_) {
    AddGap(floor_, fmt::format("the log ends below offset {}, up to which it was synced", floor_));
    segment_damaged_ = true;
    need_new = true;
  }
  if (!need_new) {
    found_.back().segment->Publish(size_, expected_, builder_->max_timestamp_ms());
    return absl::OkStatus();
  }
  if (have_open) CloseScanned(*found_.back().segment);
  auto segment = std::make_shared<Segment>(log_.files, log_.path, expected_, log_.read_only);
  // HandOver syncs its name.
  if (!log_.read_only) MILLRACE_RETURN_IF_ERROR(segment->CreateLog().status());
  builder_.emplace(*segment, interval_bytes_);
  size_ = 0;
  sum_ = 0;
  found_.push_back({.segment = std::move(segment)});
  return absl::OkStatus();
}

}  // namespace millrace::log
