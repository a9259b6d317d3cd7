#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "base/buffer.h"
#include "broker/partition.h"
#include "broker/topic_config.h"
#include "coordinator/group_coordinator.h"
#include "millrace/env.h"
#include "millrace/status.h"
#include "millrace/topic_partition.h"

namespace millrace::broker {

enum class FlushPolicy { kOs, kInterval, kEachBatch };

enum class Severity { kDebug, kInfo, kWarning, kError };
using LogHook = std::function<void(Severity, std::string_view message)>;

struct Options {
  std::string directory;  // empty: an in-memory file system of its own
  bool create_if_missing = true;
  bool error_if_exists = false;
  bool read_only = false;
  FlushPolicy flush = FlushPolicy::kEachBatch;
  absl::Duration flush_interval = absl::Seconds(1);
  std::map<std::string, std::string>
      topic_defaults;  // Kafka's names; layer between built-in and topic
  int32_t default_partitions = 1;
  int32_t offsets_partitions =
      1;  // of __consumer_offsets, fixed when it is created [offsets.topic.num.partitions]
  bool auto_create_topics = false;
  int64_t max_total_bytes = 0;  // 0: unlimited
  // The last one is upkeep's, the others sync; a single one does both. 0: callers do it.
  int background_threads = 3;
  uint64_t scrub_bytes_per_second = 1 << 20;
  Env env;  // null members: the real ones
  LogHook log;
};

struct PartitionImage {
  int32_t leader_epoch = 0;
  int32_t partition_epoch = 0;  // counts the changes of this partition's metadata
};
// What the metadata log says, at one of its offsets. Immutable once published.
struct TopicImage {
  std::string name;
  Uuid id;
  bool internal = false;
  std::vector<PartitionImage> partitions;
  std::map<std::string, std::string> config;  // what was set on the topic itself
};
struct MetadataImage {
  uint64_t version = 0;
  std::map<std::string, std::shared_ptr<const TopicImage>, std::less<>> topics;
};

struct CreateTopicRequest {
  std::string name;
  std::optional<int32_t> partitions;
  int16_t replication = 0;
  std::map<std::string, std::string> config;
};

struct Metrics {
  std::atomic<uint64_t> records_appended{0}, bytes_appended{0}, batches_appended{0};
  std::atomic<uint64_t> bytes_fetched{0}, syncs{0}, sync_failures{0};
};

// A whole broker without a socket: topics and their partitions on one data directory, the metadata
// log, consumer groups, the sync lane and upkeep. Everything that embeds or serves Millrace stands
// on it. Thread-safe. After a fork every call in the child answers forked, and destruction does
// nothing.
class Broker {
 public:
  // Every problem of the options is reported at once, each with its name, value and accepted range.
  static StatusOr<std::shared_ptr<Broker>> Open(Options options);
  virtual ~Broker() = default;

  // ---- topics
  virtual std::shared_ptr<const MetadataImage> metadata() const = 0;
  // Moves with every change of metadata(): a cached handle is good while it stands still. One
  // atomic load.
  virtual uint64_t metadata_version() const = 0;
  virtual Status CreateTopic(const CreateTopicRequest& request) = 0;
  virtual Status DeleteTopic(std::string_view name) = 0;
  virtual Status AddPartitions(std::string_view name, int32_t total) = 0;
  // A null value goes back to the default. All or nothing.
  virtual Status AlterConfig(std::string_view name,
                             const std::map<std::string, std::optional<std::string>>& changes) = 0;
  // Every config of the topic with its value, source and default.
  virtual StatusOr<std::vector<ConfigEntry>> DescribeConfig(std::string_view name) const = 0;
  // unknown_topic or unknown_partition (naming the count); creates the topic if auto_create_topics.
  virtual StatusOr<std::shared_ptr<Partition>> FindPartition(std::string_view topic,
                                                             int32_t partition) = 0;
  // The partitions of a topic, all of them, in order. Creates the topic if auto_create_topics and
  // `create`.
  virtual StatusOr<std::vector<std::shared_ptr<Partition>>> FindTopic(std::string_view topic,
                                                                      bool create) = 0;
  // Durably moves the log start of each partition to the offset (-1: to the high watermark).
  // Nothing is deleted when any entry is wrong: unknown_topic, unknown_partition,
  // offset_out_of_range.
  virtual Status DeleteRecords(const OffsetMap& before) = 0;
  // A producer id that nobody got before and nobody gets again.
  virtual StatusOr<int64_t> AllocateProducerId() = 0;
  // Rings on every change of metadata (for pattern subscriptions and partition growth).
  virtual void AddMetadataListener(std::shared_ptr<Bell> bell) = 0;
  virtual void RemoveMetadataListener(const Bell* bell) = 0;

