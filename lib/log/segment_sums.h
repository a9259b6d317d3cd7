#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "log/sparse_index.h"
#include "log/sync_gate.h"
#include "millrace/env.h"
#include "millrace/topic_partition.h"

namespace millrace::log {

// The running sum of a segment: CRC-32C over the first 21 bytes of each batch (offset, length,
// leader epoch, magic, CRC). With the CRC of each batch it covers every byte of the segment, those
// outside of the batch CRC included, and needs no second look at the payload.
uint32_t ExtendSum(uint32_t sum, const std::byte* batch);

// What is known of a segment when nothing is written to it any more.
struct SegmentRecord {
  Offset base = 0;
  Offset end_offset = 0;
  uint64_t size_bytes = 0;
  int64_t max_timestamp_ms = -1;
  Offset max_timestamp_offset = -1;
  uint32_t sum = 0;
  IndexExtent index = {};
  IndexExtent time_index = {};
  bool damaged = false;  // holds damage that was found before: its sum says nothing
  bool operator==(const SegmentRecord&) const = default;

  static constexpr size_t kBytes = 8 * 5 + 4 * 5 + 4;
  void Store(ByteWriter& out) const;
  static SegmentRecord Load(ByteReader& in);
};

// The file sums/<topic id>-<partition>: the record of each closed segment, appended and synced
// after all of the segment's files were. A segment with a valid record is never cut. Belongs to
// whoever holds the partition's sync turn.
class SegmentSums {
 public:
  SegmentSums(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}

  // The records, the last one of each base, by base; entries that fail their CRC are left out. A
  // missing file is empty.
  StatusOr<std::vector<SegmentRecord>> Load();
  // Appends and syncs.
  Status Append(SyncGate& gate, const SegmentRecord& record);
  // Writes the file anew with these records.
  Status Rewrite(SyncGate& gate, const std::vector<SegmentRecord>& records);
  Status Remove();
  // Entries in the file, so that its owner sees when it is worth a Rewrite.
  size_t entry_count() const { return entry_count_; }
  void Release() { file_.reset(); }

  static constexpr size_t kEntryBytes = SegmentRecord::kBytes + 4;

 private:
  FileSystem& files_;
  const std::string path_;
  std::unique_ptr<File> file_;
  size_t entry_count_ = 0;
  bool loaded_ = false;
};

}  // namespace millrace::log
