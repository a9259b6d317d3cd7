// What happens to an append between the checks and its answer.
#include <algorithm>
#include <new>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/no_throw.h"
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
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  if (internal_) {
    return MakeError(ErrorId::kInvalidTopic,
                     fmt::format("topic {} holds the broker's own state; nobody else appends to it",
                                 name().topic),
                     {.topic = name().topic, .partition = name().partition});
  }
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  const std::shared_ptr<const TopicConfig> topic = config();
  MILLRACE_ASSIGN_OR_RETURN(
      const PreparedBatch prepared,
      PrepareBatch(
          batch, options,
          {.name = name(), .config = *topic, .now = shared_->clock->Now(), .pool = shared_->pool}));
  MILLRACE_RETURN_IF_ERROR(CheckRoom(prepared.bytes.size()));
  return AppendPrepared(log, prepared, options, *topic, std::move(done));
}

Status LocalPartition::AppendState(const record::EncodedBatch& batch, const AppendOptions& options,
                                   AppendDone done) {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->WritableInside());
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  const PreparedBatch prepared{.bytes = batch.bytes(),
                               .owner = {},
                               .payload_crc = batch.payload_crc,
                               .record_count = batch.record_count,
                               .is_control = false,
                               .log_append_time_ms = {}};
  return AppendPrepared(log, prepared, options, *config(), std::move(done));
}

Status LocalPartition::AppendPrepared(log::PartitionLog* log, const PreparedBatch& batch,
                                      const AppendOptions& options, const TopicConfig& config,
                                      AppendDone done) {
  MILLRACE_ASSIGN_OR_RETURN(const Written written, Write(log, batch, options, config, &done));
  // Readers first: their wake-up is what a record's latency is made of.
  if (shared_->options.flush != FlushPolicy::kEachBatch) bells_.Ring();
  if (!written.waits) done(written.appended);
  return absl::OkStatus();
}

Status LocalPartition::CheckRoom(size_t more) const {
  if (!shared_->has_room()) [[unlikely]] {
    return MakeError(ErrorId::kNoSpace,
                     fmt::format("{}-{}: the disk of {} is full, and what is left is kept for the "
                                 "broker's own state; appends go on when there is room again",
                                 name().topic, name().partition, shared_->Where()),
                     {.topic = name().topic, .partition = name().partition});
  }
  const int64_t limit = shared_->options.max_total_bytes;
  if (limit <= 0) return absl::OkStatus();
  const uint64_t used = shared_->directory->total_bytes();
  if (used + more <= static_cast<uint64_t>(limit)) return absl::OkStatus();
  return MakeError(ErrorId::kQuotaReached,
                   fmt::format("{}-{}: {} bytes are stored in {}, and {} more would pass "
                               "max_total_bytes = {}; retention or DeleteRecords makes room",
                               name().topic, name().partition, used, shared_->Where(), more, limit),
                   {.topic = name().topic, .partition = name().partition});
}

StatusOr<LocalPartition::Written> LocalPartition::Write(log::PartitionLog* log,
                                                        const PreparedBatch& batch,
                                                        const AppendOptions& options,
                                                        const TopicConfig& config,
                                                        AppendDone* done) {
  Written written;
  log::AppendRequest request;
  request.payload_crc = batch.payload_crc;
  request.log_append_time_ms = batch.log_append_time_ms;
  if (options.in_process) request.allowed_bytes = options.allowed_bytes;
  if (options.in_process && options.idempotent && !batch.is_control && !internal_) {
    MILLRACE_ASSIGN_OR_RETURN(request.producer_id, shared_->producer_id());
    request.producer_epoch = 0;
    request.assign_sequence = true;
  }
  StatusOr<log::AppendResult> result;
  {
    MutexLock lock(mu_);
    // Nothing may fail for lack of memory once the batch is written.
    if (waiting_.size() == waiting_.capacity()) waiting_.reserve(2 * waiting_.size() + 4);
    request.leader_epoch = leader_epoch();
    result = log->Append(batch.bytes, request, /*verified=*/true);
    if (result.ok()) {
      written.appended = {.base_offset = result->base_offset,
                          .next_offset = result->next_offset,
                          .log_append_time_ms = batch.log_append_time_ms.value_or(-1),
                          .duplicate = result->duplicate};
      if (shared_->options.flush != FlushPolicy::kEachBatch ||
          SeededBug(Bug::kVisibleBeforeDurable)) {
        MoveHighWatermark(result->next_offset);
      }
      written.waits = MustWait(options, *log, result->next_offset);
      if (written.waits)
        waiting_.push_back({.appended = written.appended, .done = std::move(*done)});
      if (!result->duplicate) AskForSync(options, config, batch.record_count, result->rolled);
    }
  }
  if (!result.ok()) {
    if (ErrorIdOf(result.status()) == ErrorId::kInternalInvariant) {
      shared_->directory->Fail(
          result.status());  // our own mistake: no more writes, the host lives on
    }
    if (ErrorIdOf(result.status()) == ErrorId::kNoSpace) {
      shared_->saw_full_disk.store(true, std::memory_order_relaxed);
    }
    // An internal topic's writer holds its own lock here, and looks after it has let go of it.
    if (!internal_) FailureWatch watch(*shared_);
    return InPartition(result.status(), name().topic, name().partition);
  }
  if (!written.appended.duplicate) {
    Metrics& metrics = shared_->metrics;
    metrics.records_appended.fetch_add(static_cast<uint64_t>(batch.record_count),
                                       std::memory_order_relaxed);
    metrics.bytes_appended.fetch_add(batch.bytes.size(), std::memory_order_relaxed);
    metrics.batches_appended.fetch_add(1, std::memory_order_relaxed);
  }
  return written;
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
  try {
    shared_->upkeep.CallAt(shared_->clock->Elapsed() + age, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      self->timer_armed_.store(false, std::memory_order_release);
      self->shared_->lane.Enqueue(self);
    });
  } catch (const std::bad_alloc&) {
    // No memory for a timer: rather too early than not at all.
    timer_armed_.store(false, std::memory_order_release);
    shared_->lane.Enqueue(shared_from_this());
  }
}

