// What changes the metadata: topics, their partitions and configs, producer ids.
#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/kill_point.h"
#include "base/no_throw.h"
#include "base/status_macros.h"
#include "broker/broker_impl.h"
#include "broker/quoted.h"

namespace millrace::broker {
namespace {

constexpr int32_t kMaxPartitions = 100000;
constexpr int64_t kProducerIdBlock = 1000;
constexpr int64_t kMaxEpochsBehind = 100000;  // of metadata behind a log
constexpr std::string_view kOffsetsTopic = "__consumer_offsets";

// Kafka makes metric names of topic names, where '.' and '_' are the same.
std::string MetricName(std::string_view name) {
  std::string metric(name);
  std::ranges::replace(metric, '.', '_');
  return metric;
}

Status UnknownTopic(std::string_view name) {
  return MakeError(ErrorId::kUnknownTopic, fmt::format("topic {} does not exist", Quoted(name)),
                   {.topic = name});
}

Status CheckPartitionCount(int32_t partitions) {
  if (partitions >= 1 && partitions <= kMaxPartitions) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidPartitions,
                   fmt::format("{} partitions; allowed: [1, {}]", partitions, kMaxPartitions));
}

Status CheckMinInsync(const TopicConfig& config) {
  if (config.min_insync_replicas <= 1) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidConfig,
                   fmt::format("min.insync.replicas: {} is more than the topic's replicas, 1",
                               config.min_insync_replicas));
}

}  // namespace

std::shared_ptr<const MetadataImage> BrokerImpl::metadata() const {
  MutexLock lock(image_mu_);
  return image_;
}

StatusOr<std::shared_ptr<const TopicImage>> BrokerImpl::TopicOrError(std::string_view name) const {
  const auto image = metadata();
  const auto it = image->topics.find(name);
  if (it == image->topics.end()) return UnknownTopic(name);
  return it->second;
}

Status BrokerImpl::Change(const std::vector<schema::MetadataRecord>& records) {
  MutexLock lock(log_mu_);
  return ChangeLocked(records);
}

Status BrokerImpl::ChangeLocked(const std::vector<schema::MetadataRecord>& records) {
  MILLRACE_RETURN_IF_ERROR(metadata_log_->Append(records));
  MutexLock image_lock(image_mu_);
  image_ = metadata_log_->image();
  version_.store(image_->version, std::memory_order_seq_cst);
  return absl::OkStatus();
}

void BrokerImpl::TellOfChange() {
  bells_.Ring();
  shared_->upkeep.Arm(groups_job_, shared_->clock->Elapsed());
}

// ---- topics

Status BrokerImpl::CreateTopic(const CreateTopicRequest& request) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  MILLRACE_RETURN_IF_ERROR(CheckTopicName(request.name));
  if (IsInternalTopic(request.name)) {
    return MakeError(
        ErrorId::kInvalidTopic,
        fmt::format("topic {} is the broker's own; it is made when it is needed", request.name),
        {.topic = request.name});
  }
  {
    MutexLock lock(admin_mu_);
    MILLRACE_RETURN_IF_ERROR(CreateLocked(request));
  }
  TellOfChange();
  return absl::OkStatus();
}

Status BrokerImpl::CheckCreate(const CreateTopicRequest& request, int32_t partitions) const {
  const auto image = metadata();
  if (const auto it = image->topics.find(request.name); it != image->topics.end()) {
    return MakeError(
        ErrorId::kTopicExists,
        fmt::format("topic {} exists already, with {} partition{}", request.name,
                    it->second->partitions.size(), it->second->partitions.size() == 1 ? "" : "s"),
        {.topic = request.name});
  }
  if (request.name.find_first_of("._") != std::string::npos) {
    const std::string metric = MetricName(request.name);
    for (const auto& [name, topic] : image->topics) {
      if (MetricName(name) != metric) continue;
      return MakeError(ErrorId::kInvalidTopic,
                       fmt::format("topic {} differs from topic {} only by '.' and '_', which "
                                   "metrics cannot tell apart",
                                   request.name, name),
                       {.topic = request.name});
    }
  }
  if (Status counted = CheckPartitionCount(partitions); !counted.ok()) {
    return Annotate(counted, fmt::format("topic {}", request.name));
  }
  if (request.replication < -1 || request.replication > 1) {
    return MakeError(ErrorId::kInvalidReplication,
                     fmt::format("topic {}: {} replicas; allowed: 1, or 0 or -1 for the default, "
                                 "since this broker is by itself",
                                 request.name, request.replication),
                     {.topic = request.name});
  }
  auto config = ParseTopicConfig(request.config, shared_->options.topic_defaults);
  Status valid = config.ok() ? CheckMinInsync(*config) : config.status();
  return Annotate(valid, fmt::format("topic {}", request.name));
}

