#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "broker/ballast.h"
#include "broker/bell_list.h"
#include "broker/broker.h"
#include "broker/gate.h"
#include "broker/group_host.h"
#include "broker/housekeeper.h"
#include "broker/metadata_log.h"
#include "broker/shared.h"
#include "broker/topic_table.h"

namespace millrace::broker {

// The broker of one data directory. broker_open.cc has its beginning and end, topic_admin.cc what
// changes the metadata, broker_groups.cc the groups, checkpoint.cc the copy, follow.cc reading
// beside a writer. Lock order: admin_mu_ (one change of topics at a time), then log_mu_ (the
// metadata log), then image_mu_ and the table's. admin_mu_ is held while partitions are shut, so
// nothing inside a partition may take it.
class BrokerImpl final : public Broker {
 public:
  explicit BrokerImpl(Options options);
  ~BrokerImpl() override;
  // Opens the directory and starts the threads. Once, first.
  Status Start();
  // The last: closes, and deletes this, at the latest when the disk lets it.
  void End();

  std::shared_ptr<const MetadataImage> metadata() const override;
  uint64_t metadata_version() const override { return version_.load(std::memory_order_acquire); }
  Status CreateTopic(const CreateTopicRequest& request) override;
  Status DeleteTopic(std::string_view name) override;
  Status AddPartitions(std::string_view name, int32_t total) override;
  Status AlterConfig(std::string_view name,
                     const std::map<std::string, std::optional<std::string>>& changes) override;
  StatusOr<std::vector<ConfigEntry>> DescribeConfig(std::string_view name) const override;
  StatusOr<std::shared_ptr<Partition>> FindPartition(std::string_view topic,
                                                     int32_t partition) override;
  StatusOr<std::vector<std::shared_ptr<Partition>>> FindTopic(std::string_view topic,
                                                              bool create) override;
  Status DeleteRecords(const OffsetMap& before) override;
  StatusOr<int64_t> AllocateProducerId() override;
  void AddMetadataListener(std::shared_ptr<Bell> bell) override;
  void RemoveMetadataListener(const Bell* bell) override { bells_.Remove(bell); }

  void RunApart(absl::AnyInvocable<void()> task) override;
  Status PrepareGroup(std::string_view group) override;
  StatusOr<coordinator::HeartbeatReply> GroupHeartbeat(const coordinator::Heartbeat& beat,
                                                       std::shared_ptr<Bell> bell,
                                                       SyncDone synced) override;
  void GroupTouch(std::string_view group, std::string_view member_id) override;
  uint64_t GroupVersion(std::string_view group) const override;
  Status CommitOffsets(const coordinator::OffsetCommit& commit, SyncDone synced) override;
  StatusOr<std::map<TopicPartition, coordinator::CommittedOffset>> CommittedOffsets(
      std::string_view group) override;
  Status AlterGroupOffsets(std::string_view group, const OffsetMap& next) override;
  Status DeleteGroupOffsets(std::string_view group,
                            const std::vector<TopicPartition>& partitions) override;
  StatusOr<std::vector<std::pair<std::string, coordinator::GroupState>>> ListGroups() override;
  StatusOr<coordinator::GroupDescription> DescribeGroup(std::string_view group) override;
  Status DeleteGroup(std::string_view group) override;

  Status Sync() override;
  Status RunMaintenance() override;
  uint64_t CallAt(absl::Duration when, absl::AnyInvocable<void()> task) override;
  void CancelCall(uint64_t id) override;
  Status Checkpoint(const std::string& directory) override;
  Status Close(absl::Duration timeout) override;
  bool closed() const override { return shared_->closing.load(std::memory_order_acquire); }
  Status usable() const override;

  Clock& clock() override { return *shared_->clock; }
  Random& random() override { return *shared_->random; }
  BufferPool& buffers() override { return shared_->pool; }
  const Metrics& metrics() const override { return shared_->metrics; }
  const Options& options() const override { return shared_->options; }
  const std::string& incarnation() const override { return incarnation_; }
  std::vector<std::pair<TopicPartition, log::RecoveryReport>> recovery_reports() const override;

  bool forked() const { return shared_->fork.forked(); }
  bool OnOwnThread() const { return shared_->OnOwnThread(); }

 private:
  using Hosts = std::vector<std::shared_ptr<GroupHost>>;
  enum class Phase { kNotOpen, kOpen, kClosing, kClosed };

  // ---- broker_open.cc
  Status OpenDirectory();
  Status OpenMetadata();
  Status BumpEpochs();
  Status SettleFolders();
  Status OpenPartitions();
  void NoteOrphan(const log::LogDirectory::Folder& folder);
  void AddJobs();
  void StartThreads();
  bool StartCloser(absl::Duration deadline);  // false: there is no thread for it
  // Closes, and says so. False: this is nobody's but the closer's any more.
  bool RunClose(absl::Duration deadline);
  Status AwaitClose(absl::Duration deadline);
  Status CloseOnce(absl::Duration deadline);
  void RingEverybody();
  Status CloseDirectory(const TopicTable::Partitions& partitions, absl::Duration timeout);
  void Abandon();

