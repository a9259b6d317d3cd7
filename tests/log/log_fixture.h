#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "log/log_directory.h"
#include "log/partition_log.h"
#include "millrace/env.h"
#include "millrace/testing/manual_clock.h"
#include "record/batch.h"
#include "record/batch_builder.h"
#include "support/or_fail.h"

namespace millrace::log {

inline const Uuid kTopic = Uuid::FromRandom(0x1234, 0x5678);
inline constexpr int64_t kT0 = 1'700'000'000'000;

// A record as the tests see it.
struct Seen {
  Offset offset = -1;
  std::string key;
  std::string value;
  int64_t timestamp_ms = -1;
  bool operator==(const Seen&) const = default;
};

// A batch of these values, created from `timestamp_ms` on, one a millisecond.
std::vector<std::byte> MakeBatch(const std::vector<std::string>& values,
                                 int64_t timestamp_ms = kT0);
// The same, from an idempotent producer.
std::vector<std::byte> MakeProducerBatch(const std::vector<std::string>& values,
                                         int64_t producer_id, int16_t epoch, int32_t sequence,
                                         int64_t timestamp_ms = kT0);

// The batch with another header, whose CRC is right.
std::vector<std::byte> WithHeader(std::vector<std::byte> batch,
                                  const std::function<void(record::BatchHeader&)>& change);

// Appends a batch of `values`.
StatusOr<AppendResult> TryAppend(PartitionLog& log, const std::vector<std::string>& values,
                                 int64_t timestamp_ms = kT0, int32_t epoch = 0);
AppendResult Append(PartitionLog& log, const std::vector<std::string>& values,
                    int64_t timestamp_ms = kT0, int32_t epoch = 0);
StatusOr<AppendResult> TryAppendFrom(PartitionLog& log, const std::vector<std::string>& values,
                                     int64_t producer_id, int16_t epoch, int32_t sequence);

// All records of [from, below), read on until the end. Fails at the first error.
StatusOr<std::vector<Seen>> TryReadAll(PartitionLog& log, Offset from, Offset below,
                                       size_t max_bytes = 1 << 20);
std::vector<Seen> ReadAll(PartitionLog& log, Offset from = -1);
// "v3" for every record, joined by spaces.
std::string Values(const std::vector<Seen>& records);

// A data directory with one partition, opened over `files`, which outlives it.
struct OneLog {
  explicit OneLog(FileSystem& file_system, LogConfig log_config = {},
                  std::string directory_path = "data")
      : files(file_system), config(log_config), path(std::move(directory_path)) {}
  Status TryOpen(bool read_only = false);
  void Open() { OrFail(TryOpen()); }
  Status TryClose();
  void Close() { OrFail(TryClose()); }
  // As a process that is killed: nothing is synced or said.
  void Drop() {
    log.reset();
    directory.reset();
  }
  void CloseAndOpen() {
    Close();
    Open();
  }
  void DropAndOpen() {
    Drop();
    Open();
  }
  PartitionLog& operator*() const { return *log; }
  PartitionLog* operator->() const { return log.get(); }
  std::string PathOf(std::string_view name) const;

  FileSystem& files;
  LogConfig config;
  std::string path;
  testing::ManualClock clock{absl::FromUnixMillis(kT0)};
  std::shared_ptr<Random> random = testing::SeededRandom(7);
  std::unique_ptr<LogDirectory> directory;
  std::unique_ptr<PartitionLog> log;
};

BufferPool& TestPool();

}  // namespace millrace::log