StatusOr<Uuid> BrokerImpl::NewTopicId() {
  const auto image = metadata();
  while (true) {
    const Uuid id = Uuid::FromRandom(shared_->random->Next(), shared_->random->Next());
    const bool taken = std::ranges::any_of(
        image->topics, [&](const auto& entry) { return entry.second->id == id; });
    MutexLock lock(log_mu_);
    if (!id.IsReserved() && !taken && !metadata_log_->state().tombstones().contains(id)) return id;
  }
}

Status BrokerImpl::CreateLocked(const CreateTopicRequest& request) {
  const int32_t partitions = request.partitions.value_or(shared_->options.default_partitions);
  MILLRACE_RETURN_IF_ERROR(CheckCreate(request, partitions));
  MILLRACE_RETURN_IF_ERROR(CheckFolders(request.name, 0, partitions));
  if (deleted_before_ && metadata()->topics.contains(kOffsetsTopic)) {
    // Offsets of a topic of this name may be left from a deletion that a crash broke off; loading
    // the groups drops them.
    MILLRACE_ASSIGN_OR_RETURN(const Hosts hosts, AllHosts(/*create=*/false));
    for (const auto& host : hosts) MILLRACE_RETURN_IF_ERROR(host->Prepare());
    deleted_before_ = false;
  }
  MILLRACE_ASSIGN_OR_RETURN(const Uuid id, NewTopicId());
  std::vector<schema::MetadataRecord> records;
  records.push_back(schema::TopicRecord{.name = request.name, .topic_id = id});
  for (int32_t i = 0; i < partitions; ++i) records.push_back(MakePartitionRecord(id, i, {}));
  for (const auto& [key, value] : request.config) {
    records.push_back(MakeConfigRecord(request.name, key, value));
  }
  MILLRACE_RETURN_IF_ERROR(Change(records));
  MILLRACE_KILL_POINT(kTopicCreated);
  // Folders are made with the first use of each partition; the metadata alone says that they exist.
  table_.Install(*metadata()->topics.at(request.name), /*fresh=*/true);
  return absl::OkStatus();
}

Status BrokerImpl::CheckFolders(std::string_view topic, int32_t first, int32_t end) {
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                            shared_->files->List(shared_->directory_path));
  std::vector<std::string> taken;
  for (int32_t i = first; i < end; ++i) {
    std::string folder = fmt::format("{}-{}", topic, i);
    if (std::ranges::binary_search(names, folder)) taken.push_back(std::move(folder));
  }
  if (taken.empty()) return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(const auto folders, shared_->directory->ListFolders());
  for (const std::string& name : taken) {
    const auto folder = std::ranges::find(folders, name, &log::LogDirectory::Folder::name);
    const Uuid id = folder == folders.end() ? Uuid{} : folder->topic_id;
    bool dead = false;
    {
      MutexLock lock(log_mu_);
      dead = metadata_log_->state().tombstones().contains(id);
    }
    if (dead) {
      // Left over from a deletion that could not finish.
      MILLRACE_RETURN_IF_ERROR(RemoveRemains({id}, folders));
      continue;
    }
    return MakeError(
        ErrorId::kOrphanData,
        fmt::format(
            "topic {}: the folder {}/{} is there already, of topic id {}, which the metadata "
            "does not know; its data is kept: move it away to use the name",
            topic, shared_->Where(), name, id.ToString()),
        {.topic = topic});
  }
  return absl::OkStatus();
}

