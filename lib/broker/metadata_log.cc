#include "broker/metadata_log.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/invariant.h"
#include "base/kill_point.h"
#include "base/no_throw.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "env/file_util.h"

namespace millrace::broker {
namespace {

constexpr size_t kSnapshotAfterBytes = 1 << 20;
constexpr uint64_t kMaxSnapshotBytes = uint64_t{1} << 30;
constexpr size_t kReadBytes = 1 << 20;

log::LogConfig MetadataLogConfig() {
  log::LogConfig config;
  config.segment_bytes = 256 << 20;
  config.max_message_bytes = 256 << 20;  // a change is one batch, however many partitions it makes
  config.segment_age = absl::InfiniteDuration();
  config.retention.reset();
  config.delete_by_retention = false;
  return config;
}

}  // namespace

Uuid MetadataTopicId() {
  Uuid id;
  id.bytes.back() = 1;
  return id;
}

StatusOr<std::unique_ptr<MetadataLog>> MetadataLog::Open(Shared& shared) {
  auto opened = std::unique_ptr<MetadataLog>(new MetadataLog(shared));
  MILLRACE_RETURN_IF_ERROR(opened->OpenLog());
  if (Status replayed = opened->Replay(); !replayed.ok()) {
    // Damage of the log names its place itself.
    const std::string& path = opened->log_->directory();
    return Text(replayed).find(path) == std::string::npos ? Annotate(replayed, path) : replayed;
  }
  return opened;
}

Status MetadataLog::OpenLog() {
  return shared_.WithBallast([&]() -> Status {
    MILLRACE_ASSIGN_OR_RETURN(
        log_, shared_.directory->OpenPartition(std::string(kMetadataFolder), MetadataTopicId(), 0,
                                               MetadataLogConfig(), /*create=*/false));
    return absl::OkStatus();
  });
}

Status MetadataLog::Replay() {
  MILLRACE_ASSIGN_OR_RETURN(const Offset from, LoadSnapshot());
  MILLRACE_RETURN_IF_ERROR(ReplayFrom(from));
  const int32_t last_epoch = std::max(log_->latest_epoch(), newest_ ? newest_->epoch : 0);
  epoch_ = std::max(1, last_epoch);
  // What an unclean close left was written in an epoch of its own: nothing joins it.
  if (!shared_.directory->was_clean() && last_epoch > 0) epoch_ = last_epoch + 1;
  return absl::OkStatus();
}

std::string MetadataLog::PathOf(const SnapshotId& id) const {
  return JoinPath(log_->directory(), SnapshotFileName(id));
}

StatusOr<std::vector<SnapshotId>> MetadataLog::ListSnapshots() const {
  std::vector<SnapshotId> found;
  auto names = shared_.files->List(log_->directory());
  if (!names.ok()) {
    // Read-only, and no metadata was ever written.
    if (absl::IsNotFound(names.status())) return found;
    return names.status();
  }
  for (const std::string& name : *names) {
    if (const auto id = ParseSnapshotFileName(name)) found.push_back(*id);
  }
  std::ranges::sort(found, std::greater<>());
  return found;
}

StatusOr<Offset> MetadataLog::LoadSnapshot() {
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<SnapshotId> snapshots, ListSnapshots());
  for (const SnapshotId& id : snapshots) {
    const std::string path = PathOf(id);
    auto bytes = ReadWholeFile(*shared_.files, path, kMaxSnapshotBytes);
    auto records = bytes.ok() ? DecodeSnapshot(*bytes, shared_.pool) : bytes.status();
    if (records.ok() && id.end_offset > log_->log_end()) {
      records = MakeError(ErrorId::kCorruptLog,
                          fmt::format("the snapshot covers offset {}, but the log ends at {}",
                                      id.end_offset, log_->log_end()));
    }
    if (!records.ok()) {
      shared_.Log(Severity::kWarning,
                  fmt::format("{}: left aside: {}", path, records.status().ToString()));
      continue;
    }
    for (const auto& record : *records) {
      if (Status applied = state_.Apply(record); !applied.ok()) return Annotate(applied, path);
    }
    newest_ = id;
    snapshot_bytes_ = bytes->size();
    return id.end_offset;
  }
  return Offset{0};
}

Status MetadataLog::ReplayFrom(Offset from) {
  if (from < log_->log_start()) {
    return MakeError(
        ErrorId::kCorruptLog,
        fmt::format("the log begins at offset {}, and no valid snapshot covers what was "
                    "before it; the newest valid one ends at {}",
                    log_->log_start(), from));
  }
  const Offset end = log_->log_end();
  for (Offset at = from; at < end;) {
    MILLRACE_ASSIGN_OR_RETURN(const log::ReadResult read,
                              log_->Read(at, end, kReadBytes, shared_.pool));
    MILLRACE_RETURN_IF_ERROR(ForEachMetadataRecord(
        read.bytes, at, shared_.pool,
        [this](const schema::MetadataRecord& record) { return state_.Apply(record); }));
    grown_bytes_ += read.bytes.size();
    at = read.next_offset;
  }
  image_ = state_.Publish();
  replayed_ = end;
  return absl::OkStatus();
}