Status LocalPartition::SyncTo(Offset offset) {
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  if (shared_->fork.forked()) return shared_->Usable();
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  return SyncOpened(log, std::min(offset, log->log_end()));
}

Status LocalPartition::WhenSynced(Offset offset, SyncDone done) {
  if (shared_->options.directory.empty() || shared_->OnOwnThread()) {
    done(SyncTo(offset));
    return absl::OkStatus();
  }
  const GateEntry inside(gate_);
  if (!inside) return WhyShut();
  MILLRACE_RETURN_IF_ERROR(shared_->Usable());
  MILLRACE_ASSIGN_OR_RETURN(log::PartitionLog* const log, Opened());
  {
    MutexLock lock(mu_);
    // At the end of the queue, which is in the order of offsets: it waits for what is written by
    // now, as the lane's next sync does.
    waiting_.push_back({.appended = {.next_offset = log->log_end()},
                        .done = [done = std::move(done)](const StatusOr<Appended>& synced) mutable {
                          done(synced.status());
                        }});
  }
  shared_->lane.Enqueue(shared_from_this());
  return absl::OkStatus();
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

bool LocalPartition::TakeReady(log::PartitionLog* log, Ready* ready, bool* moved) {
  const Offset synced = log->synced_end();
  if (synced > synced_seen_) {
    synced_seen_ = synced;
    shared_->metrics.syncs.fetch_add(1, std::memory_order_relaxed);
  }
  if (shared_->options.flush == FlushPolicy::kEachBatch && MoveHighWatermark(synced)) *moved = true;
  if (answering_) return false;  // that thread looks again before it leaves
  while (ready->count < ready->appends.size() && first_waiting_ < waiting_.size() &&
         waiting_[first_waiting_].appended.next_offset <= synced) {
    ready->appends[ready->count++] = std::move(waiting_[first_waiting_++]);
  }
  if (first_waiting_ == waiting_.size()) {
    waiting_.clear();
    first_waiting_ = 0;
    if (waiting_.capacity() > kKeptQueueSlots) waiting_.shrink_to_fit();
  } else if (first_waiting_ > waiting_.size() / 2) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(first_waiting_));
    first_waiting_ = 0;
  }
  answering_ = ready->count > 0;
  return answering_;
}

void LocalPartition::Complete(log::PartitionLog* log) {
  Ready ready;
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
    for (Waiting& append : std::span(ready.appends).first(ready.count)) {
      append.done(append.appended);
      append.done = nullptr;  // what it holds goes before the next one is told
    }
    ready.count = 0;
    if (more) {
      MutexLock lock(mu_);
      answering_ = false;
    }
  }
}

void LocalPartition::FailWaiting(const Status& why) {
  std::vector<Waiting> failed;
  size_t first = 0;
  {
    MutexLock lock(mu_);
    failed.swap(waiting_);
    first = std::exchange(first_waiting_, 0);
  }
  if (first == failed.size()) return;
  const Status told = NoThrow([&] { return PossiblyPersisted(why, name()); });
  for (Waiting& append : std::span(failed).subspan(first)) append.done(told);
}

}  // namespace millrace::broker
