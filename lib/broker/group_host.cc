#include "broker/group_host.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <set>
#include <variant>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/kill_point.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "record/batch_builder.h"
#include "record/for_each_record.h"

namespace millrace::broker {
namespace {

using coordinator::CommittedOffset;
using coordinator::Decision;
using coordinator::StateRecord;

constexpr absl::Duration kWriteBehind = absl::Milliseconds(100);
constexpr absl::Duration kRetryWrite = absl::Seconds(1);
constexpr size_t kMaxBehind = 10000;  // commits that wait; the next one writes them
constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kSnapshotBatchBytes = 1 << 20;
// The log is compacted when it is at least this long, and this many times what is live.
constexpr uint64_t kCompactFromBytes = 1 << 20;
constexpr uint64_t kCompactFromFactor = 4;

// Rings when it goes out of scope: after the locks and the sync that stand below it.
struct Ringer {
  std::vector<std::shared_ptr<Bell>> bells;
  ~Ringer() {
    for (const auto& bell : bells) bell->Ring();
  }
};

// Throws the coordinator away where memory runs out while it decides, or before what it decided is
// written: its state may be ahead of the log, or half changed. The next call loads it anew.
class Decided {
 public:
  explicit Decided(std::unique_ptr<coordinator::GroupCoordinator>& coordinator)
      : coordinator_(coordinator) {}
  ~Decided() {
    if (std::uncaught_exceptions() > before_) coordinator_ = nullptr;
  }
  Decided(const Decided&) = delete;
  Decided& operator=(const Decided&) = delete;

 private:
  std::unique_ptr<coordinator::GroupCoordinator>& coordinator_;
  const int before_ = std::uncaught_exceptions();
};

}  // namespace

int32_t PartitionOfGroup(std::string_view group, int32_t partitions) {
  uint32_t hash = 0;
  while (!group.empty()) {
    const auto [point, length, valid] = FirstCharacter(group);
    group.remove_prefix(length);
    if (point >= 0x10000) {
      hash = hash * 31 + (0xd800 + ((point - 0x10000) >> 10));
      hash = hash * 31 + (0xdc00 + ((point - 0x10000) & 0x3ff));
    } else {
      hash = hash * 31 + point;
    }
  }
  const auto value = static_cast<int32_t>(hash);
  const int32_t positive = value == INT32_MIN ? 0 : value < 0 ? -value : value;
  return positive % partitions;
}

// The metadata as the coordinator sees it.
class GroupHost::View final : public coordinator::TopicsView {
 public:
  explicit View(std::shared_ptr<const MetadataImage> image) : image_(std::move(image)) {}
  std::optional<Topic> Find(std::string_view name) const override {
    const auto it = image_->topics.find(name);
    if (it == image_->topics.end()) return std::nullopt;
    return ToTopic(*it->second);
  }
  // Patterns do not see internal topics.
  void ForEach(const std::function<void(std::string_view, const Topic&)>& fn) const override {
    for (const auto& [name, topic] : image_->topics) {
      if (!topic->internal) fn(name, ToTopic(*topic));
    }
  }
  uint64_t version() const override { return image_->version; }