Status BrokerImpl::DeleteTopic(std::string_view name) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  MILLRACE_RETURN_IF_ERROR(CheckTopicName(name));
  if (IsInternalTopic(name)) {
    return MakeError(
        ErrorId::kInvalidTopic,
        fmt::format("topic {} holds the broker's own state and cannot be deleted", name),
        {.topic = name});
  }
  Status groups_told;
  {
    MutexLock lock(admin_mu_);
    MILLRACE_ASSIGN_OR_RETURN(const auto topic, TopicOrError(name));
    MILLRACE_RETURN_IF_ERROR(Change({schema::RemoveTopicRecord{.topic_id = topic->id}}));
    MILLRACE_KILL_POINT(kTopicRemoved);
    deleted_before_ = true;
    for (const auto& partition : table_.Remove(name)) {
      partition->Shut(/*deleted=*/true);
      partition->TakeLog().reset();
    }
    // From here on the topic is gone, whatever happens to its remains, and the memory for their
    // removal: they are removed at the latest when the directory is opened next.
    const Status removed = NoThrow([&] {
      return RemoveFolders(topic->id, name, static_cast<int32_t>(topic->partitions.size()));
    });
    LeftForLater(name, "folders", removed);
    groups_told = NoThrow([&]() -> Status {
      MILLRACE_ASSIGN_OR_RETURN(const Hosts hosts, AllHosts(/*create=*/false));
      Status told;
      for (const auto& host : hosts) told.Update(host->OnTopicDeleted(name));
      return told;
    });
  }
  TellOfChange();
  LeftForLater(name, "committed offsets", groups_told);
  return absl::OkStatus();
}

void BrokerImpl::LeftForLater(std::string_view topic, std::string_view what,
                              const Status& why) const {
  if (why.ok()) return;
  NoThrow([&] {
    shared_->Log(Severity::kWarning, fmt::format("topic {}: its {} are left for later: {}", topic,
                                                 what, why.ToString()));
    return absl::OkStatus();
  }).IgnoreError();  // a line of the log
}

Status BrokerImpl::RemoveFolders(const Uuid& id, std::string_view name, int32_t partitions) {
  for (int32_t i = 0; i < partitions; ++i) {
    MILLRACE_RETURN_IF_ERROR(
        shared_->directory->DeletePartition(fmt::format("{}-{}", name, i), id, i));
  }
  MutexLock lock(log_mu_);
  metadata_log_->state().ClearTombstone(id);
  return absl::OkStatus();
}

Status BrokerImpl::RemoveRemains(const std::set<Uuid>& dead,
                                 const std::vector<log::LogDirectory::Folder>& folders) {
  for (const log::LogDirectory::Folder& folder : folders) {
    if (!dead.contains(folder.topic_id)) continue;
    const size_t dash = folder.name.rfind('-');
    int32_t partition = 0;
    std::from_chars(folder.name.data() + dash + 1, folder.name.data() + folder.name.size(),
                    partition);
    MILLRACE_RETURN_IF_ERROR(
        shared_->directory->DeletePartition(folder.name, folder.topic_id, partition));
  }
  MutexLock lock(log_mu_);
  for (const Uuid& id : dead) metadata_log_->state().ClearTombstone(id);
  return absl::OkStatus();
}

Status BrokerImpl::AddPartitions(std::string_view name, int32_t total) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  {
    MutexLock lock(admin_mu_);
    MILLRACE_ASSIGN_OR_RETURN(const auto topic, TopicOrError(name));
    const auto now = static_cast<int32_t>(topic->partitions.size());
    if (topic->internal) {
      return MakeError(ErrorId::kInvalidTopic,
                       fmt::format("topic {}: the count of an internal topic's partitions is fixed "
                                   "when it is made",
                                   name),
                       {.topic = name});
    }
    if (total <= now || total > kMaxPartitions) {
      return MakeError(ErrorId::kInvalidPartitions,
                       fmt::format("topic {} has {} partitions, and {} in all are asked for; "
                                   "allowed: [{}, {}]",
                                   name, now, total, now + 1, kMaxPartitions),
                       {.topic = name});
    }
    MILLRACE_RETURN_IF_ERROR(CheckFolders(name, now, total));
    std::vector<schema::MetadataRecord> records;
    for (int32_t i = now; i < total; ++i) records.push_back(MakePartitionRecord(topic->id, i, {}));
    MILLRACE_RETURN_IF_ERROR(Change(records));
    table_.Install(*metadata()->topics.find(name)->second, /*fresh=*/true);
  }
  TellOfChange();
  return absl::OkStatus();
}

// ---- configs