StatusOr<bool> MetadataLog::Follow() {
  if (log_ == nullptr) return false;
  MILLRACE_RETURN_IF_ERROR(log_->Follow().status());
  if (log_->log_end() == replayed_) return false;
  // What fails half-way is begun anew the next time.
  if (const Offset from = std::exchange(replayed_, -1); from >= log_->log_start()) {
    MILLRACE_RETURN_IF_ERROR(ReplayFrom(from));
  } else {
    // Or the writer has put a snapshot in the place of what was not read yet.
    state_.Clear();
    MILLRACE_RETURN_IF_ERROR(Replay());
  }
  return true;
}

// A failure of the directory is told to the others by the caller, once it has let go of its locks.
Status MetadataLog::Append(std::span<const schema::MetadataRecord> records) {
  if (records.empty()) return absl::OkStatus();
  // Whatever needs memory comes before the write.
  MetadataState next = state_;
  for (const schema::MetadataRecord& record : records) {
    MILLRACE_INVARIANT(next.Apply(record).ok());  // or the next open would refuse the log
  }
  auto image = next.Publish();
  MILLRACE_RETURN_IF_ERROR(shared_.WithBallast([&] { return Write(records); }));
  state_ = std::move(next);
  image_ = std::move(image);
  SnapshotIfDue();
  return absl::OkStatus();
}

Status MetadataLog::Write(std::span<const schema::MetadataRecord> records) {
  MILLRACE_ASSIGN_OR_RETURN(
      const record::EncodedBatch batch,
      EncodeMetadataBatch(records, absl::ToUnixMillis(shared_.clock->Now()), shared_.pool));
  log::AppendRequest request;
  request.leader_epoch = epoch_;
  auto appended = log_->Append(batch.bytes(), request, /*verified=*/true);
  Status status = appended.status();
  if (status.ok() && !SeededBug(Bug::kMetadataNotSynced)) {
    MILLRACE_KILL_POINT(kMetadataWritten);
    try {
      status = log_->SyncTo(appended->next_offset);
    } catch (const std::bad_alloc&) {
      // It is in the log, and not known to be durable: nothing may come behind it.
      shared_.directory->Fail(OutOfMemory());
      status = shared_.directory->failed();
    }
  }
  if (!status.ok()) return Annotate(status, kMetadataFolder);
  grown_bytes_ += batch.size_bytes;
  return absl::OkStatus();
}

void MetadataLog::SnapshotIfDue() {
  if (grown_bytes_ <= kSnapshotAfterBytes + snapshot_bytes_) return;
  // The change itself is safe in the log; the next one tries again.
  NoThrow([&] {
    const Status written = WriteSnapshot();
    if (!written.ok())
      shared_.Log(Severity::kWarning, fmt::format("{}: no snapshot was written: {}",
                                                  kMetadataFolder, written.ToString()));
    return written;
  }).IgnoreError();
}

Status MetadataLog::WriteSnapshot() {
  const SnapshotId id{.end_offset = log_->log_end(), .epoch = epoch_};
  if (newest_ == id) return absl::OkStatus();
  const auto records = state_.Snapshot();
  MILLRACE_ASSIGN_OR_RETURN(
      const std::vector<std::byte> bytes,
      EncodeSnapshot(records, id.epoch, absl::ToUnixMillis(shared_.clock->Now()), shared_.pool));
  MILLRACE_RETURN_IF_ERROR(
      shared_.WithBallast([&] { return WriteFileDurably(*shared_.files, PathOf(id), bytes); }));
  const std::optional<SnapshotId> before = std::exchange(newest_, id);
  snapshot_bytes_ = bytes.size();
  grown_bytes_ = 0;
  MILLRACE_RETURN_IF_ERROR(log_->Roll());
  if (!before.has_value()) return absl::OkStatus();
  // The log goes first: a snapshot without the log that follows it is worth nothing, and the older
  // one is what a damaged newer one falls back to.
  MILLRACE_RETURN_IF_ERROR(log_->DeleteRecordsBefore(before->end_offset, log_->log_end()));
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                            shared_.files->List(log_->directory()));
  for (const std::string& name : names) {
    const auto old = ParseSnapshotFileName(name);
    // A `.tmp` is of a snapshot that a crash broke off.
    if ((old.has_value() && *old < *before) || name.ends_with(".checkpoint.tmp")) {
      MILLRACE_RETURN_IF_ERROR(shared_.files->RemoveFile(JoinPath(log_->directory(), name)));
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace::broker