 private:
  static Topic ToTopic(const TopicImage& topic) {
    return {.id = topic.id, .partitions = static_cast<int32_t>(topic.partitions.size())};
  }
  std::shared_ptr<const MetadataImage> image_;
};

GroupHost::GroupHost(World world, std::shared_ptr<LocalPartition> partition)
    : world_(std::move(world)),
      partition_(std::move(partition)),
      wall_at_start_(world_.shared->clock->Now()),
      elapsed_at_start_(world_.shared->clock->Elapsed()) {}

// The wall clock as it was at the start, moved on by the other one: a correction of the wall clock
// must not time members out.
absl::Time GroupHost::Now() const {
  return wall_at_start_ + (world_.shared->clock->Elapsed() - elapsed_at_start_);
}

// ---- what every call has in common

template <typename T, typename Decide>
StatusOr<T> GroupHost::Run(std::string_view group, bool durable, SyncDone synced, Decide decide) {
  MILLRACE_RETURN_IF_ERROR(world_.shared->Writable());
  Ringer ringer;
  std::optional<T> reply;
  Offset written = 0;
  {
    MutexLock lock(mu_);
    MILLRACE_RETURN_IF_ERROR(LoadLocked());
    const Decided decided(coordinator_);
    MILLRACE_RETURN_IF_ERROR(TickLocked(&ringer.bells));
    StatusOr<Decision<T>> decision = decide(*coordinator_, Now(), View(world_.image()));
    MILLRACE_RETURN_IF_ERROR(decision.status());
    if (!decision->records.empty() || durable) {
      MILLRACE_RETURN_IF_ERROR(WriteLocked(decision->records, durable));
    }
    CollectBells(group, &ringer.bells);
    ArmLocked();
    reply = std::move(decision->reply);
    written = written_;
  }
  if (durable || world_.shared->options.flush == FlushPolicy::kEachBatch)
    MILLRACE_RETURN_IF_ERROR(SyncAnswer(written, std::move(synced)));
  else if (synced)
    synced(absl::OkStatus());
  return *std::move(reply);
}

template <typename Decide>
Status GroupHost::RunDurably(std::string_view group, Decide decide) {
  return Run<std::monostate>(group, /*durable=*/true, nullptr, std::move(decide)).status();
}

template <typename T, typename Ask>
StatusOr<T> GroupHost::Look(Ask ask) {
  MILLRACE_RETURN_IF_ERROR(world_.shared->Usable());
  if (world_.shared->options.read_only) partition_->Follow();
  MutexLock lock(mu_);
  // Beside a writer: what it has written since is read with all that was before.
  if (world_.shared->options.read_only && partition_->log_end() != written_) coordinator_.reset();
  MILLRACE_RETURN_IF_ERROR(LoadLocked());
  return ask(*coordinator_);
}

Status GroupHost::SyncAnswer(Offset written, SyncDone synced) {
  // Also where this call wrote nothing: what it saw may be on its way to the disk still.
  if (SeededBug(Bug::kCommitNotSynced) || partition_->durable_end() >= written) {
    if (synced) synced(absl::OkStatus());
    return absl::OkStatus();
  }
  MILLRACE_KILL_POINT(kOffsetsWritten);
  return synced ? partition_->WhenSynced(written, std::move(synced)) : partition_->SyncTo(written);
}

void GroupHost::CollectBells(std::string_view group, Bells* ring) {
  const auto it = listeners_.find(group);
  if (it == listeners_.end()) return;
  Listeners& listeners = it->second;
  const uint64_t version = coordinator_->GroupVersion(group);
  if (version == listeners.version) return;
  listeners.version = version;
  for (const auto& [member, bell] : listeners.by_member) ring->push_back(bell);
  // Members that are gone hear of it once.
  const auto description = coordinator_->Describe(group);
  const auto is_member = [&](const std::string& id) {
    return description.ok() &&
           std::ranges::any_of(description->members, [&](const coordinator::MemberDescription& m) {
             return m.member_id == id;
           });
  };
  std::erase_if(listeners.by_member, [&](const auto& entry) { return !is_member(entry.first); });
  if (listeners.by_member.empty()) listeners_.erase(it);
}

Status GroupHost::TickLocked(Bells* ring) {
  const View view(world_.image());
  const absl::Time now = Now();
  if (view.version() == ticked_version_ && now < coordinator_->NextDeadline()) {
    return absl::OkStatus();
  }
  ticked_version_ = view.version();
  const Records records = coordinator_->Tick(now, view);
  if (!records.empty()) MILLRACE_RETURN_IF_ERROR(WriteLocked(records, /*will_sync=*/false));
  std::vector<std::string> groups;
  for (const auto& [group, unused] : listeners_) groups.push_back(group);
  for (const std::string& group : groups) CollectBells(group, ring);
  return absl::OkStatus();
}

void GroupHost::ArmLocked() {
  absl::Duration due = behind_due_;
  if (coordinator_ != nullptr && coordinator_->NextDeadline() != absl::InfiniteFuture()) {
    due = std::min(due, elapsed_at_start_ + (coordinator_->NextDeadline() - wall_at_start_));
  }
  if (CompactionIsDue()) due = world_.shared->clock->Elapsed();
  if (due != absl::InfiniteDuration()) world_.arm(due);
}

// ---- loading and writing

Status GroupHost::Prepare() {
  MILLRACE_RETURN_IF_ERROR(partition_->EnsureOpen());  // makes its folder, with nobody's lock held
  MutexLock lock(mu_);
  return LoadLocked();
}

StatusOr<Offset> GroupHost::ReplayLog(Coordinator& loading) const {
  MILLRACE_ASSIGN_OR_RETURN(const auto log, partition_->log());
  BufferPool& pool = world_.shared->pool;
  const Offset end = log->log_end();
  Offset from = log->log_start();
  while (from < end) {
    MILLRACE_ASSIGN_OR_RETURN(const log::ReadResult read, log->Read(from, end, kReadBytes, pool));
    MILLRACE_RETURN_IF_ERROR(
        record::ForEachRecord(read.bytes, record::RecordLimits{}.max_uncompressed_bytes, pool,
                              [&](const record::RecordFields& fields) -> Status {
                                if (fields.offset < from) return absl::OkStatus();
                                std::optional<std::span<const std::byte>> value;
                                if (!fields.value.is_null()) value = fields.value.span();
                                return loading.Replay(fields.key.span(), value);
                              }));
    from = read.next_offset;
  }
  return end;
}

Status GroupHost::LoadLocked() {
  if (coordinator_ != nullptr) return absl::OkStatus();
  auto loading = std::make_unique<Coordinator>(world_.incarnation);
  const View view(world_.image());
  const StatusOr<Offset> replayed = ReplayLog(*loading);
  if (!replayed.ok())
    return Annotate(replayed.status(), "the state of consumer groups cannot be loaded");
  // Commits that were accepted and could not be written yet stand above what the log says.
  for (const auto& [key, record] : behind_) {
    std::optional<std::span<const std::byte>> value;
    if (record.value.has_value()) value = *record.value;
    MILLRACE_RETURN_IF_ERROR(loading->Replay(key, value));
  }
  Records records = loading->FinishLoading(Now(), view);
  const Decided decided(coordinator_);
  coordinator_ = std::move(loading);
  ticked_version_ = view.version();
  written_ = *replayed;
  ForgetLostTopics(view, &records);
  if (records.empty() || world_.shared->options.read_only) return absl::OkStatus();
  return WriteLocked(records, /*will_sync=*/false);
}

void GroupHost::ForgetLostTopics(const View& topics, Records* records) {
  // A crash may have fallen between the deletion of a topic and that of its offsets. They must not
  // be there when a topic of the same name is made.
  std::set<std::string> lost;
  for (const auto& [group, state] : coordinator_->List()) {
    for (const auto& [tp, offset] : coordinator_->AllCommitted(group)) {
      if (!topics.Find(tp.topic).has_value()) lost.insert(tp.topic);
    }
  }
  for (const std::string& topic : lost) {
    Records more = coordinator_->OnTopicDeleted(topic);
    records->insert(records->end(), std::make_move_iterator(more.begin()),
                    std::make_move_iterator(more.end()));
  }
}

Status GroupHost::WriteLocked(const Records& records, bool will_sync) {
  Records waiting;
  waiting.reserve(behind_.size());
  for (const auto& [key, record] : behind_) waiting.push_back(record);
  if (waiting.empty() && records.empty()) return absl::OkStatus();
  // What waits goes first: a record of the same key that is decided now is the newer one.
  Status appended = AppendLocked(waiting, records, will_sync);
  if (!appended.ok()) {
    // The coordinator's state is ahead of the log. It is loaded anew by the next call, with what
    // waits.
    coordinator_ = nullptr;
    return Annotate(appended, "the state of consumer groups cannot be written");
  }
  behind_.clear();
  behind_due_ = absl::InfiniteDuration();
  return absl::OkStatus();
}

Status GroupHost::AppendLocked(const Records& first, const Records& then, bool will_sync) {
  record::BatchBuilder builder(world_.shared->pool);
  const int64_t now_ms = absl::ToUnixMillis(world_.shared->clock->Now());
  const auto add = [&](const StateRecord& record) {
    const Bytes value = record.value ? Bytes(std::span<const std::byte>(*record.value)) : Bytes();
    builder.Append(now_ms, Bytes(std::span<const std::byte>(record.key)), value);
  };
  for (const StateRecord& record : first) add(record);
  for (const StateRecord& record : then) add(record);
  MILLRACE_ASSIGN_OR_RETURN(const record::EncodedBatch batch, builder.Finish());
  AppendOptions options;
  options.acks = AckLevel::kLeader;  // the answer is not the append's, but this host's
  options.idempotent = false;
  options.caller_syncs = will_sync;
  Offset end = 0;
  MILLRACE_RETURN_IF_ERROR(world_.shared->WithBallast([&] {
    return partition_->AppendState(batch, options, [&end](const StatusOr<Appended>& appended) {
      if (appended.ok()) end = appended->next_offset;
    });
  }));
  written_ = std::max(written_, end);
  return absl::OkStatus();
}

// ---- members

StatusOr<coordinator::HeartbeatReply> GroupHost::Heartbeat(const coordinator::Heartbeat& beat,
                                                           std::shared_ptr<Bell> bell,
                                                           SyncDone synced) {
  const bool leaves = beat.member_epoch < 0;
  const auto forget = [&] {
    MutexLock lock(mu_);
    const auto it = listeners_.find(beat.group);
    if (it == listeners_.end()) return;
    it->second.by_member.erase(beat.member_id);
    if (it->second.by_member.empty()) listeners_.erase(it);
  };
  auto reply = Run<coordinator::HeartbeatReply>(
      beat.group, /*durable=*/leaves, std::move(synced),
      [&](Coordinator& groups, absl::Time now, const View& view)
          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
            auto decision = groups.OnHeartbeat(beat, now, view);
            if (decision.ok() && !leaves && bell != nullptr) {
              Listeners& listeners = listeners_[beat.group];
              listeners.by_member[beat.member_id] = bell;
              if (listeners.by_member.size() == 1)
                listeners.version = groups.GroupVersion(beat.group);
            }
            return decision;
          });
  if (leaves || !reply.ok()) forget();
  return reply;
}