Status BrokerImpl::AlterConfig(std::string_view name,
                               const std::map<std::string, std::optional<std::string>>& changes) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  {
    MutexLock lock(admin_mu_);
    MILLRACE_ASSIGN_OR_RETURN(const auto topic, TopicOrError(name));
    if (topic->internal) {
      return MakeError(
          ErrorId::kInvalidTopic,
          fmt::format("topic {} holds the broker's own state; its config is not for others", name),
          {.topic = name});
    }
    ConfigMap own = topic->config;
    std::vector<schema::MetadataRecord> records;
    for (const auto& [key, value] : changes) {
      if (value.has_value()) {
        own[key] = *value;
      } else {
        own.erase(key);
      }
      records.push_back(MakeConfigRecord(topic->name, key, value));
    }
    // A name that is taken back must be known too, or a typing error would pass for a success.
    ConfigMap named = own;
    for (const auto& [key, value] : changes) {
      if (!value.has_value() && !IsTopicConfig(key)) named[key] = "";
    }
    auto config = ParseTopicConfig(named, shared_->options.topic_defaults);
    Status valid = config.ok() ? CheckMinInsync(*config) : config.status();
    if (!valid.ok()) return Annotate(valid, fmt::format("topic {}", name));
    MILLRACE_RETURN_IF_ERROR(Change(records));
    table_.SetConfig(*metadata()->topics.find(name)->second);
  }
  TellOfChange();
  return absl::OkStatus();
}

StatusOr<std::vector<ConfigEntry>> BrokerImpl::DescribeConfig(std::string_view name) const {
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, TopicOrError(name));
  return DescribeTopicConfig(topic->config, shared_->options.topic_defaults);
}

// ---- partitions

// The metadata has more than the table where memory ran out behind a change: made up for here.
bool BrokerImpl::InstallMissing(std::string_view topic) {
  if (!metadata()->topics.contains(topic)) return false;
  // A table that Close has emptied stays empty.
  const GateEntry inside(calls_);
  if (!inside) return false;
  MutexLock lock(admin_mu_);
  const auto image = metadata();
  const auto found = image->topics.find(topic);
  int32_t count = -1;
  table_.Find(topic, 0, &count);
  if (found == image->topics.end() ||
      count >= static_cast<int32_t>(found->second->partitions.size()))
    return false;
  table_.Install(*found->second, /*fresh=*/true);
  return true;
}

bool BrokerImpl::MayAutoCreate() const {
  return shared_->options.auto_create_topics && !shared_->options.read_only;
}

Status BrokerImpl::AutoCreate(std::string_view topic) {
  CreateTopicRequest request;
  request.name = std::string(topic);
  Status created = CreateTopic(request);
  return ErrorIdOf(created) == ErrorId::kTopicExists ? absl::OkStatus() : created;
}

StatusOr<std::shared_ptr<Partition>> BrokerImpl::FindPartition(std::string_view topic,
                                                               int32_t partition) {
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  int32_t count = -1;
  std::shared_ptr<Partition> found = table_.Find(topic, partition, &count);
  if (found != nullptr) return found;
  if (InstallMissing(topic)) {
    found = table_.Find(topic, partition, &count);
  } else if (count < 0 && MayAutoCreate()) {
    MILLRACE_RETURN_IF_ERROR(AutoCreate(topic));
    found = table_.Find(topic, partition, &count);
  }
  if (found != nullptr) return found;
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());  // it may have been closed meanwhile
  if (count < 0) return UnknownTopic(topic);
  return MakeError(ErrorId::kUnknownPartition,
                   fmt::format("topic {} has no partition {}; its partitions are [0, {})", topic,
                               partition, count),
                   {.topic = topic, .partition = partition});
}

StatusOr<std::vector<std::shared_ptr<Partition>>> BrokerImpl::FindTopic(std::string_view topic,
                                                                        bool create) {
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  auto found = table_.FindTopic(topic);
  if (!found.has_value() && InstallMissing(topic)) {
    found = table_.FindTopic(topic);
  } else if (!found.has_value() && create && MayAutoCreate()) {
    MILLRACE_RETURN_IF_ERROR(AutoCreate(topic));
    found = table_.FindTopic(topic);
  }
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  if (!found.has_value()) return UnknownTopic(topic);
  return std::vector<std::shared_ptr<Partition>>(found->begin(), found->end());
}

