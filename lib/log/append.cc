#include <algorithm>
#include <new>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/kill_point.h"
#include "base/no_throw.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"
#include "log/partition_impl.h"

namespace millrace::log {
namespace {

// Positions are 31 bits wide in Kafka's index, and so are offsets relative to the segment's base.
constexpr uint64_t kMaxPosition = INT32_MAX;

ErrorContext Possibly() { return {.persistence = Persistence::kPossiblyPersisted}; }

}  // namespace

Status PartitionLog::Impl::CheckWritable() const {
  if (read_only) return MakeError(ErrorId::kReadOnly, fmt::format("{}: opened for reading", path));
  if (closed.load(std::memory_order_acquire))
    return MakeError(ErrorId::kClosed, fmt::format("{}: the log is closed", path));
  return gate.failed();
}

Status PartitionLog::Impl::CheckBatch(std::span<const std::byte> batch,
                                      const record::BatchHeader& header, bool verified) const {
  if (header.size_bytes() != batch.size()) {
    return MakeError(ErrorId::kCorruptMessage,
                     fmt::format("{}: a batch of {} bytes says that it has {}", path, batch.size(),
                                 header.size_bytes()));
  }
  if (header.record_count < 1 && !header.is_control())
    return MakeError(ErrorId::kInvalidRecord, fmt::format("{}: the batch holds no record", path));
  return verified ? absl::OkStatus() : record::CheckCrc(header, batch);
}

StatusOr<AppendResult> PartitionLog::Impl::Append(std::span<std::byte> batch,
                                                  const AppendRequest& request, bool verified) {
  MILLRACE_ASSIGN_OR_RETURN(const record::BatchHeader header, record::ParseHeader(batch));
  MILLRACE_RETURN_IF_ERROR(CheckBatch(batch, header, verified));
  // Whoever never asks for a sync still has its closed segments synced.
  if (closing_count.load(std::memory_order_relaxed) >= kMaxClosingSegments)
    MILLRACE_RETURN_IF_ERROR(FinishClosedSegments());
  MutexLock lock(append_mu_);
  return AppendLocked(batch, header, request);
}

StatusOr<AppendResult> PartitionLog::Impl::AppendLocked(std::span<std::byte> batch,
                                                        record::BatchHeader header,
                                                        const AppendRequest& request) {
  if (batch.size() > std::max(config.max_batch_bytes(), request.allowed_bytes)) {
    return MakeError(ErrorId::kRecordTooLarge,
                     fmt::format("{}: a batch of {} bytes, {} is {}", path, batch.size(),
                                 config.max_batch_config(), config.max_batch_bytes()));
  }
  MILLRACE_RETURN_IF_ERROR(append_error);
  // Close waits for this lock after it has set the flag.
  MILLRACE_RETURN_IF_ERROR(CheckWritable());
  if (request.assign_sequence) {
    header.producer_id = request.producer_id;
    header.producer_epoch = request.producer_epoch;
    header.base_sequence = producers.NextSequence(request.producer_id, request.producer_epoch);
    record::AssignProducer(batch.data(), header.producer_id, header.producer_epoch,
                           header.base_sequence, request.payload_crc);
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto original, producers.Check(header));
  if (original.has_value()) {
    return AppendResult{.base_offset = original->base_offset,
                        .next_offset = original->next_offset,
                        .duplicate = true,
                        .max_timestamp_ms = original->max_timestamp_ms};
  }
  if (request.log_append_time_ms.has_value()) {
    header.max_timestamp_ms = *request.log_append_time_ms;
    record::AssignLogAppendTime(batch.data(), *request.log_append_time_ms, request.payload_crc);
  }
  header.base_offset = log_end.load(std::memory_order_relaxed);
  header.leader_epoch = request.leader_epoch;
  MILLRACE_RETURN_IF_ERROR(EnterEpoch(request.leader_epoch, header.base_offset));
  MILLRACE_ASSIGN_OR_RETURN(const bool roll, RollIsDue(header));
  if (roll) MILLRACE_RETURN_IF_ERROR(RollLocked());
  record::AssignOffset(batch.data(), header.base_offset, header.leader_epoch);
  // Publish must not fail once the bytes are there.
  producers.Reserve(header);
  MILLRACE_RETURN_IF_ERROR(WriteBatch(batch));
  MILLRACE_KILL_POINT(kAppendWritten);
  Publish(batch, header);
  return AppendResult{.base_offset = header.base_offset,
                      .next_offset = header.next_offset(),
                      .max_timestamp_ms = header.max_timestamp_ms,
                      .rolled = roll};
}

Status PartitionLog::Impl::EnterEpoch(int32_t epoch, Offset start) {
  if (epoch == latest_epoch_seen) [[likely]]
    return absl::OkStatus();
  if (epoch < latest_epoch_seen) {
    return MakeError(ErrorId::kInvalidArgument,
                     fmt::format("{}: leader epoch {} lies behind the latest one, {}", path, epoch,
                                 latest_epoch_seen));
  }
  EpochCache epochs = view()->epochs;
  epochs.Assign(epoch, start);
  const std::string text = epochs.Format();
  // Durable before the first batch of the epoch: else a power cut could leave batches of an epoch
  // that no history knows, or the same epoch twice with different records.
  if (!SeededBug(Bug::kEpochNotPersisted))
    MILLRACE_RETURN_IF_ERROR(gate.ReplaceFile(PathOf(kEpochFile), AsBytes(text)));
  MILLRACE_KILL_POINT(kEpochWritten);
  ChangeView([&](View& v) {
    v.epochs = epochs;
    v.epochs_crc = Crc32c(AsBytes(text));
  });
  latest_epoch_seen = epoch;
  return absl::OkStatus();
}

StatusOr<bool> PartitionLog::Impl::RollIsDue(const record::BatchHeader& header) {
  const uint64_t size = active->size_bytes();
  if (size == 0) return false;
  if (active->damaged) return true;
  const uint64_t limit =
      std::min<uint64_t>(static_cast<uint64_t>(config.segment_bytes), kMaxPosition);
  if (size + header.size_bytes() > limit) return true;
  if (header.last_offset() - active->base_offset > INT32_MAX) return true;
  const uint64_t index_bytes = uint64_t{active->index().entries()} * OffsetIndexEntry::kBytes;
  if (index_bytes + OffsetIndexEntry::kBytes > static_cast<uint64_t>(config.index_max_bytes))
    return true;
  if (header.max_timestamp_ms < 0) return false;
  MILLRACE_ASSIGN_OR_RETURN(const int64_t first, FirstTimestamp());
  return first >= 0 &&
         header.max_timestamp_ms - first > absl::ToInt64Milliseconds(config.segment_age);
}

StatusOr<int64_t> PartitionLog::Impl::FirstTimestamp() {
  if (!first_timestamp_ms.has_value()) {
    std::byte head[record::kHeaderBytes];
    MILLRACE_ASSIGN_OR_RETURN(const auto file, active->OpenLog());
    MILLRACE_ASSIGN_OR_RETURN(const size_t count, file->ReadAt(0, head));
    const auto header = record::ParseHeader(std::span(head).first(count));
    // A damaged first batch is for the readers to find; here it only means that the age is not
    // known.
    first_timestamp_ms = header.ok() ? header->max_timestamp_ms : record::kNoTimestamp;
  }
  return *first_timestamp_ms;
}

Status PartitionLog::Impl::RollLocked() {
  const Offset end = log_end.load(std::memory_order_relaxed);
  auto next = std::make_shared<Segment>(files, path, end, read_only);
  MILLRACE_ASSIGN_OR_RETURN(auto next_file, next->CreateLog());
  MILLRACE_KILL_POINT(kSegmentCreated);
  index_builder->Finish();
  auto full = std::make_shared<Closing>();
  full->segment = active;
  full->record = ActiveRecord();
  full->snapshot = producers.Snapshot();
  {
    MutexLock lock(tail_mu_);
    closing.reserve(closing.size() + 1);
  }
  ChangeView([&](View& v) { v.segments.push_back(next); });
  // Nothing from here on needs memory.
  active->Close(full->record);
  {
    MutexLock lock(tail_mu_);
    closing.push_back(std::move(full));
    pending_checkpoint.reset();  // the end of the segment is a better one
    tail = {.segment = next, .end = end};
  }
  closing_count.fetch_add(1, std::memory_order_relaxed);
  active = std::move(next);
  active_file = std::move(next_file);
  index_builder.emplace(*active, config.index_interval_bytes);
  first_timestamp_ms.reset();
  checkpoint_asked_at = 0;
  return absl::OkStatus();
}

Status PartitionLog::Impl::WriteBatch(std::span<const std::byte> batch) {
  if (active_file == nullptr) {
    MILLRACE_ASSIGN_OR_RETURN(active_file, active->OpenLog());
  }
  File& file = *active_file;
  const uint64_t position = active->size_bytes();
  Status written = NoThrow([&] { return file.WriteAt(position, batch); });
  if (written.ok()) [[likely]]
    return absl::OkStatus();
  if (SeededBug(Bug::kFailedWriteStays)) return written;
  if (Status cut = NoThrow([&] { return file.Truncate(position); }); !cut.ok()) {
    append_error = OutOfMemory();  // should there be none for the text
    append_error = MakeError(
        ErrorId::kIoError,
        fmt::format("{}: appends stop at offset {}, since a failed write could not be undone: {}",
                    path, log_end.load(), Text(cut)),
        Possibly());
    return append_error;
  }
  if (ErrorIdOf(written) == ErrorId::kNoSpace)
    return Annotate(written, path);  // the log is as it was
  const absl::string_view why = written.message();
  return MakeError(ErrorId::kIoError,
                   fmt::format("{}: {}", path, std::string_view(why.data(), why.size())),
                   Possibly());
}

void PartitionLog::Impl::Publish(std::span<const std::byte> batch,
                                 const record::BatchHeader& header) noexcept {
  Segment& segment = *active;
  const uint64_t position = segment.size_bytes();
  index_builder->Add(header, position);
  segment.Publish(position + batch.size(), header.next_offset(), index_builder->max_timestamp_ms());
  producers.Update(header);
  if (position == 0) first_timestamp_ms = header.max_timestamp_ms;
  {
    MutexLock lock(tail_mu_);
    tail.end = header.next_offset();
    tail.position = position + batch.size();
    tail.sum = ExtendSum(tail.sum, batch.data());
  }
  size_bytes.fetch_add(batch.size(), std::memory_order_relaxed);
  directory.total_bytes.fetch_add(batch.size(), std::memory_order_relaxed);
  log_end.store(header.next_offset(), std::memory_order_release);
  if (position + batch.size() - checkpoint_asked_at < config.checkpoint_bytes) return;
  try {
    CaptureCheckpoint();
  } catch (const std::bad_alloc&) {
    // The batch is in; the next one asks again.
  }
}

void PartitionLog::Impl::CaptureCheckpoint() {
  const SegmentRecord now = ActiveRecord();
  PendingCheckpoint pending{
      .checkpoint = Checkpoint::AtEndOf(now),
      .snapshot = producers.Snapshot(),
  };
  checkpoint_asked_at = now.size_bytes;
  MutexLock lock(tail_mu_);
  pending_checkpoint = std::move(pending);
}

}  // namespace millrace::log
