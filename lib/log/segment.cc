#include "log/segment.h"

#include <fmt/format.h>

#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"

namespace millrace::log {

Segment::Segment(FileSystem& files, const std::string& directory, Offset base, bool read_only)
    : base_offset(base),
      path(JoinPath(directory, OffsetFileName(base, kLogSuffix))),
      files_(files),
      read_only_(read_only),
      end_offset_(base),
      index_(files, JoinPath(directory, OffsetFileName(base, kIndexSuffix)), read_only),
      time_index_(files, JoinPath(directory, OffsetFileName(base, kTimeIndexSuffix)), read_only) {}

void Segment::Publish(uint64_t size_bytes, Offset end_offset, int64_t max_timestamp_ms) {
  max_timestamp_ms_.store(max_timestamp_ms, std::memory_order_relaxed);
  end_offset_.store(end_offset, std::memory_order_release);
  size_bytes_.store(size_bytes, std::memory_order_release);
}

StatusOr<std::shared_ptr<File>> Segment::OpenLog() {
  used_.store(true, std::memory_order_relaxed);
  MutexLock lock(mu_);
  if (file_ == nullptr) {
    MILLRACE_ASSIGN_OR_RETURN(
        file_, files_.Open(path, read_only_ ? OpenMode::kRead : OpenMode::kReadWrite));
  }
  return file_;
}

StatusOr<std::shared_ptr<File>> Segment::CreateLog() {
  MutexLock lock(mu_);
  auto file = files_.Open(path, OpenMode::kCreateNew);
  if (absl::IsAlreadyExists(file.status())) {
    MILLRACE_ASSIGN_OR_RETURN(const FileInfo info, files_.Stat(path));
    if (info.size_bytes > 0) {
      MILLRACE_RETURN_IF_ERROR(files_.Rename(path, fmt::format("{}{}", path, kCutSuffix)));
    }
    file = files_.Open(path, OpenMode::kCreate);
  }
  if (!file.ok()) return file.status();
  file_ = *std::move(file);
  used_.store(true, std::memory_order_relaxed);
  return file_;
}

void Segment::Close(const SegmentRecord& record) {
  MutexLock lock(mu_);
  record_ = record;
  closed_.store(true, std::memory_order_release);
}

std::optional<SegmentRecord> Segment::record() const {
  MutexLock lock(mu_);
  return record_;
}

void Segment::ReleaseIdle() {
  if (used_.exchange(false, std::memory_order_relaxed)) return;
  index_.Release();
  time_index_.Release();
  MutexLock lock(mu_);
  file_.reset();
}

bool Segment::has_open_files() const {
  MutexLock lock(mu_);
  return file_ != nullptr;
}

void IndexBuilder::Add(const record::BatchHeader& header, uint64_t position) {
  if (header.max_timestamp_ms > max_timestamp_ms_) {
    max_timestamp_ms_ = header.max_timestamp_ms;
    max_timestamp_offset_ = header.last_offset();
  }
  if (bytes_since_entry_ > interval_bytes_) {
    segment_->index().Add({static_cast<int32_t>(header.last_offset() - segment_->base_offset),
                           static_cast<int32_t>(position)});
    Finish();
    bytes_since_entry_ = 0;
  }
  bytes_since_entry_ += header.size_bytes();
}

void IndexBuilder::Finish() {
  if (max_timestamp_offset_ < 0) return;
  segment_->time_index().Add(
      {max_timestamp_ms_, static_cast<int32_t>(max_timestamp_offset_ - segment_->base_offset)});
}

}  // namespace millrace::log
