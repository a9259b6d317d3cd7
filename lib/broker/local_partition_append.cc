// What happens to an append between the checks and its answer.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "broker/local_partition.h"

namespace millrace::broker {
namespace {

// What an append is told whose bytes were written, and may be on the disk or not.
Status PossiblyPersisted(const Status& why, const TopicPartition& name) {
  const absl::string_view text = why.message();
  return MakeError(ErrorIdOf(why),
                   fmt::format("{}-{}: {}", name.topic, name.partition,
                               std::string_view(text.data(), text.size())),
                   {.topic = name.topic,
                    .partition = name.partition,
                    .persistence = Persistence::kPossiblyPersisted});
}

// A queue that was long once gives its memory back.
constexpr size_t kKeptQueueSlots = 32;

}  // namespace

Status LocalPartition::Append(const record::EncodedBatch& batch, const AppendOptions& options,
                              AppendDone done) {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(internal_ ? shared_->WritableInside() : shared_->Writable());
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  const std::shared_ptr<const TopicConfig> topic = config();
  StatusOr<PreparedBatch> prepared =
      internal_
          ? PreparedBatch{.bytes = batch.bytes(),
                          .owner = {},
                          .payload_crc = batch.payload_crc,
                          .record_count = batch.record_count,
                          .is_control = false,
                          .log_append_time_ms = {}}
          : PrepareBatch(batch, options, *topic, shared_->clock->Now(), name(), shared_->pool);
  MILLRACE_RETURN_IF_ERROR(prepared.status());
  MILLRACE_RETURN_IF_ERROR(CheckQuota(prepared->bytes.size()));

  Appended appended;
  bool answer = false;
  MILLRACE_RETURN_IF_ERROR(Write(log, *prepared, options, *topic, &appended, &done, &answer));
  if (answer) done(appended);
  if (shared_->options.flush != FlushPolicy::kEachBatch) bells_.Ring();
  return absl::OkStatus();
}

Status LocalPartition::CheckQuota(size_t more) const {
  const int64_t limit = shared_->options.max_total_bytes;
  if (limit <= 0 || internal_) return absl::OkStatus();
  const uint64_t used = shared_->directory->total_bytes();
  if (used + more <= static_cast<uint64_t>(limit)) return absl::OkStatus();
  return MakeError(ErrorId::kQuotaReached,
                   fmt::format("{}-{}: {} bytes are stored in {}, and {} more would pass "
                               "max_total_bytes = {}; retention or DeleteRecords makes room",
                               name().topic, name().partition, used, shared_->Where(), more, limit),
                   {.topic = name().topic, .partition = name().partition});
}

Status LocalPartition::Write(log::PartitionLog* log, const PreparedBatch& batch,
                             const AppendOptions& options, const TopicConfig& config,
                             Appended* appended, AppendDone* done, bool* answer) {
  log::AppendRequest request;
  request.payload_crc = batch.payload_crc;
  request.log_append_time_ms = batch.log_append_time_ms;
  if (options.in_process && options.idempotent && !batch.is_control && !internal_) {
    MILLRACE_ASSIGN_OR_RETURN(request.producer_id, shared_->producer_id());
    request.producer_epoch = 0;
    request.assign_sequence = true;
  }
  StatusOr<log::AppendResult> result;
  {
    MutexLock lock(mu_);
    request.leader_epoch = leader_epoch();
    result = log->Append(batch.bytes, request, /*verified=*/true);
    if (result.ok()) {
      *appended = {.base_offset = result->base_offset,
                   .next_offset = result->next_offset,
                   .log_append_time_ms = batch.log_append_time_ms.value_or(-1),
                   .duplicate = result->duplicate};
      if (shared_->options.flush != FlushPolicy::kEachBatch ||
          SeededBug(Bug::kVisibleBeforeDurable)) {
        MoveHighWatermark(result->next_offset);
      }
      *answer = !MustWait(options, *log, result->next_offset);
      if (!*answer) waiting_.push_back({.appended = *appended, .done = std::move(*done)});
      if (!result->duplicate) AskForSync(options, config, batch.record_count, result->rolled);
    }
  }
  if (!result.ok()) {
    if (ErrorIdOf(result.status()) == ErrorId::kInternalInvariant) {
      shared_->directory->Fail(
          result.status());  // our own mistake: no more writes, the host lives on
    }
    // An internal topic's writer holds its own lock here, and looks after it has let go of it.
    if (!internal_) FailureWatch watch(*shared_);
    return result.status();
  }
  if (!appended->duplicate) {
    Metrics& metrics = shared_->metrics;
    metrics.records_appended.fetch_add(static_cast<uint64_t>(batch.record_count),
                                       std::memory_order_relaxed);
    metrics.bytes_appended.fetch_add(batch.bytes.size(), std::memory_order_relaxed);
    metrics.batches_appended.fetch_add(1, std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

bool LocalPartition::MustWait(const AppendOptions& options, const log::PartitionLog& log,
                              Offset end) const {
  const bool for_sync = options.sync || (shared_->options.flush == FlushPolicy::kEachBatch &&
                                         options.acks == AckLevel::kAll);
  if (SeededBug(Bug::kAckBeforeSync)) return false;
  return for_sync && log.synced_end() < end;
}

void LocalPartition::AskForSync(const AppendOptions& options, const TopicConfig& config,
                                int32_t records, bool rolled) {
  unsynced_records_ += records;
  const FlushPolicy policy = shared_->options.flush;
  const bool by_count = policy == FlushPolicy::kEachBatch || config.flush_messages_given;
  const bool due = options.sync || (by_count && unsynced_records_ >= config.flush_messages) ||
                   rolled;  // whatever the policy, closed segments do not stay unsynced
  if (due) {
    if (!options.caller_syncs) shared_->lane.Enqueue(shared_from_this());
  } else if (config.flush_age.has_value()) {
    ArmTimer(*config.flush_age);
  } else if (policy != FlushPolicy::kOs) {
    ArmTimer(shared_->options.flush_interval);
  }
}

void LocalPartition::ArmTimer(absl::Duration age) {
  if (timer_armed_.exchange(true, std::memory_order_acq_rel)) return;
  shared_->upkeep.CallAt(shared_->clock->Elapsed() + age, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->timer_armed_.store(false, std::memory_order_release);
    self->shared_->lane.Enqueue(self);
  });
}

Status LocalPartition::SyncTo(Offset offset) {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  if (shared_->fork.forked()) return shared_->Usable();
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  return SyncOpened(log, std::min(offset, log->log_end()));
}

void LocalPartition::RunSync() {
  const GateEntry inside(gate_);
  // The last syncs come after the gate was shut by Close, which keeps the log for them; the log of
  // a deleted topic is gone.
  if (!inside && deleted()) return;
  log::PartitionLog* const log = open_log();
  if (log == nullptr) return;
  SyncOpened(log, log->log_end()).IgnoreError();  // whoever waits was told
}

Status LocalPartition::SyncOpened(log::PartitionLog* log, Offset offset) {
  if (log->synced_end() < offset) {
    {
      MutexLock lock(mu_);
      unsynced_records_ = 0;
    }
    if (Status synced = log->SyncTo(offset); !synced.ok()) {
      shared_->NoteFailure(synced);
      FailWaiting(synced);
      return synced;
    }
    shared_->ArmMarks();
  }
  Complete(log);
  return absl::OkStatus();
}

bool LocalPartition::MoveHighWatermark(Offset to) {
  if (to <= high_watermark_.load(std::memory_order_relaxed)) return false;
  high_watermark_.store(to, std::memory_order_seq_cst);
  return true;
}

bool LocalPartition::TakeReady(log::PartitionLog* log, std::vector<Waiting>* ready, bool* moved) {
  const Offset synced = log->synced_end();
  if (synced > synced_seen_) {
    synced_seen_ = synced;
    shared_->metrics.syncs.fetch_add(1, std::memory_order_relaxed);
  }
  if (shared_->options.flush == FlushPolicy::kEachBatch && MoveHighWatermark(synced)) *moved = true;
  if (answering_) return false;  // that thread looks again before it leaves
  while (first_waiting_ < waiting_.size() &&
         waiting_[first_waiting_].appended.next_offset <= synced) {
    ready->push_back(std::move(waiting_[first_waiting_++]));
  }
  if (first_waiting_ == waiting_.size()) {
    waiting_.clear();
    first_waiting_ = 0;
    if (waiting_.capacity() > kKeptQueueSlots) waiting_.shrink_to_fit();
  } else if (first_waiting_ > waiting_.size() / 2) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(first_waiting_));
    first_waiting_ = 0;
  }
  answering_ = !ready->empty();
  return answering_;
}

void LocalPartition::Complete(log::PartitionLog* log) {
  std::vector<Waiting> ready;
  bool more = true;
  while (more) {
    // Looked at anew before every answer: a sync that succeeded says nothing once another has
    // failed.
    if (const Status failed = shared_->directory->failed(); !failed.ok()) {
      shared_->NoteFailure(failed);
      return FailWaiting(failed);
    }
    bool moved = false;
    {
      MutexLock lock(mu_);
      more = TakeReady(log, &ready, &moved);
    }
    if (moved) bells_.Ring();
    for (Waiting& append : ready) append.done(append.appended);
    ready.clear();
    if (more) {
      MutexLock lock(mu_);
      answering_ = false;
    }
  }
}

void LocalPartition::FailWaiting(const Status& why) {
  std::vector<Waiting> failed;
  {
    MutexLock lock(mu_);
    failed.assign(
        std::make_move_iterator(waiting_.begin() + static_cast<ptrdiff_t>(first_waiting_)),
        std::make_move_iterator(waiting_.end()));
    waiting_.clear();
    first_waiting_ = 0;
  }
  if (failed.empty()) return;
  const Status told = PossiblyPersisted(why, name());
  for (Waiting& append : failed) append.done(told);
}

}  // namespace millrace::broker