  // ---- follow.cc
  // Of a broker that only reads: looks what the writer has done, where somebody listens or
  // `everywhere`. Whether anybody listens.
  bool FollowWriter(bool everywhere);
  Status FollowMetadata();
  absl::Duration FollowJob(absl::Duration now);

  // ---- checkpoint.cc
  Status CopyTo(const std::string& directory);
  Status FinishCopy(const std::string& directory);

  // ---- topic_admin.cc
  StatusOr<std::shared_ptr<const TopicImage>> TopicOrError(std::string_view name) const;
  Status CheckCreate(const CreateTopicRequest& request, int32_t partitions) const;
  Status CheckFolders(std::string_view topic, int32_t first, int32_t end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(admin_mu_);
  StatusOr<Uuid> NewTopicId();
  Status CreateLocked(const CreateTopicRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(admin_mu_);
  // Makes the records durable and publishes the image that they lead to.
  Status Change(const std::vector<schema::MetadataRecord>& records);
  Status ChangeLocked(const std::vector<schema::MetadataRecord>& records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(log_mu_);
  void TellOfChange();
  // Removes what is left of a deleted topic; its tombstone is cleared when nothing is.
  Status RemoveFolders(const Uuid& id, std::string_view name, int32_t partitions);
  // The same for topics of which nothing but the id is known.
  Status RemoveRemains(const std::set<Uuid>& dead,
                       const std::vector<log::LogDirectory::Folder>& folders);
  void LeftForLater(std::string_view topic, std::string_view what, const Status& why) const;
  bool InstallMissing(std::string_view topic);
  bool MayAutoCreate() const;
  Status AutoCreate(std::string_view topic);
  StatusOr<int32_t> BumpEpoch(const TopicPartition& name, const Uuid& topic_id, int32_t above);
  StatusOr<int64_t> ProcessProducerId();
  Status EnsureOffsetsTopic();

  // ---- broker_groups.cc
  // The host of the group; null with OK when there is no __consumer_offsets yet and `create` is
  // false.
  StatusOr<std::shared_ptr<GroupHost>> HostOf(std::string_view group, bool create);
  Hosts LoadedHosts() const;
  StatusOr<Hosts> AllHosts(bool create);
  // Checks each offset against the partition's high watermark, and fills in leader epochs.
  Status CheckOffsets(std::map<TopicPartition, coordinator::CommittedOffset>* offsets);
  void MaintainGroups();

  const std::shared_ptr<Shared> shared_;
  const std::string incarnation_;
  Ballast ballast_;
  TopicTable table_;
  Housekeeper housekeeper_;
  BellList bells_;
  Gate calls_;  // calls that touch the directory; shut when it goes

  mutable Mutex admin_mu_;
  bool deleted_before_ ABSL_GUARDED_BY(admin_mu_) = false;  // topics, by an earlier opening perhaps
  mutable Mutex log_mu_;
  std::unique_ptr<MetadataLog> metadata_log_ ABSL_GUARDED_BY(log_mu_);
  int64_t next_producer_id_ ABSL_GUARDED_BY(log_mu_) = 0;
  int64_t producer_ids_end_ ABSL_GUARDED_BY(log_mu_) = 0;
  std::atomic<int64_t> process_producer_id_{-1};
  Mutex producer_mu_;  // one allocation of process_producer_id_; before log_mu_

  mutable Mutex image_mu_;
  std::shared_ptr<const MetadataImage> image_ ABSL_GUARDED_BY(image_mu_);
  std::atomic<uint64_t> version_{0};

  mutable Mutex hosts_mu_;
  Hosts hosts_ ABSL_GUARDED_BY(hosts_mu_);

  mutable Mutex reports_mu_;
  std::vector<std::pair<TopicPartition, log::RecoveryReport>> reports_ ABSL_GUARDED_BY(reports_mu_);

  Mutex close_mu_;
  CondVar close_done_;
  Phase phase_ ABSL_GUARDED_BY(close_mu_) = Phase::kNotOpen;
  Status close_status_ ABSL_GUARDED_BY(close_mu_);
  std::thread closer_ ABSL_GUARDED_BY(close_mu_);
  bool gave_up_ ABSL_GUARDED_BY(close_mu_) = false;      // a Close, before the closer was done
  bool nobody_left_ ABSL_GUARDED_BY(close_mu_) = false;  // to delete this but the closer

  size_t groups_job_ = 0;
  Status follow_error_ ABSL_GUARDED_BY(admin_mu_);  // the last one, so that it is logged once
};

}  // namespace millrace::broker
