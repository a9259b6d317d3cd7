#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/endian.h"
#include "base/mutex.h"
#include "log/sync_gate.h"
#include "millrace/env.h"

namespace millrace::log {

// Kafka's offset index: the last offset of a batch, from the segment's base, and where the batch
// starts.
struct OffsetIndexEntry {
  static constexpr size_t kBytes = 8;
  int32_t relative_offset = 0;
  int32_t position = 0;

  int64_t key() const { return relative_offset; }
  void Store(std::byte* at) const {
    StoreBigEndian(at, relative_offset);
    StoreBigEndian(at + 4, position);
  }
  static OffsetIndexEntry Load(const std::byte* at) {
    return {LoadBigEndian<int32_t>(at), LoadBigEndian<int32_t>(at + 4)};
  }
};

// Kafka's time index: the largest timestamp so far, and the last offset of the batch that brought
// it.
struct TimeIndexEntry {
  static constexpr size_t kBytes = 12;
  int64_t timestamp_ms = 0;
  int32_t relative_offset = 0;

  int64_t key() const { return timestamp_ms; }
  void Store(std::byte* at) const {
    StoreBigEndian(at, timestamp_ms);
    StoreBigEndian(at + 8, relative_offset);
  }
  static TimeIndexEntry Load(const std::byte* at) {
    return {LoadBigEndian<int64_t>(at), LoadBigEndian<int32_t>(at + 8)};
  }
};

// How much of an index is known to be good: its first entries, and the CRC-32C of their bytes.
struct IndexExtent {
  uint32_t entries = 0;
  uint32_t crc = 0;
  bool operator==(const IndexExtent&) const = default;
};

// One index file: entries of ascending keys, at most one each few KiB of log. The newest entries
// wait in memory until 512 of them fill a page; the rest is in the file and is searched there, so
// that an index takes no memory that grows with its log. An index is derived from the log: losing
// some of its newest entries (a full disk) makes it sparser, and nothing more. Thread-safe.
template <typename Entry>
class SparseIndex {
 public:
  // Borrows `files`. The file is opened when it is first needed, and created by the first flush.
  SparseIndex(FileSystem& files, std::string path, bool read_only);

  // Adds an entry; ignored unless its key is above the last one's, and where memory has run out.
  void Add(const Entry& entry) noexcept;
  // The last entry with a key at or below `key`; nullopt when there is none.
  StatusOr<std::optional<Entry>> Floor(int64_t key);
  // The first entry with a key above `key`.
  StatusOr<std::optional<Entry>> Above(int64_t key);

  IndexExtent extent() const;
  uint32_t entries() const { return entries_.load(std::memory_order_relaxed); }
  // Writes what waits in memory and cuts the file to its entries.
  Status Flush();
  Status Sync(SyncGate& gate);

  // The file's first entries are these; what follows them in the file is garbage.
  void Adopt(IndexExtent extent);
  // Whether the file begins with these entries: it is there, as long, of this CRC and in order.
  bool Matches(IndexExtent extent);
  // Whether the file still holds what was adopted and written.
  bool FileIsIntact();
  void Clear() { Adopt({}); }
  // Writes what waits and closes the file.
  void Release();
  const std::string& path() const { return path_; }

 private:
  struct View {
    std::shared_ptr<File> file;
    uint32_t entries = 0;
  };
  StatusOr<std::shared_ptr<File>> OpenFile(OpenMode mode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddLocked(const Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool LearnLastKey() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How many of the file's entries have a key at or below `key`.
  static StatusOr<uint32_t> CountUpTo(const View& view, int64_t key);
  static StatusOr<Entry> ReadEntry(const View& view, uint32_t index);

  FileSystem& files_;
  const std::string path_;
  const bool read_only_;
  std::atomic<uint32_t> entries_{0};  // extent().entries, for the appender, which asks each time
  mutable Mutex mu_;
  std::shared_ptr<File> file_ ABSL_GUARDED_BY(mu_);
  std::vector<Entry> waiting_ ABSL_GUARDED_BY(mu_);
  uint32_t in_file_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t file_crc_ ABSL_GUARDED_BY(mu_) = 0;  // of the entries in the file
  uint32_t crc_ ABSL_GUARDED_BY(mu_) = 0;       // of all entries, the waiting ones included
  std::optional<int64_t> last_key_
      ABSL_GUARDED_BY(mu_);                    // empty: there is none, or it is not known
  bool trimmed_ ABSL_GUARDED_BY(mu_) = false;  // the file ends after its entries
};

using OffsetIndex = SparseIndex<OffsetIndexEntry>;
using TimeIndex = SparseIndex<TimeIndexEntry>;
extern template class SparseIndex<OffsetIndexEntry>;
extern template class SparseIndex<TimeIndexEntry>;

}  // namespace millrace::log
