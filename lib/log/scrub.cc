#include <algorithm>

#include <fmt/format.h>

#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "log/partition_impl.h"

namespace millrace::log {

// Goes on at scrub.at. One call reads from one segment; the next segment is the next call's.
StatusOr<bool> PartitionLog::Impl::Scrub(size_t max_bytes, BufferPool& pool) {
  MutexLock lock(upkeep_mu_);
  const auto now = view();
  const Offset limit = synced_end.load(std::memory_order_acquire);
  const auto found = std::ranges::find_if(now->segments, [&](const auto& segment) {
    return segment->base_offset >= scrub.segment_base && segment->end_offset() > scrub.at.offset;
  });
  if (found == now->segments.end() || (*found)->base_offset >= limit) {
    scrub = {};
    return true;
  }
  Segment& segment = **found;
  if (segment.base_offset != scrub.segment_base)
    scrub = {.segment_base = segment.base_offset, .at = {0, segment.base_offset}};
  uint64_t end = segment.size_bytes();
  if (const Tail written = written_tail(); written.segment.get() == &segment) {
    // Only what is synced must be on the device.
    const Mark synced = mark();
    if (synced.segment_base != segment.base_offset) return true;
    end = synced.position;
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
  MILLRACE_RETURN_IF_ERROR(file->DropCache());
  SegmentScanner scanner(*file, pool,
                         {.position = scrub.at.position,
                          .end = end,
                          .expected = scrub.at.offset,
                          .epochs = &now->epochs});
  const uint64_t stop = scrub.at.position + max_bytes;
  auto outcome = SegmentScanner::Outcome::kEnd;
  while (scanner.next_position() < std::min(stop, end)) {
    MILLRACE_ASSIGN_OR_RETURN(outcome, scanner.Next());
    if (outcome != SegmentScanner::Outcome::kBatch) break;
    scrub.sum = ExtendSum(scrub.sum, scanner.head());
  }
  scrub.at = {scanner.next_position(), scanner.expected()};
  const bool at_end = scrub.at.position >= end;
  const Offset segment_end = segment.closed() ? segment.end_offset() : scrub.at.offset;
  const bool cut_short =
      outcome == SegmentScanner::Outcome::kEnd && at_end && scrub.at.offset < segment_end;
  const bool bad =
      outcome != SegmentScanner::Outcome::kBatch && outcome != SegmentScanner::Outcome::kEnd;
  if (bad || cut_short || (outcome == SegmentScanner::Outcome::kEnd && !at_end && max_bytes > 0)) {
    scrub.damaged = true;
    std::string what =
        scanner.what().empty() ? "the file is shorter than what was written to it" : scanner.what();
    MILLRACE_ASSIGN_OR_RETURN(const auto damage,
                              NoteDamage(segment, scrub.at, std::move(what), pool));
    scrub.at = {damage.position + damage.size_bytes, damage.end_offset};
  } else if (at_end && segment.closed()) {
    const auto record = segment.record();
    if (record.has_value() && !record->damaged && !scrub.damaged && record->sum != scrub.sum &&
        !SeededBug(Bug::kScrubIgnoresSum)) {
      AddDamage({.file = segment.path,
                 .position = 0,
                 .size_bytes = end,
                 .first_offset = segment.base_offset,
                 .end_offset = segment.end_offset(),
                 .what = fmt::format("its batches have the sum {:#010x}, the segment was closed "
                                     "with {:#010x}",
                                     scrub.sum, record->sum)});
    }
  }
  const bool last = segment.base_offset == now->segments.back()->base_offset;
  if (!at_end) return false;
  scrub.at.offset = std::max(scrub.at.offset, segment.end_offset());
  if (!last) return false;
  scrub = {};
  return true;
}

}  // namespace millrace::log