void GroupHost::Touch(std::string_view group, std::string_view member_id) {
  MutexLock lock(mu_);
  if (coordinator_ != nullptr) coordinator_->Touch(group, member_id, Now());
}

uint64_t GroupHost::Version(std::string_view group) {
  MutexLock lock(mu_);
  return coordinator_ == nullptr ? 0 : coordinator_->GroupVersion(group);
}

// ---- offsets

Status GroupHost::Commit(const coordinator::OffsetCommit& commit, SyncDone synced) {
  if (synced) {
    return Run<std::monostate>(commit.group, /*durable=*/true, std::move(synced),
                               [&](Coordinator& groups, absl::Time now,
                                   const View& topics) -> StatusOr<Decision<std::monostate>> {
                                 MILLRACE_RETURN_IF_ERROR(CheckTopicIds(commit, topics));
                                 return groups.OnCommit(commit, now);
                               })
        .status();
  }
  MILLRACE_RETURN_IF_ERROR(world_.shared->Writable());
  MutexLock lock(mu_);
  MILLRACE_RETURN_IF_ERROR(LoadLocked());
  const Decided decided(coordinator_);
  MILLRACE_RETURN_IF_ERROR(CheckTopicIds(commit, View(world_.image())));
  MILLRACE_ASSIGN_OR_RETURN(auto decision, coordinator_->OnCommit(commit, Now()));
  for (StateRecord& record : decision.records) {
    std::vector<std::byte> key = record.key;
    behind_.insert_or_assign(std::move(key), std::move(record));
  }
  if (behind_.size() > kMaxBehind) return WriteLocked({}, /*will_sync=*/false);
  if (behind_due_ == absl::InfiniteDuration() && !behind_.empty()) {
    behind_due_ = world_.shared->clock->Elapsed() + kWriteBehind;
    ArmLocked();
  }
  return absl::OkStatus();
}