Status BrokerImpl::DeleteRecords(const OffsetMap& before) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  std::vector<std::pair<std::shared_ptr<LocalPartition>, Offset>> todo;
  for (const auto& [tp, offset] : before) {
    MILLRACE_RETURN_IF_ERROR(FindPartition(tp.topic, tp.partition).status());
    int32_t count = 0;
    auto partition = table_.Find(tp.topic, tp.partition, &count);
    if (partition == nullptr) return UnknownTopic(tp.topic);
    if (IsInternalTopic(tp.topic)) {
      return MakeError(ErrorId::kInvalidTopic,
                       fmt::format("topic {} holds the broker's own state; its records are not a "
                                   "user's to delete",
                                   tp.topic),
                       {.topic = tp.topic});
    }
    MILLRACE_RETURN_IF_ERROR(partition->EnsureOpen());
    const Offset end = partition->high_watermark();
    if (offset < -1 || offset > end) {
      return MakeError(ErrorId::kOffsetOutOfRange,
                       fmt::format("{}-{}: records before offset {} cannot be deleted; allowed: "
                                   "[0, {}], the high watermark, or -1 for it",
                                   tp.topic, tp.partition, offset, end),
                       {.topic = tp.topic, .partition = tp.partition});
    }
    todo.emplace_back(std::move(partition), offset == -1 ? end : offset);
  }
  for (const auto& [partition, offset] : todo) {
    if (offset <= partition->log_start()) continue;
    MILLRACE_RETURN_IF_ERROR(partition->DeleteRecordsBefore(offset));
  }
  return absl::OkStatus();
}

StatusOr<int32_t> BrokerImpl::BumpEpoch(const TopicPartition& name, const Uuid& topic_id,
                                        int32_t above) {
  MutexLock lock(log_mu_);
  // Deleted meanwhile, perhaps: a change of what is not there must never reach the log.
  MILLRACE_ASSIGN_OR_RETURN(const auto before, TopicOrError(name.topic));
  if (before->id != topic_id) return UnknownTopic(name.topic);
  const auto epoch_of = [&](const TopicImage& topic) {
    return topic.partitions.at(static_cast<size_t>(name.partition)).leader_epoch;
  };
  const int64_t bumps = std::max<int64_t>(1, int64_t{above} - epoch_of(*before) + 1);
  if (bumps > kMaxEpochsBehind) {
    return MakeError(
        ErrorId::kCorruptLog,
        fmt::format("{}-{}: the log is of leader epoch {}, and the metadata know it as "
                    "of {}",
                    name.topic, name.partition, above, epoch_of(*before)),
        {.topic = name.topic, .partition = name.partition});
  }
  const schema::MetadataRecord bump = schema::PartitionChangeRecord{
      .partition_id = name.partition, .topic_id = topic_id, .leader = kNodeId};
  MILLRACE_RETURN_IF_ERROR(
      ChangeLocked(std::vector<schema::MetadataRecord>(static_cast<size_t>(bumps), bump)));
  MILLRACE_ASSIGN_OR_RETURN(const auto after, TopicOrError(name.topic));
  return epoch_of(*after);
}

// ---- producer ids

StatusOr<int64_t> BrokerImpl::AllocateProducerId() {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  const FailureWatch watch(*shared_);
  MutexLock lock(log_mu_);
  if (next_producer_id_ == producer_ids_end_) {
    const int64_t begin = metadata_log_->state().next_producer_id();
    const schema::MetadataRecord record = schema::ProducerIdsRecord{
        .broker_id = kNodeId, .next_producer_id = begin + kProducerIdBlock};
    MILLRACE_RETURN_IF_ERROR(metadata_log_->Append({&record, 1}));
    next_producer_id_ = begin;
    producer_ids_end_ = begin + kProducerIdBlock;
  }
  return next_producer_id_++;
}

StatusOr<int64_t> BrokerImpl::ProcessProducerId() {
  int64_t id = process_producer_id_.load(std::memory_order_acquire);
  if (id >= 0) [[likely]]
    return id;
  MutexLock lock(producer_mu_);
  id = process_producer_id_.load(std::memory_order_acquire);
  if (id >= 0) return id;
  MILLRACE_ASSIGN_OR_RETURN(id, AllocateProducerId());
  process_producer_id_.store(id, std::memory_order_release);
  return id;
}

Status BrokerImpl::EnsureOffsetsTopic() {
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  MutexLock lock(admin_mu_);
  const auto image = metadata();
  if (const auto it = image->topics.find(kOffsetsTopic); it != image->topics.end()) {
    table_.Install(*it->second, /*fresh=*/true);  // it is there, unless memory ran out before
    return absl::OkStatus();
  }
  CreateTopicRequest request;
  request.name = kOffsetsTopic;
  request.partitions = shared_->options.offsets_partitions;
  // As Kafka's; a decision of the coordinator is one batch, however many members a group has.
  request.config = {{"cleanup.policy", "compact"},
                    {"compression.type", "producer"},
                    {"max.message.bytes", "67108864"},
                    {"segment.bytes", "104857600"}};
  return CreateLocked(request);
}

}  // namespace millrace::broker
