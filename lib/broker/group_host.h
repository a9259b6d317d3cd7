#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "broker/broker.h"
#include "broker/local_partition.h"
#include "coordinator/group_coordinator.h"
#include "env/bell.h"

namespace millrace::broker {

// Which of `partitions` a group's state lives in: Kafka's rule, Java's hash of the name.
int32_t PartitionOfGroup(std::string_view group, int32_t partitions);

// One partition of __consumer_offsets and the groups that live in it. The coordinator decides; the
// host writes what it decided, and answers when that is as durable as it must be. State loads on
// first use. Thread-safe. Lock order: mu_ before a partition's; none is held while syncing or
// ringing.
class GroupHost {
 public:
  struct World {
    std::shared_ptr<Shared> shared;
    std::string incarnation;
    std::function<std::shared_ptr<const MetadataImage>()> image;
    std::function<void(absl::Duration when)> arm;  // has Maintain called at that time
  };
  GroupHost(World world, std::shared_ptr<LocalPartition> partition);

  StatusOr<coordinator::HeartbeatReply> Heartbeat(const coordinator::Heartbeat& beat,
                                                  std::shared_ptr<Bell> bell, SyncDone synced);
  void Touch(std::string_view group, std::string_view member_id);
  uint64_t Version(std::string_view group);
  Status Commit(const coordinator::OffsetCommit& commit, SyncDone synced);
  StatusOr<std::map<TopicPartition, coordinator::CommittedOffset>> Committed(
      std::string_view group);
  Status AlterOffsets(std::string_view group,
                      const std::map<TopicPartition, coordinator::CommittedOffset>& offsets);
  Status DeleteOffsets(std::string_view group, const std::vector<TopicPartition>& partitions);
  StatusOr<std::vector<std::pair<std::string, coordinator::GroupState>>> List();
  StatusOr<coordinator::GroupDescription> Describe(std::string_view group);
  Status Delete(std::string_view group);
  Status OnTopicDeleted(std::string_view topic);

  // Opens the partition and loads the state, if they are not. Offsets of topics that are no more
  // go.
  Status Prepare();
  // What is due: timers of the groups, commits written behind, compaction of the partition.
  void Maintain();
  // Writes the commits that wait; not synced. OK when there are none.
  Status WriteBehind();
  void RingAll();

 private:
  using Coordinator = coordinator::GroupCoordinator;
  using Records = std::vector<coordinator::StateRecord>;
  using Bells = std::vector<std::shared_ptr<Bell>>;
  struct Listeners {
    uint64_t version = 0;
    std::map<std::string, std::shared_ptr<Bell>, std::less<>> by_member;
  };
  class View;

  // Runs `decide` on the loaded coordinator, writes its records, rings. `synced` is called once the
  // reply is durable: always, or where the flush policy asks for it. Null: it is, on return.
  template <typename T, typename Decide>
  StatusOr<T> Run(std::string_view group, bool durable, SyncDone synced, Decide decide);
  template <typename Decide>
  Status RunDurably(std::string_view group, Decide decide);
  // Answers what needs nothing written.
  template <typename T, typename Ask>
  StatusOr<T> Look(Ask ask);

  absl::Time Now() const;
  Status LoadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  StatusOr<Offset> ReplayLog(Coordinator& loading) const;  // to which offset
  void ForgetLostTopics(const View& topics, Records* records) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // unknown_topic where a topic is another one than the commit means.
  Status CheckTopicIds(const coordinator::OffsetCommit& commit, const View& topics) const;
  // Appends what waits and `records` as one batch. An error has thrown the coordinator away.
  Status WriteLocked(const Records& records, bool will_sync) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status AppendLocked(const Records& first, const Records& then, bool will_sync)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status TickLocked(Bells* ring) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CollectBells(std::string_view group, Bells* ring) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool CompactionIsDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status Compact();
  Status WriteSnapshot(Offset* start, Offset* end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `synced` (null: the return) comes once what was written when the answer was made is durable.
  Status SyncAnswer(Offset written, SyncDone synced);

  const World world_;
  const std::shared_ptr<LocalPartition> partition_;
  const absl::Time wall_at_start_;
  const absl::Duration elapsed_at_start_;
  Mutex mu_;
  std::unique_ptr<Coordinator> coordinator_ ABSL_GUARDED_BY(mu_);  // null: not loaded
  // Accepted and not written yet: the newest by key.
  std::map<std::vector<std::byte>, coordinator::StateRecord> behind_ ABSL_GUARDED_BY(mu_);
  absl::Duration behind_due_ ABSL_GUARDED_BY(mu_) = absl::InfiniteDuration();
  std::map<std::string, Listeners, std::less<>> listeners_ ABSL_GUARDED_BY(mu_);
  uint64_t ticked_version_ ABSL_GUARDED_BY(mu_) = 0;
  Offset written_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t compacted_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // what the last compaction left
  absl::Duration compact_from_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
};

}  // namespace millrace::broker
