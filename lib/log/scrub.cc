#include <algorithm>

#include <fmt/format.h>

#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "log/partition_impl.h"

namespace millrace::log {

// What is left of this round: the first segment at or behind scrub.segment_base, as far as it is
// synced.
std::optional<PartitionLog::Impl::ScrubTarget> PartitionLog::Impl::NextToScrub(
    const View& now) const {
  const Mark synced = mark();
  for (const auto& segment : now.segments) {
    if (segment->base_offset < scrub.segment_base) continue;
    uint64_t end = 0;
    if (segment->closed() && segment->end_offset() <= synced.synced_end) {
      end = segment->size_bytes();
    } else if (segment->base_offset == synced.segment_base) {
      end = synced.position;
    }
    if (end == 0) return std::nullopt;
    return ScrubTarget{segment.get(), end};
  }
  return std::nullopt;
}

StatusOr<bool> PartitionLog::Impl::Scrub(size_t max_bytes, BufferPool& pool) {
  MutexLock lock(upkeep_mu_);
  const auto now = view();
  const auto target = NextToScrub(*now);
  if (!target.has_value()) {
    scrub = {};
    return true;
  }
  Segment& segment = *target->segment;
  if (segment.base_offset != scrub.segment_base) scrub = ScrubState::Of(segment.base_offset);
  MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
  MILLRACE_RETURN_IF_ERROR(ScrubPiece(*now, *target, *file, max_bytes, pool));
  if (scrub.at.position < target->end) return false;
  if (segment.closed()) {
    if (scrub.at.offset < segment.end_offset())
      MILLRACE_RETURN_IF_ERROR(NoteDamage(segment, *file, scrub.at,
                                          "it holds fewer records than it was closed with", pool)
                                   .status());
    CompareSum(segment);
  }
  scrub = ScrubState::Of(std::max(segment.end_offset(), segment.base_offset + 1));
  return false;
}

// Reads on at scrub.at, up to `max_bytes` or the first damage.
Status PartitionLog::Impl::ScrubPiece(const View& now, const ScrubTarget& target, File& file,
                                      size_t max_bytes, BufferPool& pool) {
  MILLRACE_RETURN_IF_ERROR(file.DropCache());
  SegmentScanner scanner(file, pool,
                         {.position = scrub.at.position,
                          .end = target.end,
                          .expected = scrub.at.offset,
                          .epochs = &now.epochs});
  const uint64_t stop = std::min<uint64_t>(scrub.at.position + max_bytes, target.end);
  auto outcome = SegmentScanner::Outcome::kBatch;
  while (scanner.next_position() < stop) {
    MILLRACE_ASSIGN_OR_RETURN(outcome, scanner.Next());
    if (outcome != SegmentScanner::Outcome::kBatch) break;
    scrub.sum = ExtendSum(scrub.sum, scanner.head());
  }
  scrub.at = {scanner.next_position(), scanner.expected()};
  if (outcome == SegmentScanner::Outcome::kBatch) return absl::OkStatus();
  scrub.damaged = true;
  std::string what =
      scanner.what().empty() ? "the file is shorter than what was written to it" : scanner.what();
  MILLRACE_ASSIGN_OR_RETURN(const auto damage,
                            NoteDamage(*target.segment, file, scrub.at, std::move(what), pool));
  scrub.at = {damage.position + damage.size_bytes, damage.end_offset};
  return absl::OkStatus();
}

// What every batch proves of itself, the sum proves of the segment: that it is this one, whole.
void PartitionLog::Impl::CompareSum(const Segment& segment) {
  if (SeededBug(Bug::kScrubIgnoresSum)) return;
  const auto record = segment.record();
  if (record->damaged || scrub.damaged || record->sum == scrub.sum) return;
  AddDamage({.file = segment.path,
             .position = 0,
             .size_bytes = segment.size_bytes(),
             .first_offset = segment.base_offset,
             .end_offset = segment.end_offset(),
             .what = fmt::format("its batches have the sum {:#010x}, it was closed with {:#010x}",
                                 scrub.sum, record->sum)});
}

}  // namespace millrace::log
