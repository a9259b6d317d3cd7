// How a log that was opened for reading beside its writer sees what the writer has done since.
#include <algorithm>
#include <optional>

#include "base/status_macros.h"
#include "env/file_util.h"
#include "log/layout.h"
#include "log/partition_impl.h"

namespace millrace::log {

StatusOr<bool> PartitionLog::Impl::Follow() {
  if (!read_only) return false;
  MutexLock lock(append_mu_);
  const Offset end_before = log_end.load(), start_before = log_start.load();
  for (bool entered = true; entered;) {
    MILLRACE_RETURN_IF_ERROR(FollowActive());
    MILLRACE_ASSIGN_OR_RETURN(entered, EnterNextSegment());
  }
  MILLRACE_RETURN_IF_ERROR(ForgetRemovedSegments());
  return log_end.load() != end_before || log_start.load() != start_before;
}

// Takes the whole batches that stand behind those that are known. The writer may be in the middle
// of one: what is not whole and good yet is looked at again the next time.
Status PartitionLog::Impl::FollowActive() {
  const auto file = active->OpenLog();
  if (absl::IsNotFound(file.status())) return absl::OkStatus();  // removed; the next one is there
  MILLRACE_RETURN_IF_ERROR(file.status());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, (*file)->Size());
  const Tail known = written_tail();
  if (size <= known.position) return absl::OkStatus();
  SegmentScanner scanner(**file, directory.scan_pool,
                         {.position = known.position, .end = size, .expected = known.end});
  for (;;) {
    MILLRACE_ASSIGN_OR_RETURN(const auto outcome, scanner.Next());
    const record::BatchHeader& header = scanner.header();
    if (outcome != SegmentScanner::Outcome::kBatch) return absl::OkStatus();
    if (header.leader_epoch < latest_epoch_seen) return absl::OkStatus();
    if (header.leader_epoch > latest_epoch_seen) {
      ChangeView([&](View& v) { v.epochs.Assign(header.leader_epoch, header.base_offset); });
      latest_epoch_seen = header.leader_epoch;
    }
    PublishFollowed(scanner);
  }
}

void PartitionLog::Impl::PublishFollowed(const SegmentScanner& scanner) {
  const record::BatchHeader& header = scanner.header();
  index_builder->Add(header, scanner.position());
  active->Publish(scanner.next_position(), header.next_offset(), index_builder->max_timestamp_ms());
  {
    MutexLock lock(tail_mu_);
    tail.end = header.next_offset();
    tail.position = scanner.next_position();
    tail.sum = ExtendSum(tail.sum, scanner.head());
  }
  size_bytes.fetch_add(header.size_bytes(), std::memory_order_relaxed);
  synced_end.store(header.next_offset(), std::memory_order_release);  // as far as a reader can know
  log_end.store(header.next_offset(), std::memory_order_release);
}

// Where the segment begins that comes after what is known; nullopt while there is none. A writer
// begins a segment where the one before ends. An empty file proves nothing: a roll that failed
// leaves one, and then the writer goes on where it was.
StatusOr<std::optional<Offset>> PartitionLog::Impl::FindNextSegment() {
  const Offset end = log_end.load(std::memory_order_relaxed);
  if (end > active->base_offset) {
    const auto info = files.Stat(PathOf(OffsetFileName(end, kLogSuffix)));
    if (info.ok() && info->size_bytes > 0) return end;
    if (!info.ok() && !absl::IsNotFound(info.status())) return info.status();
  }
  const auto info = files.Stat(active->path);
  if (info.ok()) return std::nullopt;
  if (!absl::IsNotFound(info.status())) return info.status();
  // Retention has overtaken this reader: it goes on with the first segment that is left.
  const auto names = files.List(path);
  if (absl::IsNotFound(names.status())) return std::nullopt;  // so is the topic
  MILLRACE_RETURN_IF_ERROR(names.status());
  std::optional<Offset> next;
  for (const std::string& file : *names) {
    const auto base = ParseOffsetFileName(file, kLogSuffix);
    if (base.has_value() && *base >= end) next = std::min(*base, next.value_or(*base));
  }
  return next;
}

StatusOr<bool> PartitionLog::Impl::EnterNextSegment() {
  MILLRACE_ASSIGN_OR_RETURN(const std::optional<Offset> base, FindNextSegment());
  if (!base.has_value()) return false;
  auto next = std::make_shared<Segment>(files, path, *base, read_only);
  index_builder->Finish();
  active->Close(ActiveRecord());
  // Before the end moves: nobody may read in the gap, if there is one.
  if (*base > log_end.load()) log_start.store(*base);
  ChangeView([&](View& v) { v.segments.push_back(next); });
  {
    MutexLock lock(tail_mu_);
    tail = {.segment = next, .end = *base};
  }
  synced_end.store(*base);
  log_end.store(*base);
  active = std::move(next);
  index_builder.emplace(*active, config.index_interval_bytes);
  return true;
}

// Of segments that retention removed, whoever reads them at the moment has the file open.
Status PartitionLog::Impl::ForgetRemovedSegments() {
  for (;;) {
    const std::shared_ptr<const View> now = view();
    if (now->segments.size() < 2) return absl::OkStatus();
    const Segment& first = *now->segments.front();
    const StatusOr<FileInfo> info = files.Stat(first.path);
    if (!absl::IsNotFound(info.status())) return info.status();
    const Offset start = now->segments[1]->base_offset;
    if (start > log_start.load()) log_start.store(start);
    size_bytes.fetch_sub(first.size_bytes(), std::memory_order_relaxed);
    ChangeView([&](View& v) {
      v.segments.erase(v.segments.begin());
      std::erase_if(v.damage, [&](const DamagedRange& d) { return d.end_offset <= start; });
    });
  }
}

}  // namespace millrace::log
