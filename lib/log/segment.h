#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "log/partition_log.h"
#include "log/segment_sums.h"
#include "log/sparse_index.h"
#include "millrace/env.h"
#include "record/batch.h"

namespace millrace::log {

// One log file of a partition and its two indexes. The newest is active: batches go to its end.
// What the appender has published here (size, end) is what readers may read; nothing published ever
// changes. Thread-safe.
class Segment {
 public:
  // Borrows `files`. No file is opened before it is needed.
  Segment(FileSystem& files, const std::string& directory, Offset base_offset, bool read_only);

  const Offset base_offset;
  const std::string path;  // of the .log file

  uint64_t size_bytes() const { return size_bytes_.load(std::memory_order_acquire); }
  Offset end_offset() const { return end_offset_.load(std::memory_order_acquire); }
  int64_t max_timestamp_ms() const { return max_timestamp_ms_.load(std::memory_order_relaxed); }
  // By whoever appends or recovers.
  void Publish(uint64_t size_bytes, Offset end_offset, int64_t max_timestamp_ms);

  // The open log file; opened by the first call. not_found when it is gone.
  StatusOr<std::shared_ptr<File>> OpenLog();
  // Creates the file; empty leftovers are taken, and files with contents are set aside as `.cut`.
  StatusOr<std::shared_ptr<File>> CreateLog();

  // Set when nothing is appended any more. Until then the record of the segment is not known.
  void Close(const SegmentRecord& record);
  std::optional<SegmentRecord> record() const;
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  OffsetIndex& index() { return index_; }
  TimeIndex& time_index() { return time_index_; }
  // Whether the index was built anew by this process: then building it again helps nothing.
  bool TakeRebuildTurn() { return !was_rebuilt_.exchange(true); }
  // Whether the time index has been compared with its CRC (the offset index proves itself at each
  // use).
  std::atomic<bool> time_index_checked{false};
  // Part of it cannot be read. What is appended goes into a new one: behind damage that nobody
  // remembers after the next opening it might not be found.
  std::atomic<bool> damaged{false};

  // Closes files that were not used since the last call.
  void ReleaseIdle();
  bool has_open_files() const;

 private:
  FileSystem& files_;
  const bool read_only_;
  std::atomic<uint64_t> size_bytes_{0};
  std::atomic<Offset> end_offset_;
  std::atomic<int64_t> max_timestamp_ms_{-1};
  std::atomic<bool> closed_{false};
  std::atomic<bool> used_{false};
  std::atomic<bool> was_rebuilt_{false};
  OffsetIndex index_;
  TimeIndex time_index_;
  mutable Mutex mu_;
  std::shared_ptr<File> file_ ABSL_GUARDED_BY(mu_);
  std::optional<SegmentRecord> record_ ABSL_GUARDED_BY(mu_);
};

// Gives a segment's indexes the entries that its batches call for: one each `interval_bytes`, by
// Kafka's rule. Belongs to one thread.
class IndexBuilder {
 public:
  IndexBuilder(Segment& segment, int32_t interval_bytes)
      : segment_(&segment), interval_bytes_(static_cast<uint64_t>(interval_bytes)) {}
  void SetInterval(int32_t interval_bytes) {
    interval_bytes_ = static_cast<uint64_t>(interval_bytes);
  }
  // Goes on after batches that had this largest timestamp.
  void ResumeFrom(int64_t max_timestamp_ms, Offset max_timestamp_offset) {
    max_timestamp_ms_ = max_timestamp_ms;
    max_timestamp_offset_ = max_timestamp_offset;
  }

  void Add(const record::BatchHeader& header, uint64_t position);
  // The next batch gets an entry, since none before it says where it begins.
  void ForceEntry() { bytes_since_entry_ = interval_bytes_ + 1; }
  // The last entry of the time index, for a segment that gets no more batches.
  void Finish();

  int64_t max_timestamp_ms() const { return max_timestamp_ms_; }
  Offset max_timestamp_offset() const { return max_timestamp_offset_; }
  uint64_t bytes_since_entry() const { return bytes_since_entry_; }

 private:
  Segment* segment_;
  uint64_t interval_bytes_;
  uint64_t bytes_since_entry_ = 0;
  int64_t max_timestamp_ms_ = -1;
  Offset max_timestamp_offset_ = -1;
};

}  // namespace millrace::log
