#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "base/mutex.h"
#include "base/uuid.h"
#include "log/segment_sums.h"
#include "log/sparse_index.h"
#include "log/sync_gate.h"
#include "millrace/env.h"
#include "millrace/topic_partition.h"

namespace millrace::log {

// A place in a log from which a scan can go on: a batch border, the sum of its segment up to there,
// and what the indexes and the producers were at it. All that it names is synced.
struct Checkpoint {
  Offset offset = 0;
  uint32_t position = 0;
  uint32_t sum = 0;
  int64_t max_timestamp_ms = -1;  // of the segment so far
  Offset max_timestamp_offset = -1;
  IndexExtent index = {};
  IndexExtent time_index = {};
  static Checkpoint AtEndOf(const SegmentRecord& segment);
  bool operator==(const Checkpoint&) const = default;
};

// What is known to be on the disk of one partition. Damage above `synced_end` is a torn tail,
// damage below it is corruption (design.md 4).
struct Mark {
  Offset log_start = 0;
  Offset segment_base = 0;  // of the segment that the rest speaks of
  Offset synced_end = 0;
  uint32_t position = 0;       // of synced_end in the segment
  uint32_t sum = 0;            // of the segment up to there
  Checkpoint checkpoint = {};  // at or below synced_end, in the same segment
  int32_t leader_epoch = -1;
  uint32_t epochs_crc = 0;  // of the file leader-epoch-checkpoint
  // Which boot and mount the partition was last recovered under; 0: not known.
  uint32_t opener = 0;
  bool operator==(const Mark&) const = default;
};

// The marks file of a data directory: two slots a partition, written in turn, each with a sequence
// number and a CRC; so one of them is whole whatever a power cut leaves of the other. Thread-safe.
// Marks are kept in memory and written together, by Write.
class DurableMarks {
 public:
  using Key = std::pair<Uuid, int32_t>;  // topic id, partition

  // Reads the file; a missing one is empty, damaged slots are skipped. Borrows `files` and `gate`.
  static StatusOr<std::unique_ptr<DurableMarks>> Open(FileSystem& files, SyncGate& gate,
                                                      std::string path, bool read_only);

  // For a reader beside the writer: reads the file again.
  Status Reload() { return Load(); }

  std::optional<Mark> Find(const Key& key) const;
  // The caller has synced what `mark` describes. Written by the next Write.
  void Update(const Key& key, const Mark& mark);
  void Remove(const Key& key);
  std::vector<Key> Keys() const;
  // Writes what changed and syncs it. Concurrent calls wait for each other.
  Status Write();

  static constexpr size_t kSlotBytes = 128;
  static void StoreSlot(const Key& key, const Mark& mark, uint64_t sequence, std::byte* at);
  struct Slot {
    Key key;
    Mark mark;
    uint64_t sequence = 0;
  };
  static std::optional<Slot> LoadSlot(const std::byte* at);

 private:
  struct Entry {
    uint32_t place = 0;  // which pair of slots
    uint64_t sequence = 0;
    bool changed = false;
    bool removed = false;
    Mark mark;
  };
  DurableMarks(FileSystem& files, SyncGate& gate, std::string path)
      : files_(files), gate_(gate), path_(std::move(path)) {}
  Status Load();
  struct Change {
    Key key;
    Entry entry;
  };
  void ReserveForOneMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<Change> TakeChanges();
  Status WriteChanges(std::vector<Change>& changes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  void Finish(const std::vector<Change>& changes, bool written);

  FileSystem& files_;
  SyncGate& gate_;
  const std::string path_;
  Mutex write_mu_;  // one Write at a time; taken before mu_
  std::unique_ptr<File> file_ ABSL_GUARDED_BY(write_mu_);
  mutable Mutex mu_;
  // The standard map: in this Abseil a hash map whose growth runs out of memory is left broken.
  std::unordered_map<Key, Entry, absl::Hash<Key>> entries_ ABSL_GUARDED_BY(mu_);
  // Both have room for every entry, so that only a new one needs memory.
  std::vector<uint32_t> free_places_ ABSL_GUARDED_BY(mu_);
  uint32_t places_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Key> changed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::log
