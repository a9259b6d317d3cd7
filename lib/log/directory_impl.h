#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/buffer.h"
#include "log/close_manifest.h"
#include "log/durable_marks.h"
#include "log/log_directory.h"
#include "log/sync_gate.h"
#include "millrace/env.h"

namespace millrace::log {

// What the partitions of one data directory share. Thread-safe where it is not fixed.
struct LogDirectory::Impl {
  Impl(FileSystem& fs, Clock& time, Options opts);

  std::string OwnPath(std::string_view name) const;  // "<dir>/millrace/<name>"
  std::string PartitionPath(std::string_view name) const;
  std::string SumsPath(const DurableMarks::Key& key) const;

  Status OpenDirectory();
  Status OpenFormat();
  Status CreateFormat();
  Status KeepMarks(const CloseManifest& vouched);
  Status TakeManifest();
  Status ReadEvidence();
  // What a reader beside the writer knows of the marks is not much older than the files it opens.
  Status RefreshMarks();
  // The folder is there and belongs to `topic_id`; true when it was made just now.
  StatusOr<bool> PrepareFolder(const std::string& name, const DurableMarks::Key& key, bool create,
                               std::vector<std::string>* notes);

  FileSystem& files;
  Clock& clock;
  const Options options;
  SyncGate gate;
  BufferPool scan_pool;  // of recovery and upkeep
  Uuid id;
  bool clean = false;
  // Names this boot and mount; 0 when nothing may be concluded from them.
  uint32_t opener = 0;
  std::unique_ptr<FileLock> lock;
  std::unique_ptr<DurableMarks> marks;
  std::atomic<uint64_t> total_bytes{0};
  std::atomic<bool> closed{false};

  Mutex mu;
  absl::Duration marks_read_at ABSL_GUARDED_BY(mu) = -absl::InfiniteDuration();
  // Of partitions that nobody has opened yet in this session.
  CloseManifest manifest ABSL_GUARDED_BY(mu);
};

}  // namespace millrace::log
