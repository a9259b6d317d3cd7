// Consumer groups: which partition of __consumer_offsets has them, and what the broker alone can
// check.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "broker/broker_impl.h"

namespace millrace::broker {
namespace {

constexpr std::string_view kOffsetsTopic = "__consumer_offsets";

// The epoch of the record before `offset`: the history that a reader at `offset` has read. -1 at
// the beginning of the log, where no history was read.
int32_t EpochBefore(const LocalPartition& partition, Offset offset) {
  if (offset <= partition.log_start()) return -1;
  auto epoch = partition.EndOfEpoch(partition.leader_epoch());
  while (epoch.has_value() && epoch->epoch >= 0) {
    const auto before = partition.EndOfEpoch(epoch->epoch - 1);
    if (!before.has_value() || before->end_offset < offset || before->epoch >= epoch->epoch) {
      return epoch->epoch;
    }
    epoch = before;
  }
  return -1;
}

}  // namespace

StatusOr<BrokerImpl::Hosts> BrokerImpl::AllHosts(bool create) {
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  auto partitions = table_.FindTopic(kOffsetsTopic);
  if (!partitions.has_value()) {
    if (!create) return Hosts{};
    MILLRACE_RETURN_IF_ERROR(EnsureOffsetsTopic());
    TellOfChange();
    partitions = table_.FindTopic(kOffsetsTopic);
    if (!partitions.has_value()) return shared_->Usable();
  }
  MutexLock lock(hosts_mu_);
  if (hosts_.empty()) {
    Hosts made;  // all of them or none
    for (const auto& partition : *partitions) {
      made.push_back(std::make_shared<GroupHost>(
          GroupHost::World{
              .shared = shared_,
              .incarnation = incarnation_,
              .image = [this] { return metadata(); },
              .arm = [this](absl::Duration when) { shared_->upkeep.Arm(groups_job_, when); }},
          partition));
    }
    hosts_ = std::move(made);
  }
  return hosts_;
}

StatusOr<std::shared_ptr<GroupHost>> BrokerImpl::HostOf(std::string_view group, bool create) {
  MILLRACE_ASSIGN_OR_RETURN(const Hosts hosts, AllHosts(create));
  if (hosts.empty()) return std::shared_ptr<GroupHost>();
  return hosts[static_cast<size_t>(PartitionOfGroup(group, static_cast<int32_t>(hosts.size())))];
}

BrokerImpl::Hosts BrokerImpl::LoadedHosts() const {
  MutexLock lock(hosts_mu_);
  return hosts_;
}

void BrokerImpl::MaintainGroups() {
  const FailureWatch watch(*shared_);
  for (const auto& host : LoadedHosts()) host->Maintain();
}

Status BrokerImpl::PrepareGroup(std::string_view group) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(group, /*create=*/true));
  return host->Prepare();
}

StatusOr<coordinator::HeartbeatReply> BrokerImpl::GroupHeartbeat(const coordinator::Heartbeat& beat,
                                                                 std::shared_ptr<Bell> bell,
                                                                 SyncDone synced) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(beat.group, /*create=*/true));
  return host->Heartbeat(beat, std::move(bell), std::move(synced));
}

void BrokerImpl::GroupTouch(std::string_view group, std::string_view member_id) {
  const GateEntry inside(calls_);
  if (!inside || !shared_->Usable().ok()) return;
  const auto host = HostOf(group, /*create=*/false);
  if (host.ok() && *host != nullptr) (*host)->Touch(group, member_id);
}

uint64_t BrokerImpl::GroupVersion(std::string_view group) const {
  if (!shared_->Usable().ok()) return 0;
  const Hosts hosts = LoadedHosts();
  if (hosts.empty()) return 0;
  const auto index = PartitionOfGroup(group, static_cast<int32_t>(hosts.size()));
  return hosts[static_cast<size_t>(index)]->Version(group);
}

