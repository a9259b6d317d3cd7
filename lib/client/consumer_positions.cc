#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "client/embedded_consumer.h"

// Where a consumer reads: how positions begin, how they are moved, and what happens where one
// fails.
namespace millrace::client {
namespace {

constexpr absl::Duration kRetryAfter = absl::Milliseconds(100);

std::string Label(const TopicPartition& tp) { return fmt::format("{}-{}", tp.topic, tp.partition); }

ErrorContext Where(const TopicPartition& tp) {
  return {.topic = tp.topic, .partition = tp.partition};
}

}  // namespace

Status EmbeddedConsumer::ResolvePositions() {
  std::map<TopicPartition, coordinator::CommittedOffset> committed;
  bool asked = false;
  for (const Cursor& cursor : order_) {
    if (cursor->position() != PartitionCursor::kUnknown || cursor->resting) continue;
    if (!asked && !options_.group.empty()) {
      MILLRACE_ASSIGN_OR_RETURN(committed, context_->broker->CommittedOffsets(options_.group));
      asked = true;
    }
    if (Status status = ResolvePosition(*cursor, committed); !status.ok()) Fail(*cursor, status);
  }
  return absl::OkStatus();
}

Status EmbeddedConsumer::ResolvePosition(
    PartitionCursor& cursor,
    const std::map<TopicPartition, coordinator::CommittedOffset>& committed) {
  // Opens the log: where that fails, the ends below would answer 0.
  if (cursor.partition().high_watermark() == 0)
    MILLRACE_RETURN_IF_ERROR(cursor.partition().EnsureOpen());
  if (const auto found = committed.find(cursor.name()); found != committed.end()) {
    cursor.SetPosition(AfterCommitted(cursor, found->second));
    cursor.committed = found->second.offset;
    return absl::OkStatus();
  }
  switch (options_.start_from) {
    case StartFrom::kEarliest:
      cursor.SetPosition(cursor.partition().log_start());
      return absl::OkStatus();
    case StartFrom::kLatest:
      cursor.SetPosition(cursor.visible_end());
      return absl::OkStatus();
    case StartFrom::kFail:
      break;
  }
  return MakeError(
      ErrorId::kNoOffset,
      fmt::format("{}: {} and start_from is kFail; Seek says where to begin", Label(cursor.name()),
                  options_.group.empty()
                      ? "no position was set"
                      : fmt::format("group '{}' has committed no offset", options_.group)),
      Where(cursor.name()));
}

// A committed offset past the end of the epoch that it was read under (KIP-320) was read from
// records that a crash took: others may have their offsets by now, and must not be passed over.
Offset EmbeddedConsumer::AfterCommitted(PartitionCursor& cursor,
                                        const coordinator::CommittedOffset& committed) {
  if (committed.leader_epoch < 0) return committed.offset;
  const std::optional<log::EpochEnd> end = cursor.partition().EndOfEpoch(committed.leader_epoch);
  if (!end.has_value() || committed.offset <= end->end_offset) return committed.offset;
  context_->metrics->positions_moved_back.fetch_add(1, std::memory_order_relaxed);
  MILLRACE_LOG(
      *context_->log, kWarning,
      fmt::format("{}: group '{}' committed offset {} in leader epoch {}, which ends at {}: "
                  "a crash took what it had read from there on; it goes on at {}",
                  Label(cursor.name()), options_.group, committed.offset, committed.leader_epoch,
                  end->end_offset, end->end_offset),
      {{"topic", cursor.name().topic},
       {"partition", std::to_string(cursor.name().partition)},
       {"group", options_.group}});
  return end->end_offset;
}

// ---- failures of one partition

void EmbeddedConsumer::Fail(PartitionCursor& cursor, const Status& status) {
  if (!usable().ok()) return;  // Poll says so itself
  errors_.push_back(InPartition(status, cursor.name().topic, cursor.name().partition));
  cursor.resting = true;
  MILLRACE_LOG(
      *context_->log, kError,
      fmt::format("{}; the partition rests until Seek or Resume", Text(status)),
      {{"topic", cursor.name().topic}, {"partition", std::to_string(cursor.name().partition)}});
}

void EmbeddedConsumer::FetchFailed(PartitionCursor& cursor, const Status& status) {
  if (cursor.partition().deleted()) {
    if (FollowRecreated(cursor)) return;
    if (mode_ == Mode::kSubscribed) {
      cursor.resting = true;  // the group takes it away
      return;
    }
    return Fail(cursor, status);
  }
  if (ErrorIdOf(status) == ErrorId::kOffsetOutOfRange) return ResetPosition(cursor, status);
  if (IsRetriable(status)) {
    context_->metrics->fetch_retries.fetch_add(1, std::memory_order_relaxed);
    cursor.retry_at = context_->clock->Elapsed() + kRetryAfter;
    return;
  }
  Fail(cursor, status);
}

void EmbeddedConsumer::ResetPosition(PartitionCursor& cursor, const Status& out_of_range) {
  if (options_.start_from == StartFrom::kFail) return Fail(cursor, out_of_range);
  const Offset from = cursor.position();
  const Offset to = options_.start_from == StartFrom::kEarliest ? cursor.partition().log_start()
                                                                : cursor.visible_end();
  if (from == to) return Fail(cursor, out_of_range);  // would come back for ever
  context_->metrics->positions_reset.fetch_add(1, std::memory_order_relaxed);
  MILLRACE_LOG(
      *context_->log, kWarning,
      fmt::format("{}: position {} is not in the log any more; reading goes on at {} "
                  "(start_from)",
                  Label(cursor.name()), from, to),
      {{"topic", cursor.name().topic}, {"partition", std::to_string(cursor.name().partition)}});
  cursor.SetPosition(to);
  moved_ = true;
}

bool EmbeddedConsumer::FollowRecreated(PartitionCursor& cursor) {
  auto found = context_->broker->FindPartition(cursor.name().topic, cursor.name().partition);
  if (!found.ok() || *found == cursor.shared_partition()) return false;
  cursor.partition().RemoveListener(bell_.get());
  (*found)->AddListener(bell_);
  cursor.Replace(*std::move(found));
  moved_ = true;  // its position is found by the next round
  return true;
}

// ---- moving

EmbeddedConsumer::Cursor EmbeddedConsumer::Find(const TopicPartition& tp) const {
  MutexLock lock(mu_);
  const auto found = cursors_.find(tp);
  return found == cursors_.end() ? nullptr : found->second;
}

StatusOr<std::vector<EmbeddedConsumer::Cursor>> EmbeddedConsumer::Named(
    const Partitions& tps) const {
  if (tps.empty()) return order_;
  std::vector<Cursor> cursors;
  for (const TopicPartition& tp : tps) {
    cursors.push_back(Find(tp));
    if (cursors.back() == nullptr)
      return MakeError(ErrorId::kNotAssigned,
                       fmt::format("{} is not assigned to this consumer", Label(tp)), Where(tp));
  }
  return cursors;
}

Status EmbeddedConsumer::Seek(const TopicPartition& tp, Offset next) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<Cursor> cursors, Named({tp}));
  PartitionCursor& cursor = *cursors.front();
  if (cursor.partition().high_watermark() == 0)
    MILLRACE_RETURN_IF_ERROR(cursor.partition().EnsureOpen());
  const Offset start = cursor.partition().log_start();
  const Offset end = cursor.partition().high_watermark();
  if (next < start || next > end)
    return MakeError(
        ErrorId::kOffsetOutOfRange,
        fmt::format("{}: offset {} is outside of [{}, {}]", Label(tp), next, start, end),
        Where(tp));
  cursor.SetPosition(next);
  RingIfReadable();
  return absl::OkStatus();
}