// A topic's offsets are deleted after the topic, and under this lock: what finds it here still is
// deleted with them.
Status GroupHost::CheckTopicIds(const coordinator::OffsetCommit& commit, const View& topics) const {
  for (const auto& [name, id] : commit.topic_ids) {
    const auto topic = topics.Find(name);
    if (topic.has_value() && topic->id == id) continue;
    return MakeError(ErrorId::kUnknownTopic,
                     fmt::format("group '{}': the topic '{}' with id {} was deleted", commit.group,
                                 name, id.ToString()),
                     {.topic = name});
  }
  return absl::OkStatus();
}

StatusOr<std::map<TopicPartition, CommittedOffset>> GroupHost::Committed(std::string_view group) {
  using Result = std::map<TopicPartition, CommittedOffset>;
  return Look<Result>([&](Coordinator& groups) { return groups.AllCommitted(group); });
}

Status GroupHost::AlterOffsets(std::string_view group,
                               const std::map<TopicPartition, CommittedOffset>& offsets) {
  return RunDurably(group, [&](Coordinator& groups, absl::Time now, const View&) {
    return groups.AlterOffsets(group, offsets, now);
  });
}

Status GroupHost::DeleteOffsets(std::string_view group,
                                const std::vector<TopicPartition>& partitions) {
  return RunDurably(group, [&](Coordinator& groups, absl::Time, const View&) {
    return groups.DeleteOffsets(group, partitions);
  });
}

