#include <algorithm>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "log/partition_impl.h"
#include "record/codec.h"
#include "record/record_reader.h"

namespace millrace::log {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr size_t kMaxExpandedBytes = size_t{1} << 30;

using OffsetForTime = PartitionLog::OffsetForTime;

// The first record of the batch at or above `from` whose timestamp is at least `timestamp_ms`.
StatusOr<std::optional<OffsetForTime>> SearchBatch(const record::BatchHeader& header,
                                                   std::span<const std::byte> batch, Offset from,
                                                   int64_t timestamp_ms, BufferPool& pool) {
  MILLRACE_ASSIGN_OR_RETURN(const record::Payload payload,
                            record::ExpandedPayload(header, batch, kMaxExpandedBytes, pool));
  record::RecordReader reader(header, payload.records);
  record::RecordFields fields;
  while (reader.Next(&fields)) {
    if (fields.offset >= from && fields.timestamp_ms >= timestamp_ms)
      return OffsetForTime{fields.offset, fields.timestamp_ms, header.leader_epoch};
  }
  MILLRACE_RETURN_IF_ERROR(reader.status());
  return std::nullopt;
}

}  // namespace

// Where to begin in the segment: every batch before it has only older records.
StatusOr<Offset> PartitionLog::Impl::TimeSearchStart(Segment& segment, int64_t timestamp_ms) {
  // Nothing in the log contradicts a time index that is wrong, so it has to prove itself by its
  // CRC.
  if (!segment.time_index_checked.exchange(true) && !segment.time_index().FileIsIntact())
    MILLRACE_RETURN_IF_ERROR(RebuildIndexes(segment));
  if (timestamp_ms < 0) return segment.base_offset;  // the infinite past, perhaps
  // The batch of an entry may hold the very timestamp that is sought: strictly before it.
  const auto entry = segment.time_index().Floor(timestamp_ms - 1);
  if (!entry.ok() || !entry->has_value()) return segment.base_offset;
  const Offset offset = segment.base_offset + (*entry)->relative_offset;
  if (offset < segment.base_offset || offset >= segment.end_offset()) return segment.base_offset;
  return offset;
}

StatusOr<std::optional<OffsetForTime>> PartitionLog::Impl::FindTime(int64_t timestamp_ms,
                                                                    Offset below,
                                                                    BufferPool& pool) {
  const auto now = view();
  const Offset end = std::min(below, log_end.load(std::memory_order_acquire));
  for (const auto& segment : now->segments) {
    if (segment->max_timestamp_ms() < timestamp_ms || segment->base_offset >= end) continue;
    MILLRACE_ASSIGN_OR_RETURN(Offset from, TimeSearchStart(*segment, timestamp_ms));
    from = std::max(from, log_start.load(std::memory_order_acquire));
    const Offset stop = std::min(end, segment->end_offset());
    while (from < stop) {
      MILLRACE_ASSIGN_OR_RETURN(const ReadResult read, Read(from, end, kReadBytes, pool));
      if (read.bytes.empty()) break;
      for (auto rest = read.bytes; !rest.empty();) {
        const auto header = *record::ParseHeader(rest);  // which Read has checked
        const auto batch = rest.first(header.size_bytes());
        rest = rest.subspan(header.size_bytes());
        if (header.max_timestamp_ms < timestamp_ms) continue;
        auto found = SearchBatch(header, batch, from, timestamp_ms, pool);
        if (!found.ok()) return UnreadableBatch(found.status(), header, segment->path);
        if (found->has_value()) return found;
      }
      from = read.next_offset;
    }
  }
  return std::nullopt;
}

StatusOr<std::optional<OffsetForTime>> PartitionLog::Impl::FindMaxTimestamp(Offset below,
                                                                            BufferPool& pool) {
  const auto now = view();
  const Offset end = std::min(below, log_end.load(std::memory_order_acquire));
  int64_t max_timestamp = -1;
  for (const auto& segment : now->segments) {
    if (segment->end_offset() <= end) {
      max_timestamp = std::max(max_timestamp, segment->max_timestamp_ms());
      continue;
    }
    // The segment goes on above `below`: only its batches tell.
    for (Offset from = std::max(segment->base_offset, log_start.load()); from < end;) {
      MILLRACE_ASSIGN_OR_RETURN(const ReadResult read, Read(from, end, kReadBytes, pool));
      if (read.bytes.empty()) break;
      for (auto rest = read.bytes; !rest.empty();) {
        const auto header = *record::ParseHeader(rest);  // which Read has checked
        max_timestamp = std::max(max_timestamp, header.max_timestamp_ms);
        rest = rest.subspan(header.size_bytes());
      }
      from = read.next_offset;
    }
  }
  if (max_timestamp < 0) return std::nullopt;
  return FindTime(max_timestamp, end, pool);
}

}  // namespace millrace::log
