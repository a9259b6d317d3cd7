#include "log/partition_log.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/invariant.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"
#include "log/partition_impl.h"
#include "log/recovery.h"

namespace millrace::log {

PartitionLog::Impl::Impl(LogDirectory::Impl& dir, std::string log_name, DurableMarks::Key log_key,
                         const LogConfig& log_config)
    : directory(dir),
      files(dir.files),
      gate(dir.gate),
      name(std::move(log_name)),
      path(dir.PartitionPath(name)),
      key(log_key),
      read_only(dir.options.read_only),
      view_(std::make_shared<View>()),
      config(log_config),
      sums(dir.files, dir.SumsPath(log_key)) {}

std::shared_ptr<const PartitionLog::Impl::View> PartitionLog::Impl::view() const {
  MutexLock lock(view_mu_);
  return view_;
}

std::string PartitionLog::Impl::PathOf(std::string_view file) const { return JoinPath(path, file); }

SegmentRecord PartitionLog::Impl::ActiveRecord() const {
  const Tail written = written_tail();
  return {.base = active->base_offset,
          .end_offset = written.end,
          .size_bytes = written.position,
          .max_timestamp_ms = index_builder->max_timestamp_ms(),
          .max_timestamp_offset = index_builder->max_timestamp_offset(),
          .sum = written.sum,
          .index = active->index().extent(),
          .time_index = active->time_index().extent(),
          .damaged = active->damaged};
}

Status PartitionLog::Impl::Open(const PartitionRecord* clean_record) {
  if (clean_record != nullptr) {
    if (AdoptRecord(*clean_record).ok()) return absl::OkStatus();
    // Somebody has changed the files since: the scan says what they hold now.
    report.notes.push_back("the files are not those of the clean close");
  }
  report.clean = false;
  return Recovery(*this).Run();
}

// A clean close vouches for the files: only that they are those files is checked.
StatusOr<std::shared_ptr<PartitionLog::Impl::View>> PartitionLog::Impl::AdoptSegments(
    const PartitionRecord& record) {
  const auto changed = [] { return absl::FailedPreconditionError("the files have changed"); };
  MILLRACE_ASSIGN_OR_RETURN(const auto names, files.List(path));
  const auto logs = std::ranges::count_if(names, [](const std::string& file) {
    return ParseOffsetFileName(file, kLogSuffix).has_value();
  });
  if (static_cast<size_t>(logs) != record.segments.size()) return changed();
  auto opened = std::make_shared<View>();
  for (const SegmentRecord& r : record.segments) {
    auto segment = std::make_shared<Segment>(files, path, r.base, read_only);
    MILLRACE_ASSIGN_OR_RETURN(const FileInfo info, files.Stat(segment->path));
    if (info.size_bytes != r.size_bytes) return changed();
    segment->Publish(r.size_bytes, r.end_offset, r.max_timestamp_ms);
    segment->index().Adopt(r.index);
    segment->time_index().Adopt(r.time_index);
    segment->damaged = r.damaged;
    if (r.base != record.segments.back().base) segment->Close(r);
    opened->segments.push_back(std::move(segment));
  }
  opened->epochs = EpochCache(record.epochs);
  opened->epochs_crc = Crc32c(AsBytes(opened->epochs.Format()));
  return opened;
}

Status PartitionLog::Impl::AdoptRecord(const PartitionRecord& record) {
  MILLRACE_ASSIGN_OR_RETURN(auto opened, AdoptSegments(record));
  ProducerState restored;
  if (record.has_producers) {
    MILLRACE_ASSIGN_OR_RETURN(
        const auto bytes,
        ReadWholeFile(files, PathOf(OffsetFileName(record.log_end(), kSnapshotSuffix)),
                      Recovery::kMaxSideFileBytes));
    MILLRACE_ASSIGN_OR_RETURN(restored, ProducerState::FromSnapshot(bytes));
  }
  const SegmentRecord& last = record.segments.back();
  {
    MutexLock lock(append_mu_);
    active = opened->segments.back();
    index_builder.emplace(*active, config.index_interval_bytes);
    index_builder->ResumeFrom(last.max_timestamp_ms, last.max_timestamp_offset);
    checkpoint_asked_at = last.size_bytes;
    producers = std::move(restored);
    latest_epoch_seen = record.leader_epoch;
    MutexLock tail_lock(tail_mu_);
    tail = {active, last.end_offset, last.size_bytes, last.sum};
    MutexLock view_lock(view_mu_);
    view_ = std::move(opened);
  }
  log_start = record.log_start;
  log_end = last.end_offset;
  synced_end = last.end_offset;
  size_bytes = record.size_bytes();
  directory.total_bytes += record.size_bytes();
  report.durable_mark = last.end_offset;
  AdoptMark(record);
  return absl::OkStatus();
}

void PartitionLog::Impl::AdoptMark(const PartitionRecord& record) {
  const auto old_mark = directory.marks->Find(key);
  MutexLock lock(sync_mu_);
  mark_ = record.MakeMark(directory.opener);
  if (!read_only && old_mark != mark_) directory.marks->Update(key, mark_);
}

// Epochs of what was deleted go now: the mark that speaks of the new file is written with the
// close.
Status PartitionLog::Impl::PruneEpochs() {
  EpochCache epochs = view()->epochs;
  const size_t before = epochs.entries().size();
  // Not at the log start: what its segment holds below is still scanned, and has its epochs.
  epochs.CutFront(view()->segments.front()->base_offset);
  if (epochs.entries().size() == before) return absl::OkStatus();
  const std::string text = epochs.Format();
  MILLRACE_RETURN_IF_ERROR(gate.ReplaceFile(PathOf(kEpochFile), AsBytes(text)));
  ChangeView([&](View& v) {
    v.epochs = std::move(epochs);
    v.epochs_crc = Crc32c(AsBytes(text));
  });
  MoveSyncedEnd(mark());
  return absl::OkStatus();
}

StatusOr<PartitionRecord> PartitionLog::Impl::CloseCleanly() {
  closed.store(true, std::memory_order_release);
  PartitionRecord record{.name = name, .topic_id = key.first, .partition = key.second};
  {
    MutexLock lock(append_mu_);
    MILLRACE_RETURN_IF_ERROR(append_error);
    index_builder->Finish();
    record.has_producers = !producers.empty();
    // What the last checkpoint says may still be all there is to say.
    if (mark().checkpoint.offset != log_end.load()) CaptureCheckpoint();
    record.leader_epoch = latest_epoch_seen;
  }
  {
    const Turn turn(*this);
    MILLRACE_RETURN_IF_ERROR(SyncAll());
    MILLRACE_RETURN_IF_ERROR(PruneEpochs());
    if (mark().checkpoint.offset != log_end.load()) {
      MILLRACE_INVARIANT(!beside_error.ok());
      return Annotate(beside_error, path);
    }
  }
  const auto now = view();
  record.log_start = log_start.load();
  record.epochs = now->epochs.entries();
  for (const auto& segment : now->segments) {
    const auto closed_record = segment->record();
    if (closed_record.has_value()) record.segments.push_back(*closed_record);
  }
  MutexLock lock(append_mu_);
  record.segments.push_back(ActiveRecord());
  return record;
}

void PartitionLog::Impl::ReleaseIdle() {
  const Turn turn(*this);
  MutexLock lock(append_mu_);
  // A handle above its synced end would take the error of a failed write-back with it.
  if (synced_end.load() != log_end.load()) return;
  active_file.reset();
  for (const auto& segment : view()->segments) segment->ReleaseIdle();
  sums.Release();
}

PartitionLog::PartitionLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PartitionLog::~PartitionLog() {
  impl_->directory.total_bytes.fetch_sub(impl_->size_bytes.load(), std::memory_order_relaxed);
}

StatusOr<AppendResult> PartitionLog::Append(std::span<std::byte> batch,
                                            const AppendRequest& request, bool verified) {
  return impl_->Append(batch, request, verified);
}
Status PartitionLog::SyncTo(Offset offset) { return impl_->SyncTo(offset); }
StatusOr<bool> PartitionLog::Follow() { return impl_->Follow(); }
StatusOr<ReadResult> PartitionLog::Read(Offset from, Offset below, size_t max_bytes,
                                        BufferPool& pool) {
  return impl_->Read(from, below, max_bytes, pool);
}
StatusOr<std::optional<PartitionLog::OffsetForTime>> PartitionLog::FindTime(int64_t timestamp_ms,
                                                                            Offset below,
                                                                            BufferPool& pool) {
  return impl_->FindTime(timestamp_ms, below, pool);
}
StatusOr<std::optional<PartitionLog::OffsetForTime>> PartitionLog::FindMaxTimestamp(
    Offset below, BufferPool& pool) {
  return impl_->FindMaxTimestamp(below, pool);
}

Offset PartitionLog::log_start() const { return impl_->log_start.load(std::memory_order_acquire); }
Offset PartitionLog::log_end() const { return impl_->log_end.load(std::memory_order_acquire); }
Offset PartitionLog::synced_end() const {
  return impl_->synced_end.load(std::memory_order_acquire);
}
int32_t PartitionLog::latest_epoch() const {
  MutexLock lock(impl_->append_mu_);
  return impl_->latest_epoch_seen;
}
std::optional<EpochEnd> PartitionLog::EndOfEpoch(int32_t epoch) const {
  const Offset end = log_end();
  const auto found = impl_->view()->epochs.EndOf(epoch, end);
  if (!found.has_value()) return std::nullopt;
  return EpochEnd{found->epoch, found->end_offset};
}
uint64_t PartitionLog::size_bytes() const { return impl_->size_bytes.load(); }
std::vector<SegmentInfo> PartitionLog::segments() const {
  std::vector<SegmentInfo> infos;
  for (const auto& segment : impl_->view()->segments) {
    infos.push_back({.base_offset = segment->base_offset,
                     .end_offset = segment->end_offset(),
                     .size_bytes = segment->size_bytes(),
                     .max_timestamp_ms = segment->max_timestamp_ms(),
                     .closed = segment->closed()});
  }
  return infos;
}
const RecoveryReport& PartitionLog::recovery() const { return impl_->report; }
const std::string& PartitionLog::directory() const { return impl_->path; }

void PartitionLog::SetConfig(const LogConfig& config) {
  MutexLock lock(impl_->append_mu_);
  impl_->config = config;
  impl_->index_builder->SetInterval(config.index_interval_bytes);
}
Status PartitionLog::DeleteRecordsBefore(Offset offset, Offset high_watermark) {
  return impl_->DeleteRecordsBefore(offset, high_watermark);
}
StatusOr<uint64_t> PartitionLog::ApplyRetention(absl::Time now, Offset high_watermark) {
  return impl_->ApplyRetention(now, high_watermark);
}
Status PartitionLog::RollIfDue(absl::Time now) { return impl_->RollIfDue(now); }
void PartitionLog::ReleaseIdle() { impl_->ReleaseIdle(); }
StatusOr<bool> PartitionLog::Scrub(size_t max_bytes, BufferPool& pool) {
  return impl_->Scrub(max_bytes, pool);
}
std::vector<DamagedRange> PartitionLog::damage() const { return impl_->view()->damage; }
Status PartitionLog::Roll() { return impl_->Roll(); }

}  // namespace millrace::log
