#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "broker/metadata_snapshot.h"
#include "broker/metadata_state.h"
#include "broker/shared.h"
#include "log/partition_log.h"

namespace millrace::broker {

inline constexpr std::string_view kMetadataFolder = "__cluster_metadata-0";
// AAAAAAAAAAAAAAAAAAAAAQ, the id that Kafka gives its metadata topic.
Uuid MetadataTopicId();

// The log of metadata, and the snapshots that stand beside it: `__cluster_metadata-0`. A change is
// one batch; it is synced before it is used, whatever the flush policy. Two snapshots are kept, and
// the log from the older one on, so that a damaged snapshot costs nothing. Belongs to one thread at
// a time: the broker holds its lock of administration around it.
class MetadataLog {
 public:
  // Opens the log, or makes it, and replays the newest valid snapshot and what follows. corrupt_log
  // where that cannot be done without a gap: nothing is guessed. Borrows `shared`.
  static StatusOr<std::unique_ptr<MetadataLog>> Open(Shared& shared);

  // Makes the records durable as one batch and applies them. On an error nothing was changed,
  // unless it is possibly persisted, and then the directory has failed.
  Status Append(std::span<const schema::MetadataRecord> records);
  // In a broker that only reads: applies what the writer has appended since. True when there was
  // something.
  StatusOr<bool> Follow();
  MetadataState& state() { return state_; }
  // What all of it leads to.
  const std::shared_ptr<const MetadataImage>& image() const { return image_; }
  log::PartitionLog* log() { return log_.get(); }
  std::unique_ptr<log::PartitionLog> TakeLog() { return std::move(log_); }
  // Writes a snapshot now, and lets go of what the one before it made superfluous. For tests;
  // Append does it when the log has grown by the size of the state and 1 MiB.
  Status WriteSnapshot();

 private:
  explicit MetadataLog(Shared& shared) : shared_(shared) {}
  Status OpenLog();
  Status Replay();
  // Loads the newest snapshot that is whole; returns where to go on in the log.
  StatusOr<Offset> LoadSnapshot();
  StatusOr<std::vector<SnapshotId>> ListSnapshots() const;  // the newest first
  Status ReplayFrom(Offset from);
  Status Write(std::span<const schema::MetadataRecord> records);
  void SnapshotIfDue();
  std::string PathOf(const SnapshotId& id) const;

  Shared& shared_;
  std::unique_ptr<log::PartitionLog> log_;
  MetadataState state_;  // without drafts
  std::shared_ptr<const MetadataImage> image_;
  Offset replayed_ = 0;  // up to here, when it was opened or followed last
  int32_t epoch_ = 1;
  std::optional<SnapshotId> newest_;
  size_t snapshot_bytes_ = 0;  // of the newest
  size_t grown_bytes_ = 0;     // of the log since then
};

}  // namespace millrace::broker
