// A consistent copy of a directory that is in use, made mostly of hard links.
#include <algorithm>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "broker/broker_impl.h"
#include "env/file_util.h"

namespace millrace::broker {
namespace {

constexpr size_t kCopyBytes = 1 << 20;
constexpr uint64_t kMaxSideFileBytes = 64 << 20;
constexpr int kMaxTries = 10;  // of a partition whose segments expire under the copy

std::string SegmentName(Offset base) { return fmt::format("{:020}.log", base); }

// Copies one partition, [log start, log end) of what is synced. Belongs to one thread.
class PartitionCopy {
 public:
  PartitionCopy(FileSystem& files, BufferPool& pool, log::PartitionLog& log, std::string to)
      : files_(files), pool_(pool), log_(log), from_(log.directory()), to_(std::move(to)) {}

  Status Run() {
    MILLRACE_RETURN_IF_ERROR(CreateDirs(files_, to_));
    Status copied;
    for (int i = 0; i < kMaxTries; ++i) {
      copied = Segments();
      if (!absl::IsNotFound(copied)) break;  // retention was faster: the next list is without it
    }
    MILLRACE_RETURN_IF_ERROR(copied);
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(from_));
    for (const std::string& name : names) {
      // Indexes and producer state are made anew from the segments: what is written again in place
      // must not be shared with the original.
      if (name == "partition.metadata" || name == "leader-epoch-checkpoint" ||
          name.ends_with(".checkpoint")) {
        MILLRACE_RETURN_IF_ERROR(SideFile(name));
      }
    }
    return files_.SyncDir(to_);
  }

 private:
  Status Segments() {
    const Offset end = log_.synced_end();
    const std::vector<log::SegmentInfo> segments = log_.segments();
    for (const log::SegmentInfo& segment : segments) {
      if (segment.base_offset >= end && &segment != &segments.back()) continue;
      // Never a link to the last one: its end may be cut when the copy is opened.
      const bool shared = segment.closed && &segment != &segments.back() &&
                          segment.end_offset <= end && Link(segment.base_offset);
      if (!shared) MILLRACE_RETURN_IF_ERROR(CopyBatches(segment, end));
    }
    return absl::OkStatus();
  }
  bool Link(Offset base) {
    const std::string to = JoinPath(to_, SegmentName(base));
    return files_.Link(JoinPath(from_, SegmentName(base)), to).ok() || files_.Stat(to).ok();
  }
  Status CopyBatches(const log::SegmentInfo& segment, Offset end) {
    const Offset below = segment.closed ? std::min(end, segment.end_offset) : end;
    // What is deleted is not copied, so the first segment may begin later than the original: at the
    // batch that holds the log start.
    Offset from = std::max(segment.base_offset, log_.log_start());
    std::unique_ptr<File> out;
    uint64_t position = 0;
    do {
      MILLRACE_ASSIGN_OR_RETURN(const log::ReadResult read,
                                log_.Read(from, std::max(from, below), kCopyBytes, pool_));
      if (out == nullptr) {
        Offset base = from;
        if (!read.bytes.empty()) {
          MILLRACE_ASSIGN_OR_RETURN(const auto header, record::ParseHeader(read.bytes));
          base = header.base_offset;
        }
        MILLRACE_ASSIGN_OR_RETURN(out,
                                  files_.Open(JoinPath(to_, SegmentName(base)), OpenMode::kCreate));
        MILLRACE_RETURN_IF_ERROR(out->Truncate(0));
      }
      if (read.bytes.empty()) break;
      MILLRACE_RETURN_IF_ERROR(out->WriteAt(position, read.bytes));
      position += read.bytes.size();
      from = read.next_offset;
    } while (from < below);
    return out->Sync();
  }
  Status SideFile(const std::string& name) {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                              ReadWholeFile(files_, JoinPath(from_, name), kMaxSideFileBytes));
    return WriteFileDurably(files_, JoinPath(to_, name), bytes);
  }