  // Runs `task`, which must not throw, where it keeps nobody waiting but those who choose to:
  // whatever of the disk hangs in it. Perhaps here: in memory, without threads (then the caller
  // waits for all of it), on the broker's own ones, and once it closes.
  virtual void RunApart(absl::AnyInvocable<void()> task) = 0;

  // ---- groups (coordinator/group_coordinator.h says what each does)
  // Has what the group's state is kept in, made and loaded as it may be: the first use waits for
  // that otherwise.
  virtual Status PrepareGroup(std::string_view group) = 0;
  // The group's state loads on first use. `bell` (may be null) rings when the group's assignment
  // may have changed, until the member leaves or is removed. `synced` (never null) is called, as
  // that of a commit, once what the reply says is as durable as the flush policy asks for; a leave
  // is synced under every policy. Before that nothing may be done on its strength.
  virtual StatusOr<coordinator::HeartbeatReply> GroupHeartbeat(const coordinator::Heartbeat& beat,
                                                               std::shared_ptr<Bell> bell,
                                                               SyncDone synced) = 0;
  virtual void GroupTouch(std::string_view group, std::string_view member_id) = 0;
  virtual uint64_t GroupVersion(std::string_view group) const = 0;
  // OK: accepted, and visible to CommittedOffsets at once. With `synced` it is written now, and
  // `synced` called once that is durable: on any thread, perhaps before this returns. Without
  // (null) it is written within 100 ms, with whatever of the group is written before that, or at
  // Close. Refuses offsets beyond the high watermark.
  virtual Status CommitOffsets(const coordinator::OffsetCommit& commit, SyncDone synced) = 0;
  virtual StatusOr<std::map<TopicPartition, coordinator::CommittedOffset>> CommittedOffsets(
      std::string_view group) = 0;
  virtual Status AlterGroupOffsets(std::string_view group, const OffsetMap& next) = 0;
  virtual Status DeleteGroupOffsets(std::string_view group,
                                    const std::vector<TopicPartition>& partitions) = 0;
  virtual StatusOr<std::vector<std::pair<std::string, coordinator::GroupState>>> ListGroups() = 0;
  virtual StatusOr<coordinator::GroupDescription> DescribeGroup(std::string_view group) = 0;
  virtual Status DeleteGroup(std::string_view group) = 0;

  // ---- life
  virtual Status Sync() = 0;            // everything written so far to stable storage
  virtual Status RunMaintenance() = 0;  // all that is due now, on this thread
  // Runs `task` on the upkeep thread (or in RunMaintenance) at Elapsed() >= when; once. For linger
  // and the like. The returned id cancels it; a task that has begun is waited for, unless it is the
  // caller. Close drops the tasks that have not begun.
  virtual uint64_t CallAt(absl::Duration when, absl::AnyInvocable<void()> task) = 0;
  virtual void CancelCall(uint64_t id) = 0;
  virtual Status Checkpoint(const std::string& directory) = 0;
  // Stops new work, rings every bell, drains, syncs, writes the manifest, releases the lock. Again:
  // OK.
  virtual Status Close(absl::Duration timeout) = 0;
  virtual bool closed() const = 0;
  // OK; or closed, forked, or why the directory failed: what a call would be answered.
  virtual Status usable() const = 0;

  virtual Clock& clock() = 0;
  virtual Random& random() = 0;
  virtual BufferPool& buffers() = 0;
  virtual const Metrics& metrics() const = 0;
  virtual const Options& options() const = 0;
  virtual const std::string& incarnation() const = 0;  // uuid text of this opening
  // One line a partition whose recovery was not clean, for the log and for `log verify`.
  virtual std::vector<std::pair<TopicPartition, log::RecoveryReport>> recovery_reports() const = 0;
};

}  // namespace millrace::broker
