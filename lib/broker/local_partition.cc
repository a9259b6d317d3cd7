#include "broker/local_partition.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
#include "base/status_macros.h"

namespace millrace::broker {

LocalPartition::LocalPartition(std::shared_ptr<Shared> shared, TopicPartition name, Uuid topic_id,
                               Traits traits)
    : Partition(std::move(name), topic_id),
      shared_(std::move(shared)),
      internal_(traits.internal),
      fresh_(traits.fresh),
      leader_epoch_(traits.leader_epoch),
      config_(std::move(traits.config)) {}

std::shared_ptr<const TopicConfig> LocalPartition::config() const {
  MutexLock lock(config_mu_);
  return config_;
}

void LocalPartition::SetConfig(const std::shared_ptr<const TopicConfig>& config) {
  const GateEntry inside(gate_);
  {
    MutexLock lock(config_mu_);
    config_ = config;
  }
  // After config_, which is what a log that is being opened right now was given or is about to
  // read.
  MutexLock lock(open_mu_);
  if (inside && owned_log_ != nullptr) owned_log_->SetConfig(config->log);
}

Status LocalPartition::Gone() const {
  return MakeError(ErrorId::kUnknownTopic,
                   fmt::format("{}-{}: topic {} with id {} was deleted", name().topic,
                               name().partition, name().topic, topic_id().ToString()),
                   {.topic = name().topic, .partition = name().partition});
}

Status LocalPartition::WhyShut() const {
  if (deleted()) return Gone();
  Status closed = shared_->Usable();
  if (!closed.ok()) return closed;
  return MakeError(ErrorId::kClosed, fmt::format("{}: the broker is closed", shared_->Where()));
}

// ---- opening

Status LocalPartition::OpenLocked() const {
  if (log_.load(std::memory_order_relaxed) != nullptr) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(open_error_);
  const std::string folder = fmt::format("{}-{}", name().topic, name().partition);
  const std::shared_ptr<const TopicConfig> topic = config();
  std::unique_ptr<log::PartitionLog> log;
  Status opened = shared_->WithBallast([&]() -> Status {
    // Never with `create`: a folder that was there once and is missing now is data loss, and the
    // directory knows by its marks which were there.
    MILLRACE_ASSIGN_OR_RETURN(
        log, shared_->directory->OpenPartition(folder, topic_id(), name().partition, topic->log,
                                               /*create=*/false));
    return absl::OkStatus();
  });
  if (!opened.ok()) {
    const ErrorId id = ErrorIdOf(opened);
    // Reading the same damage again on every call would help nobody.
    if (id == ErrorId::kCorruptLog || id == ErrorId::kOrphanData) open_error_ = opened;
    return opened;
  }
  const log::RecoveryReport& report = log->recovery();
  // The directory was closed well and this log was not: it alone gets its new epoch here, before
  // its first append. After an unclean close all have got theirs. And where the metadata come from
  // an older backup, or the log's epochs from elsewhere, no epoch may be used again.
  const bool reopened = !report.clean && shared_->directory->was_clean();
  const bool behind = log->latest_epoch() > leader_epoch();
  if ((reopened || behind) && !shared_->options.read_only) {
    const auto epoch = shared_->bump_epoch(name(), topic_id(), log->latest_epoch());
    MILLRACE_RETURN_IF_ERROR(epoch.status());
    leader_epoch_.store(*epoch, std::memory_order_release);
  }
  if (!report.clean && shared_->note_recovery) shared_->note_recovery(name(), report);
  // A log that is open holds only what is synced; a read-only opener cannot know, and says so.
  high_watermark_.store(log->log_end(), std::memory_order_seq_cst);
  owned_log_ = std::move(log);
  log_.store(owned_log_.get(), std::memory_order_release);
  return absl::OkStatus();
}

StatusOr<log::PartitionLog*> LocalPartition::Opened() const {
  log::PartitionLog* log = log_.load(std::memory_order_acquire);
  if (log != nullptr) [[likely]]
    return log;
  MutexLock lock(open_mu_);
  MILLRACE_RETURN_IF_ERROR(OpenLocked());
  return owned_log_.get();
}

Status LocalPartition::EnsureOpen() {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  const Status opened = Opened().status();
  return IsUnused(opened) ? absl::OkStatus() : opened;
}

StatusOr<std::shared_ptr<log::PartitionLog>> LocalPartition::log() {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  // The handle stays inside until it is dropped.
  if (!gate_.Enter()) return WhyShut();
  // Should there be no memory for the handle, the deleter runs.
  return std::shared_ptr<log::PartitionLog>(
      log, [self = shared_from_this()](log::PartitionLog*) { self->gate_.Leave(); });
}

// ---- reading

void LocalPartition::AddListener(std::shared_ptr<Bell> bell) {
  bells_.Add(std::move(bell));
  if (shared_->options.read_only)
    shared_->upkeep.Arm(shared_->follow_job, shared_->clock->Elapsed());
}

// A partition that was never used has no folder. A writer makes it on the first use; a reader does
// not.
bool LocalPartition::IsUnused(const Status& status) const {
  return shared_->options.read_only && absl::IsNotFound(status);
}

StatusOr<FetchResult> LocalPartition::Fetch(Offset from, size_t max_bytes, ReadLevel level) {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  const auto opened = Opened();
  if (from == 0 && IsUnused(opened.status())) return FetchResult{.next_offset = 0};
  MILLRACE_RETURN_IF_ERROR(opened.status());
  log::PartitionLog* const log = *opened;
  FetchResult result;
  result.high_watermark = high_watermark_.load(std::memory_order_acquire);
  result.last_stable_offset = result.high_watermark;
  result.log_start = log->log_start();
  const Offset below =
      level == ReadLevel::kCommitted ? result.last_stable_offset : result.high_watermark;
  result.next_offset = from;
  // As Kafka: what is written and not visible yet is no error, there is just nothing to read.
  if (from >= below && from <= std::max(below, log->log_end())) return result;
  StatusOr<log::ReadResult> answer = log->Read(from, below, max_bytes, shared_->pool);
  if (!answer.ok()) return InPartition(answer.status(), name().topic, name().partition);
  log::ReadResult& read = *answer;
  result.buffer = std::move(read.buffer);
  result.bytes = read.bytes;
  if (!read.bytes.empty()) result.next_offset = read.next_offset;
  shared_->metrics.bytes_fetched.fetch_add(read.bytes.size(), std::memory_order_relaxed);
  return result;
}

Offset LocalPartition::high_watermark() const {
  const Offset known = high_watermark_.load(std::memory_order_seq_cst);
  if (known != kNotOpen) [[likely]]
    return known;
  const GateEntry inside(gate_);
  if (!inside || !shared_->Usable().ok() || !Opened().ok()) return 0;
  return high_watermark_.load(std::memory_order_seq_cst);
}

Offset LocalPartition::log_start() const {
  const GateEntry inside(gate_);
  if (!inside || !shared_->Usable().ok()) return 0;
  const auto log = Opened();
  return log.ok() ? (*log)->log_start() : 0;
}

Offset LocalPartition::log_end() const {
  const GateEntry inside(gate_);
  if (!inside || !shared_->Usable().ok()) return 0;
  const auto log = Opened();
  return log.ok() ? (*log)->log_end() : 0;
}

Offset LocalPartition::durable_end() const {
  const GateEntry inside(gate_);
  if (!inside || !shared_->Usable().ok()) return 0;
  const auto log = Opened();
  return log.ok() ? (*log)->synced_end() : 0;
}

StatusOr<std::optional<log::PartitionLog::OffsetForTime>> LocalPartition::FindTime(
    int64_t timestamp_ms) {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  const auto opened = Opened();
  if (IsUnused(opened.status())) return std::nullopt;
  MILLRACE_RETURN_IF_ERROR(opened.status());
  return (*opened)->FindTime(timestamp_ms, high_watermark(), shared_->pool);
}

StatusOr<std::optional<log::PartitionLog::OffsetForTime>> LocalPartition::FindMaxTimestamp() {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  const auto opened = Opened();
  if (IsUnused(opened.status())) return std::nullopt;
  MILLRACE_RETURN_IF_ERROR(opened.status());
  return (*opened)->FindMaxTimestamp(high_watermark(), shared_->pool);
}

std::optional<log::EpochEnd> LocalPartition::EndOfEpoch(int32_t epoch) const {
  const GateEntry inside(gate_);
  if (!inside || !shared_->Usable().ok()) return std::nullopt;
  const auto log = Opened();
  if (!log.ok()) return std::nullopt;
  return (*log)->EndOfEpoch(epoch);
}

// ---- for the broker

bool LocalPartition::needs_sync() const {
  const log::PartitionLog* log = open_log();
  if (log == nullptr) return false;
  if (log->synced_end() < log->log_end()) return true;
  MutexLock lock(mu_);
  return first_waiting_ < waiting_.size();
}

Status LocalPartition::DeleteRecordsBefore(Offset before) {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  MILLRACE_RETURN_IF_ERROR(log->DeleteRecordsBefore(before, high_watermark()));
  bells_.Ring();
  return absl::OkStatus();
}

void LocalPartition::Housekeep(absl::Time now) {
  const GateEntry inside(gate_);
  if (!inside || !shared_->Writable().ok()) return;
  if (fresh_ && open_log() == nullptr) return;
  const auto opened = Opened();
  if (!opened.ok()) return;  // the next one who uses it is told
  log::PartitionLog* const log = *opened;
  const Offset start = log->log_start();
  Status status = log->RollIfDue(now);
  if (status.ok()) status = log->ApplyRetention(now, high_watermark()).status();
  if (!status.ok()) {
    if (const Status failed = shared_->directory->failed(); !failed.ok()) {
      shared_->NoteFailure(failed);
    } else {
      shared_->Log(Severity::kWarning, fmt::format("{}-{}: retention: {}", name().topic,
                                                   name().partition, Text(status)));
    }
  }
  if (log->log_start() != start) bells_.Ring();
  log->ReleaseIdle();
}

void LocalPartition::Follow() {
  const GateEntry inside(gate_);
  if (!inside || !shared_->Usable().ok()) return;
  const bool was_open = open_log() != nullptr;
  if (!was_open && bells_.empty()) return;
  const auto log = Opened();  // of one that was never used, the folder may be there by now
  if (!log.ok()) return;      // the next one who reads is told
  const StatusOr<bool> news = (*log)->Follow();
  bool moved = !was_open || (news.ok() && *news);
  {
    // A read may have followed before, and another thread may be at it: the end decides.
    MutexLock lock(mu_);
    moved |= MoveHighWatermark((*log)->log_end());
  }
  if (moved) bells_.Ring();
}

void LocalPartition::Shut(bool deleted) {
  if (deleted) deleted_.store(true, std::memory_order_seq_cst);
  gate_.Shut();
  if (deleted) FailWaiting(NoThrow([&] { return Gone(); }));
  bells_.Ring();
}

std::unique_ptr<log::PartitionLog> LocalPartition::TakeLog() {
  MutexLock lock(open_mu_);
  log_.store(nullptr, std::memory_order_release);
  return std::move(owned_log_);
}

}  // namespace millrace::broker