Status GroupHost::OnTopicDeleted(std::string_view topic) {
  return RunDurably("", [&](Coordinator& groups, absl::Time, const View&) {
    return StatusOr<Decision<std::monostate>>(
        Decision<std::monostate>{{}, groups.OnTopicDeleted(topic)});
  });
}

// ---- groups

StatusOr<std::vector<std::pair<std::string, coordinator::GroupState>>> GroupHost::List() {
  using Result = std::vector<std::pair<std::string, coordinator::GroupState>>;
  return Look<Result>([](Coordinator& groups) { return groups.List(); });
}

StatusOr<coordinator::GroupDescription> GroupHost::Describe(std::string_view group) {
  return Look<coordinator::GroupDescription>(
      [&](Coordinator& groups) { return groups.Describe(group); });
}

Status GroupHost::Delete(std::string_view group) {
  return RunDurably(
      group, [&](Coordinator& groups, absl::Time, const View&) { return groups.Delete(group); });
}

// ---- upkeep

Status GroupHost::WriteBehind() {
  MutexLock lock(mu_);
  return WriteLocked({}, /*will_sync=*/false);
}

void GroupHost::Maintain() {
  if (!world_.shared->Writable().ok()) return;
  Ringer ringer;
  Status status;
  {
    MutexLock lock(mu_);
    const Decided decided(coordinator_);
    if (world_.shared->clock->Elapsed() >= behind_due_) {
      status = WriteLocked({}, /*will_sync=*/false);
      if (!status.ok()) behind_due_ = world_.shared->clock->Elapsed() + kRetryWrite;
    }
    if (status.ok() && coordinator_ != nullptr) status = TickLocked(&ringer.bells);
    ArmLocked();
  }
  if (status.ok()) status = Compact();
  if (!status.ok()) world_.shared->Log(Severity::kWarning, Text(status));
}

bool GroupHost::CompactionIsDue() {
  const log::PartitionLog* log = partition_->open_log();
  if (log == nullptr || coordinator_ == nullptr) return false;
  if (world_.shared->clock->Elapsed() < compact_from_) return false;
  const uint64_t size = log->size_bytes();
  return size >= kCompactFromBytes && size >= 2 * compacted_bytes_ &&
         size >= kCompactFromFactor * coordinator_->live_bytes();
}

Status GroupHost::Compact() {
  Offset start = 0;
  Offset end = 0;
  {
    MutexLock lock(mu_);
    if (!CompactionIsDue()) return absl::OkStatus();
    compact_from_ = world_.shared->clock->Elapsed() + kRetryWrite;  // should this one fail
    MILLRACE_RETURN_IF_ERROR(WriteSnapshot(&start, &end));
  }
  // Only when the copy is durable may the original go. A copy that a crash breaks off repeats what
  // the log says before it.
  MILLRACE_RETURN_IF_ERROR(partition_->SyncTo(end));
  MILLRACE_RETURN_IF_ERROR(partition_->DeleteRecordsBefore(start));
  MutexLock lock(mu_);
  compact_from_ = -absl::InfiniteDuration();
  if (const log::PartitionLog* log = partition_->open_log()) compacted_bytes_ = log->size_bytes();
  return absl::OkStatus();
}

Status GroupHost::WriteSnapshot(Offset* start, Offset* end) {
  MILLRACE_RETURN_IF_ERROR(WriteLocked({}, /*will_sync=*/true));
  MILLRACE_ASSIGN_OR_RETURN(const auto log, partition_->log());
  MILLRACE_RETURN_IF_ERROR(log->Roll());  // so that all that is before can go
  *start = log->log_end();
  Records batch;
  size_t batch_bytes = 0;
  for (StateRecord& record : coordinator_->Snapshot()) {
    batch_bytes += record.key.size() + (record.value ? record.value->size() : 0);
    batch.push_back(std::move(record));
    if (batch_bytes < kSnapshotBatchBytes) continue;
    MILLRACE_RETURN_IF_ERROR(AppendLocked(batch, {}, /*will_sync=*/true));
    batch.clear();
    batch_bytes = 0;
  }
  if (!batch.empty()) MILLRACE_RETURN_IF_ERROR(AppendLocked(batch, {}, /*will_sync=*/true));
  *end = log->log_end();
  return absl::OkStatus();
}

void GroupHost::RingAll() {
  MutexLock lock(mu_);
  for (const auto& [group, listeners] : listeners_) {
    for (const auto& [member, bell] : listeners.by_member) bell->Ring();
  }
}

}  // namespace millrace::broker