Status EmbeddedConsumer::SeekToBeginning(const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<Cursor> cursors, Named(tps));
  for (const Cursor& cursor : cursors) {
    MILLRACE_RETURN_IF_ERROR(Opened(cursor->name()).status());
    cursor->SetPosition(cursor->partition().log_start());
  }
  RingIfReadable();
  return absl::OkStatus();
}

Status EmbeddedConsumer::SeekToEnd(const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<Cursor> cursors, Named(tps));
  for (const Cursor& cursor : cursors) {
    MILLRACE_RETURN_IF_ERROR(Opened(cursor->name()).status());
    cursor->SetPosition(cursor->visible_end());
  }
  RingIfReadable();
  return absl::OkStatus();
}

Status EmbeddedConsumer::SeekToTime(absl::Time t, const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<Cursor> cursors, Named(tps));
  for (const Cursor& cursor : cursors) {
    MILLRACE_ASSIGN_OR_RETURN(const auto found,
                              cursor->partition().FindTime(absl::ToUnixMillis(t)));
    cursor->SetPosition(found.has_value() ? found->offset : cursor->visible_end());
  }
  RingIfReadable();
  return absl::OkStatus();
}

Status EmbeddedConsumer::Pause(const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<Cursor> cursors, Named(tps));
  for (const Cursor& cursor : cursors) cursor->paused = true;
  return absl::OkStatus();
}