Status BrokerImpl::CheckOffsets(std::map<TopicPartition, coordinator::CommittedOffset>* offsets) {
  for (auto& [tp, committed] : *offsets) {
    int32_t count = -1;
    const auto partition = table_.Find(tp.topic, tp.partition, &count);
    if (partition == nullptr) {
      // Its error, without making the topic.
      if (count < 0) {
        MILLRACE_RETURN_IF_ERROR(TopicOrError(tp.topic).status());
      }
      return FindPartition(tp.topic, tp.partition).status();
    }
    MILLRACE_RETURN_IF_ERROR(partition->EnsureOpen());
    const Offset end = partition->high_watermark();
    if (committed.offset < 0 || committed.offset > end) {
      return MakeError(
          ErrorId::kOffsetOutOfRange,
          fmt::format("{}-{}: offset {} cannot be committed; allowed: [0, {}], the high "
                      "watermark",
                      tp.topic, tp.partition, committed.offset, end),
          {.topic = tp.topic, .partition = tp.partition});
    }
    if (committed.leader_epoch < 0) {
      committed.leader_epoch = EpochBefore(*partition, committed.offset);
    }
  }
  return absl::OkStatus();
}

Status BrokerImpl::CommitOffsets(const coordinator::OffsetCommit& commit, SyncDone synced) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  coordinator::OffsetCommit checked = commit;
  MILLRACE_RETURN_IF_ERROR(CheckOffsets(&checked.offsets));
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(commit.group, /*create=*/true));
  return host->Commit(checked, std::move(synced));
}

StatusOr<std::map<TopicPartition, coordinator::CommittedOffset>> BrokerImpl::CommittedOffsets(
    std::string_view group) {
  const GateEntry inside(calls_);
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(group, /*create=*/false));
  if (host == nullptr) return std::map<TopicPartition, coordinator::CommittedOffset>();
  return host->Committed(group);
}

Status BrokerImpl::AlterGroupOffsets(std::string_view group, const OffsetMap& next) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  std::map<TopicPartition, coordinator::CommittedOffset> offsets;
  for (const auto& [tp, offset] : next) {
    offsets[tp].offset = offset;
  }
  MILLRACE_RETURN_IF_ERROR(CheckOffsets(&offsets));
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(group, /*create=*/true));
  return host->AlterOffsets(group, offsets);
}

Status BrokerImpl::DeleteGroupOffsets(std::string_view group,
                                      const std::vector<TopicPartition>& partitions) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(group, /*create=*/false));
  if (host == nullptr) {
    return coordinator::GroupCoordinator(incarnation_).DeleteOffsets(group, partitions).status();
  }
  return host->DeleteOffsets(group, partitions);
}

StatusOr<std::vector<std::pair<std::string, coordinator::GroupState>>> BrokerImpl::ListGroups() {
  const GateEntry inside(calls_);
  MILLRACE_ASSIGN_OR_RETURN(const Hosts hosts, AllHosts(/*create=*/false));
  std::vector<std::pair<std::string, coordinator::GroupState>> all;
  for (const auto& host : hosts) {
    MILLRACE_ASSIGN_OR_RETURN(auto some, host->List());
    all.insert(all.end(), std::make_move_iterator(some.begin()),
               std::make_move_iterator(some.end()));
  }
  std::ranges::sort(all);
  return all;
}

StatusOr<coordinator::GroupDescription> BrokerImpl::DescribeGroup(std::string_view group) {
  const GateEntry inside(calls_);
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(group, /*create=*/false));
  if (host == nullptr) {
    return coordinator::GroupCoordinator(incarnation_)
        .Describe(group);  // its words for "not found"
  }
  return host->Describe(group);
}

Status BrokerImpl::DeleteGroup(std::string_view group) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  MILLRACE_ASSIGN_OR_RETURN(const auto host, HostOf(group, /*create=*/false));
  if (host == nullptr) {
    return coordinator::GroupCoordinator(incarnation_).Delete(group).status();
  }
  return host->Delete(group);
}

}  // namespace millrace::broker
