#include "log/recovery.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"

namespace millrace::log {

Recovery::Recovery(PartitionLog::Impl& log) : log_(log) {
  MutexLock lock(log.append_mu_);
  interval_bytes_ = log.config.index_interval_bytes;
}

Status Recovery::Run() {
  mark_ = log_.directory.marks->Find(log_.key);
  log_.report.durable_mark = mark_.has_value() ? mark_->synced_end : -1;
  same_boot_ = mark_.has_value() && mark_->opener != 0 && mark_->opener == log_.directory.opener;
  MILLRACE_ASSIGN_OR_RETURN(records_, log_.sums.Load());
  MILLRACE_RETURN_IF_ERROR(ListFiles());
  ChooseStart();
  MILLRACE_RETURN_IF_ERROR(LoadEpochs());
  MILLRACE_RETURN_IF_ERROR(LoadProducers());
  MILLRACE_RETURN_IF_ERROR(AdoptClosed());
  MILLRACE_RETURN_IF_ERROR(ScanOpenSegments());
  MILLRACE_RETURN_IF_ERROR(ChooseActive());
  return HandOver();
}

Status Recovery::ListFiles() {
  MILLRACE_ASSIGN_OR_RETURN(const auto names, log_.files.List(log_.path));
  std::vector<Offset> bases;
  for (const std::string& file : names) {
    if (const auto base = ParseOffsetFileName(file, kLogSuffix); base.has_value()) {
      bases.push_back(*base);
    } else if (const auto at = ParseOffsetFileName(file, kSnapshotSuffix); at.has_value()) {
      snapshots_.push_back(*at);
    } else {
      HandleLeftOver(file);
    }
  }
  std::ranges::sort(bases);
  std::ranges::sort(snapshots_);
  return FindSegments(bases);
}

// What an interrupted writer leaves, and what does not belong to the log at all.
void Recovery::HandleLeftOver(const std::string& file) {
  const auto is_ours = [&](std::string_view suffix) {
    return ParseOffsetFileName(file, suffix).has_value();
  };
  if (file == kEpochFile || file == kPartitionMetadataFile || is_ours(kIndexSuffix) ||
      is_ours(kTimeIndexSuffix) || file.ends_with(kCutSuffix)) {
    return;
  }
  const std::string deleted_log = fmt::format("{}{}", kLogSuffix, kDeletedSuffix);
  bool remove = false;
  if (file.ends_with(kDeletedSuffix)) {
    // The log start had moved past it before it got its name; a log that is still needed stays.
    const auto base = ParseOffsetFileName(file, deleted_log);
    remove = !base.has_value() || (mark_.has_value() && *base < mark_->log_start);
  } else {
    // Never renamed, so never valid: what they were to replace is still there.
    remove = file == fmt::format("{}.tmp", kEpochFile) ||
             file == fmt::format("{}.tmp", kPartitionMetadataFile) || file == "next.tmp" ||
             is_ours(fmt::format("{}.tmp", kSnapshotSuffix)) || file.ends_with(".cut.tmp") ||
             is_ours(fmt::format("{}.cleaned", kLogSuffix)) ||
             is_ours(fmt::format("{}.cleaned", kIndexSuffix)) ||
             is_ours(fmt::format("{}.cleaned", kTimeIndexSuffix));
  }
  if (!remove || log_.read_only) return Note(fmt::format("{}: unknown, left alone", file));
  const Status removed = log_.files.RemoveFile(log_.PathOf(file));
  Note(fmt::format("{}: left over, {}", file, removed.ok() ? "removed" : Text(removed)));
}

Status Recovery::FindSegments(const std::vector<Offset>& bases) {
  log_start_ = mark_.has_value() ? mark_->log_start : (bases.empty() ? 0 : bases.front());
  Offset end_so_far = 0;  // of the closed segments before
  for (size_t i = 0; i < bases.size(); ++i) {
    auto segment = std::make_shared<Segment>(log_.files, log_.path, bases[i], log_.read_only);
    if (i + 1 < bases.size() && bases[i + 1] <= log_start_ && !log_.read_only) {
      // Its removal was under way.
      MILLRACE_RETURN_IF_ERROR(log_.RemoveSegmentFiles(*segment));
      Note(fmt::format("{}: lies below the log start {}, removed", segment->path, log_start_));
      continue;
    }
    if (bases[i] < end_so_far) {
      Note(fmt::format("{}: lies within the segment before it, left alone", segment->path));
      continue;
    }
    MILLRACE_ASSIGN_OR_RETURN(const FileInfo info, log_.files.Stat(segment->path));
    Found found{.segment = std::move(segment), .file_bytes = info.size_bytes};
    const auto record = std::ranges::find(records_, bases[i], &SegmentRecord::base);
    if (record != records_.end()) {
      found.record = *record;
      end_so_far = record->end_offset;
    }
    found_.push_back(std::move(found));
  }
  return absl::OkStatus();
}

// The scan starts at the checkpoint or behind the last closed segment, whichever is later; without
// either, at the front.
void Recovery::ChooseStart() {
  floor_ = log_start_;
  start_base_ = found_.empty() ? log_start_ : found_.front().segment->base_offset;
  start_ = {.offset = start_base_};
  if (!records_.empty()) {
    floor_ = std::max(floor_, records_.back().end_offset);
    start_base_ = records_.back().end_offset;
    start_ = {.offset = start_base_};
  }
  if (!mark_.has_value()) {
    if (std::ranges::any_of(found_, [](const Found& f) { return f.file_bytes > 0; }))
      Note(fmt::format("{}: has no durable mark: all from offset {} on counts as not synced",
                       log_.path, floor_));
    return;
  }
  floor_ = std::max(floor_, mark_->synced_end);
  if (mark_->checkpoint.offset < start_.offset) return;
  start_base_ = mark_->segment_base;
  start_ = mark_->checkpoint;
  const auto found = std::ranges::find_if(
      found_, [&](const Found& f) { return f.segment->base_offset == start_base_; });
  if (found == found_.end() || found->file_bytes < start_.position)
    start_ = {.offset = start_base_};
}

Offset Recovery::NextBase(size_t index) const {
  if (index + 1 < found_.size()) return found_[index + 1].segment->base_offset;
  return -1;
}

// The segments before the one in which the scan starts. Their records vouch for them: they are read
// when a reader or the scrub comes by.
Status Recovery::AdoptClosed() {
  const Offset first =
      found_.empty() ? start_base_ : std::min(start_base_, found_.front().segment->base_offset);
  if (mark_.has_value() && first > log_start_) {
    expected_ = log_start_;
    AddGap(first, "the segment files are missing");
  }
  for (size_t i = 0; i < found_.size() && found_[i].segment->base_offset < start_base_; ++i) {
    Found& found = found_[i];
    Segment& segment = *found.segment;
    Offset next_base = NextBase(i);
    if (next_base < 0 || next_base > start_base_) next_base = start_base_;
    if (!found.record.has_value() || found.file_bytes < found.record->size_bytes) {
      MILLRACE_RETURN_IF_ERROR(ScanUnrecorded(found, next_base));
    } else {
      if (found.file_bytes > found.record->size_bytes) {
        Note(fmt::format("{}: holds {} bytes more than it was closed with, ignored", segment.path,
                         found.file_bytes - found.record->size_bytes));
      }
      segment.index().Adopt(found.record->index);
      segment.time_index().Adopt(found.record->time_index);
      segment.Publish(found.record->size_bytes, found.record->end_offset,
                      found.record->max_timestamp_ms);
      segment.Close(*found.record);
    }
    expected_ = segment.end_offset();
    if (expected_ < next_base) AddGap(next_base, "the segment files are missing");
  }
  return absl::OkStatus();
}

// A closed segment without a record, or shorter than its record says: all of it is read.
Status Recovery::ScanUnrecorded(Found& found, Offset next_base) {
  Segment& segment = *found.segment;
  const Offset end = found.record.has_value() ? found.record->end_offset : next_base;
  MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
  segment.index().Clear();
  segment.time_index().Clear();
  IndexBuilder builder(segment, interval_bytes_);
  SegmentRecord record{
      .base = segment.base_offset, .end_offset = end, .size_bytes = found.file_bytes};
  Resumption at{0, segment.base_offset};
  while (at.position < found.file_bytes || at.offset < end) {
    SegmentScanner scanner(*file, log_.directory.scan_pool,
                           {.position = at.position,
                            .end = found.file_bytes,
                            .expected = at.offset,
                            .epochs = &epochs_});
    auto outcome = Outcome::kBatch;
    for (;;) {
      MILLRACE_ASSIGN_OR_RETURN(outcome, scanner.Next());
      if (outcome != Outcome::kBatch) break;
      builder.Add(scanner.header(), scanner.position());
      record.sum = ExtendSum(record.sum, scanner.head());
    }
    at = {scanner.next_position(), scanner.expected()};
    if (outcome == Outcome::kEnd && at.offset >= end) break;
    record.damaged = true;
    MILLRACE_ASSIGN_OR_RETURN(
        const Resumption next,
        FindResumption(*file, log_.directory.scan_pool, {segment.index(), segment.base_offset}, at,
                       {found.file_bytes, end}));
    damage_.push_back({.file = segment.path,
                       .position = at.position,
                       .size_bytes = next.position - at.position,
                       .first_offset = at.offset,
                       .end_offset = std::max(next.offset, at.offset + 1),
                       .what = scanner.what().empty() ? "the file is cut off" : scanner.what()});
    at = {next.position, damage_.back().end_offset};
  }
  builder.Finish();
  record.max_timestamp_ms = builder.max_timestamp_ms();
  record.max_timestamp_offset = builder.max_timestamp_offset();
  record.index = segment.index().extent();
  record.time_index = segment.time_index().extent();
  segment.Publish(record.size_bytes, record.end_offset, record.max_timestamp_ms);
  segment.Close(record);
  Note(fmt::format(
      "{}: read as a whole, since {}", segment.path,
      found.record.has_value() ? "it is shorter than it was closed with" : "its sum is missing"));
  if (log_.read_only) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(log_.gate.Sync(*file));
  for (const Status& indexed :
       {segment.index().Sync(log_.gate), segment.time_index().Sync(log_.gate)}) {
    if (!indexed.ok())
      return log_.gate.IsLackOfRoom(indexed) ? absl::OkStatus() : indexed;  // read anew next time
  }
  const Status kept = log_.sums.Append(log_.gate, record);
  return log_.gate.IsLackOfRoom(kept) ? absl::OkStatus() : kept;
}

}  // namespace millrace::log