  FileSystem& files_;
  BufferPool& pool_;
  log::PartitionLog& log_;
  const std::string from_;
  const std::string to_;
};

}  // namespace

Status BrokerImpl::Checkpoint(const std::string& directory) {
  const GateEntry inside(calls_);
  MILLRACE_RETURN_IF_ERROR(shared_->Writable());
  if (shared_->options.directory.empty() || directory.empty()) {
    return MakeError(ErrorId::kInvalidArgument,
                     directory.empty() ? "checkpoint: the directory is \"\"; a path is needed"
                                       : "checkpoint: a memory broker has no files to copy");
  }
  if (shared_->files->Stat(directory).ok()) {
    return MakeError(
        ErrorId::kAlreadyExists,
        fmt::format("checkpoint: {} exists; the copy makes its own directory", directory));
  }
  for (std::string path = directory, above; (above = ParentDir(path)) != path; path = above) {
    if (!shared_->files->Stat(JoinPath(above, "millrace/format")).ok()) continue;
    return MakeError(ErrorId::kInvalidArgument,
                     fmt::format("checkpoint: {} lies inside of the log directory {}; the copy "
                                 "would be taken for a part of it",
                                 directory, above));
  }
  Status copied = CopyTo(directory);
  if (copied.ok()) copied = FinishCopy(directory);
  if (!copied.ok()) {
    RemoveTree(*shared_->files, directory).IgnoreError();  // made by this call
    return Annotate(copied, fmt::format("checkpoint {}", directory));
  }
  return absl::OkStatus();
}

Status BrokerImpl::CopyTo(const std::string& directory) {
  MutexLock admin(admin_mu_);  // the topics stand still
  MILLRACE_RETURN_IF_ERROR(Sync());
  MILLRACE_RETURN_IF_ERROR(CreateDirs(*shared_->files, directory));
  const auto copy = [&](log::PartitionLog& log, const std::string& folder) {
    return PartitionCopy(*shared_->files, shared_->pool, log, JoinPath(directory, folder)).Run();
  };
  // Committed offsets before the records that they point into, and the metadata, which has handed
  // out the producer ids of all those records, last.
  TopicTable::Partitions partitions = table_.All();
  std::ranges::partition(
      partitions, [](const auto& partition) { return IsInternalTopic(partition->name().topic); });
  for (const auto& partition : partitions) {
    auto log = partition->log();
    if (!log.ok()) return log.status();
    const TopicPartition& name = partition->name();
    MILLRACE_RETURN_IF_ERROR(copy(**log, fmt::format("{}-{}", name.topic, name.partition)));
  }
  MutexLock lock(log_mu_);
  MILLRACE_RETURN_IF_ERROR(copy(*metadata_log_->log(), std::string(kMetadataFolder)));
  return shared_->files->SyncDir(directory);
}

// Opens the copy as a broker would: all of it is verified, and its log starts, marks and manifest
// are made.
Status BrokerImpl::FinishCopy(const std::string& directory) {
  Options options = shared_->options;
  options.directory = directory;
  options.create_if_missing = true;
  options.error_if_exists = false;
  options.background_threads = 0;
  options.env = {.files = shared_->files, .clock = shared_->clock, .random = shared_->random};
  MILLRACE_ASSIGN_OR_RETURN(const std::shared_ptr<Broker> copy, Broker::Open(std::move(options)));
  for (const auto& partition : table_.All()) {
    const TopicPartition& name = partition->name();
    auto twin = copy->FindPartition(name.topic, name.partition);
    if (!twin.ok()) continue;  // made after the copy
    MILLRACE_ASSIGN_OR_RETURN(const auto log, (*twin)->log());
    const Offset start = std::min(partition->log_start(), (*twin)->high_watermark());
    if (start > log->log_start()) {
      MILLRACE_RETURN_IF_ERROR(log->DeleteRecordsBefore(start, (*twin)->high_watermark()));
    }
  }
  return copy->Close(absl::InfiniteDuration());
}

}  // namespace millrace::broker