Status EmbeddedConsumer::Resume(const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<Cursor> cursors, Named(tps));
  for (const Cursor& cursor : cursors) {
    cursor->paused = false;
    if (std::exchange(cursor->resting, false) && cursor->partition().deleted())
      FollowRecreated(*cursor);
  }
  RingIfReadable();
  return absl::OkStatus();
}

// ---- asking

std::vector<TopicPartition> EmbeddedConsumer::assignment() const {
  Partitions all;
  MutexLock lock(mu_);
  for (const auto& [tp, cursor] : cursors_) all.push_back(tp);
  return all;
}

std::optional<Offset> EmbeddedConsumer::position(const TopicPartition& tp) const {
  const Cursor cursor = Find(tp);
  if (cursor == nullptr || cursor->position() == PartitionCursor::kUnknown) return std::nullopt;
  return cursor->position();
}

StatusOr<std::shared_ptr<broker::Partition>> EmbeddedConsumer::Opened(
    const TopicPartition& tp) const {
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<broker::Partition> partition,
                            context_->broker->FindPartition(tp.topic, tp.partition));
  // Where the log cannot be opened, its ends answer 0.
  if (partition->high_watermark() == 0) MILLRACE_RETURN_IF_ERROR(partition->EnsureOpen());
  return partition;
}

StatusOr<OffsetMap> EmbeddedConsumer::Committed(const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  if (options_.group.empty())
    return MakeError(ErrorId::kInvalidGroup, "the consumer has no group, so nothing is committed");
  MILLRACE_ASSIGN_OR_RETURN(const auto committed,
                            context_->broker->CommittedOffsets(options_.group));
  OffsetMap offsets;
  for (const TopicPartition& tp : tps)
    if (const auto found = committed.find(tp); found != committed.end())
      offsets[tp] = found->second.offset;
  return offsets;
}

StatusOr<OffsetMap> EmbeddedConsumer::BeginningOffsets(const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  OffsetMap offsets;
  for (const TopicPartition& tp : tps) {
    MILLRACE_ASSIGN_OR_RETURN(const auto partition, Opened(tp));
    offsets[tp] = partition->log_start();
  }
  return offsets;
}

StatusOr<OffsetMap> EmbeddedConsumer::EndOffsets(const Partitions& tps) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  OffsetMap offsets;
  for (const TopicPartition& tp : tps) {
    MILLRACE_ASSIGN_OR_RETURN(const auto partition, Opened(tp));
    offsets[tp] = options_.isolation == Isolation::kReadCommitted ? partition->last_stable_offset()
                                                                  : partition->high_watermark();
  }
  return offsets;
}

StatusOr<std::map<TopicPartition, OffsetAndTime>> EmbeddedConsumer::OffsetsForTimes(
    const std::map<TopicPartition, absl::Time>& when) {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  std::map<TopicPartition, OffsetAndTime> offsets;
  for (const auto& [tp, time] : when) {
    MILLRACE_ASSIGN_OR_RETURN(const auto partition, Opened(tp));
    MILLRACE_ASSIGN_OR_RETURN(const auto found, partition->FindTime(absl::ToUnixMillis(time)));
    if (found.has_value())
      offsets[tp] = {.offset = found->offset,
                     .timestamp = absl::FromUnixMillis(found->timestamp_ms)};
  }
  return offsets;
}

StatusOr<std::map<TopicPartition, int64_t>> EmbeddedConsumer::Lag() {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_RETURN_IF_ERROR(ResolvePositions());
  std::map<TopicPartition, int64_t> lag;
  for (const Cursor& cursor : order_)
    if (cursor->position() != PartitionCursor::kUnknown)
      lag[cursor->name()] = std::max<int64_t>(cursor->visible_end() - cursor->position(), 0);
  return lag;
}

StatusOr<std::map<TopicPartition, absl::Duration>> EmbeddedConsumer::LagTime() {
  const Use use(*this, Nested::kAllowed);
  MILLRACE_RETURN_IF_ERROR(use.status());
  MILLRACE_RETURN_IF_ERROR(usable());
  MILLRACE_RETURN_IF_ERROR(ResolvePositions());
  const absl::Time now = context_->clock->Now();
  std::map<TopicPartition, absl::Duration> lag;
  for (const Cursor& cursor : order_) {
    if (cursor->position() == PartitionCursor::kUnknown) continue;
    MILLRACE_ASSIGN_OR_RETURN(const std::optional<int64_t> timestamp_ms,
                              cursor->TimestampAtPosition(context_->broker->buffers()));
    lag[cursor->name()] =
        timestamp_ms.has_value()
            ? std::max(now - absl::FromUnixMillis(*timestamp_ms), absl::ZeroDuration())
            : absl::ZeroDuration();
  }
  return lag;
}

}  // namespace millrace::client
