#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "log/partition_log.h"
#include "millrace/env.h"

namespace millrace::log {

// One data directory: its lock, the durable marks, the segment sums, the close manifest and the
// failed flag, and the partitions in it. Layout (docs/format/directory.md):
//   <dir>/orders-0/...                 partitions, files named and laid out as Kafka's
//   <dir>/millrace/{lock,format,opener,marks,manifest,sums/...}   what Millrace adds
// Thread-safe. Outlives its partitions.
class LogDirectory {
 public:
  struct Options {
    std::string path;
    bool create_if_missing = true;
    bool error_if_exists = false;
    // No lock is taken and nothing is written: opens beside a writer, serves whole batches up to
    // the last one; what it shows may not be synced.
    bool read_only = false;
    // Makes the directory's id. Borrowed; null stands for the real one.
    Random* random = nullptr;
  };
  // Borrows `files` and `clock` (which must outlive the directory). already_open,
  // permission_denied, not_found, unsupported_version (a format from the future is left untouched),
  // io_error: each with the path.
  static StatusOr<std::unique_ptr<LogDirectory>> Open(FileSystem& files, Clock& clock,
                                                      Options options);
  ~LogDirectory();

  // Whether the last writer closed cleanly. When not, the owner bumps the leader epochs.
  bool was_clean() const;
  bool read_only() const;
  // A uuid of this directory, made at creation.
  Uuid id() const;

  // Opens the partition `name` ("orders-0") of topic `topic_id`, with recovery where the last close
  // was not clean. `create`: the folder is made when absent (and must not belong to another topic
  // id: orphan_data). Without `create` a missing folder whose durable mark is above zero is
  // corrupt_log, never an empty log; one without a mark is created empty (its creation was never
  // finished).
  StatusOr<std::unique_ptr<PartitionLog>> OpenPartition(const std::string& name, Uuid topic_id,
                                                        int32_t partition, const LogConfig& config,
                                                        bool create);
  // Renames the folder away and unlinks it. The caller has made the tombstone of the topic durable.
  // OK when absent. Folders of other topic ids are left alone. The partition's PartitionLog must be
  // gone.
  Status DeletePartition(const std::string& name, Uuid topic_id, int32_t partition);
  // Partition folders that are there, with the topic id in their partition.metadata (zero when
  // unreadable).
  struct Folder {
    std::string name;
    Uuid topic_id = {};
  };
  StatusOr<std::vector<Folder>> ListFolders();

  // Writes and syncs the marks that changed. Due at most every 100 ms, at roll and at close.
  Status WriteMarks();
  // OK, or why nothing is acknowledged any more (a failed sync is final).
  Status failed() const;
  void Fail(const Status& why);

  // Sums of logical bytes of all partitions, for max_total_bytes.
  uint64_t total_bytes() const;

  // For each open partition: sync, snapshot, indexes; then the manifest. `partitions` are all that
  // are open. A partition that fails is recorded as not clean. Releases the lock last. `threads` in
  // all work at it, and are gone when it returns.
  Status CloseCleanly(const std::vector<PartitionLog*>& partitions, absl::Time deadline,
                      int threads = 1);

 private:
  friend class PartitionLog;
  struct Impl;
  explicit LogDirectory(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::log
