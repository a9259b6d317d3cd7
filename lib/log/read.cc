#include <algorithm>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/errors.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"
#include "log/partition_impl.h"

namespace millrace::log {
namespace {

// The first read of a batch whose size is not known yet.
constexpr size_t kMinReadBytes = size_t{16} << 10;
// A batch that says it is larger than this is checked in pieces before memory is taken for it.
constexpr size_t kLargeBatchBytes = size_t{8} << 20;
// An index that leaves a reader so far from its batch is worth building anew.
constexpr uint64_t kLongScanBytes = uint64_t{4} << 20;

std::string TextOf(const Status& status) {
  const absl::string_view text = status.message();
  return std::string(text.data(), text.size());
}

const DamagedRange* FindDamage(const std::vector<DamagedRange>& damage, Offset offset) {
  for (const DamagedRange& d : damage) {
    if (offset >= d.first_offset && offset < d.end_offset) return &d;
  }
  return nullptr;
}

// The whole good batches at the front of `bytes`, the first of them at offset `expected`.
struct Verified {
  size_t bytes = 0;
  Offset next_offset = -1;
  Status bad = {};  // why the batch behind them is not one of them; OK where it was only cut off
};

Verified VerifyBatches(std::span<const std::byte> bytes, Offset expected, Offset below,
                       const EpochCache& epochs, size_t max_bytes) {
  Verified result{.next_offset = expected};
  while (bytes.size() - result.bytes >= record::kHeaderBytes) {
    const auto rest = bytes.subspan(result.bytes);
    const auto header = record::ParseHeader(rest);
    if (!header.ok()) {
      result.bad = header.status();
      break;
    }
    if (result.bad = CheckPlace(*header, result.next_offset, &epochs); !result.bad.ok()) break;
    const size_t size = header->size_bytes();
    if (header->next_offset() > below || size > rest.size()) break;
    if (result.bytes > 0 && result.bytes + size > max_bytes) break;
    if (!SeededBug(Bug::kNoCrcCheck)) {
      if (result.bad = record::CheckCrc(*header, rest.first(size)); !result.bad.ok()) break;
    }
    result.bytes += size;
    result.next_offset = header->next_offset();
  }
  return result;
}

}  // namespace

std::string Describe(const DamagedRange& d) {
  const std::string bytes =
      d.size_bytes == 0 ? ""
                        : fmt::format("bytes [{}, {}), ", d.position, d.position + d.size_bytes);
  return fmt::format("{}: {}offsets [{}, {}): {}", d.file, bytes, d.first_offset, d.end_offset,
                     d.what);
}

Status UnreadableBatch(const Status& why, const record::BatchHeader& header,
                       const std::string& where) {
  if (ErrorIdOf(why) != ErrorId::kCorruptMessage) return Annotate(why, where);
  return MakeError(ErrorId::kCorruptLog,
                   fmt::format("{}: offsets [{}, {}): {}; cannot be read", where,
                               header.base_offset, header.next_offset(), TextOf(why)));
}

StatusOr<ReadResult> PartitionLog::Impl::Read(Offset from, Offset below, size_t max_bytes,
                                              BufferPool& pool) {
  // In this order: the view has the segments of [start, end), as both move up.
  const Offset end = std::min(below, log_end.load(std::memory_order_acquire));
  const auto now = view();
  const Offset start = log_start.load(std::memory_order_acquire);
  if (from < start || from > end) {
    return MakeError(ErrorId::kOffsetOutOfRange,
                     fmt::format("{}: offset {} is not in [{}, {})", path, from, start, end));
  }
  if (from == end) return ReadResult{.next_offset = from};
  if (const DamagedRange* damage = FindDamage(now->damage, from)) return DamageError(*damage);
  const auto after = std::ranges::upper_bound(
      now->segments, from, {}, [](const auto& segment) { return segment->base_offset; });
  // A disk may have lost what it said it had.
  if (after == now->segments.begin()) {
    return MakeError(ErrorId::kCorruptLog,
                     fmt::format("{}: no file holds offset {}, the first one begins at {}", path,
                                 from, now->segments.front()->base_offset));
  }
  auto result = ReadBatches(*now, **std::prev(after), {from, end, max_bytes}, pool);
  // Retention may have taken the file meanwhile; a reader beside the writer learns it only here.
  if (read_only && absl::IsNotFound(result.status())) Follow().IgnoreError();
  if (!result.ok() && from < log_start.load(std::memory_order_acquire)) {
    return MakeError(ErrorId::kOffsetOutOfRange, fmt::format("{}: offset {} is not in [{}, {})",
                                                             path, from, log_start.load(), end));
  }
  return result;
}

StatusOr<ReadResult> PartitionLog::Impl::ReadBatches(const View& now, Segment& segment,
                                                     const ReadRange& range, BufferPool& pool) {
  const auto [from, limit, max_bytes] = range;
  // No batch of this segment can hold an offset of the next one.
  const Offset below = std::min(limit, segment.end_offset());
  MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
  Resumption at{0, from};
  if (from != segment.base_offset) {
    if (const auto hint = TakeHint(from); hint.has_value()) {
      at.position = *hint;
    } else {
      MILLRACE_ASSIGN_OR_RETURN(at, Locate(segment, *file, from, pool));
    }
  }
  const uint64_t available = segment.size_bytes() - std::min(segment.size_bytes(), at.position);
  size_t want = std::min<uint64_t>(std::max(max_bytes, kMinReadBytes), available);
  Buffer buffer = pool.Get(want);
  MILLRACE_ASSIGN_OR_RETURN(size_t count, file->ReadAt(at.position, buffer.span().first(want)));
  // The first batch comes whole, whatever its size (KIP-74).
  if (count >= record::kHeaderBytes) {
    const auto header = record::ParseHeader(buffer.span().first(count));
    if (header.ok() && header->size_bytes() > count && header->size_bytes() <= available &&
        header->next_offset() <= below) {
      want = header->size_bytes();
      if (want > kLargeBatchBytes) {
        MILLRACE_ASSIGN_OR_RETURN(const auto probed,
                                  ProbeBatch(*file, pool, at.position, at.position + available));
        if (!probed.has_value()) {
          MILLRACE_ASSIGN_OR_RETURN(
              const auto damage,
              NoteDamage(segment, *file, at, "a large batch fails its CRC", pool));
          return DamageError(damage);
        }
      }
      buffer = pool.Get(want);
      MILLRACE_ASSIGN_OR_RETURN(count, file->ReadAt(at.position, buffer.span().first(want)));
    }
  }
  const auto bytes = std::span<const std::byte>(buffer.data(), count);
  Verified good = VerifyBatches(bytes, at.offset, below, now.epochs, max_bytes);
  if (good.bytes > 0) {
    KeepHint({good.next_offset, at.position + good.bytes});
    return ReadResult{.buffer = std::move(buffer),
                      .bytes = bytes.first(good.bytes),
                      .next_offset = good.next_offset};
  }
  if (good.bad.ok() && count < want) {
    good.bad = absl::DataLossError("the file is shorter than what was written to it");
  } else if (good.bad.ok()) {
    // Either `below` lies within the batch, and nothing is readable yet, or its header is wrong.
    MILLRACE_ASSIGN_OR_RETURN(const auto whole,
                              ProbeBatch(*file, pool, at.position, at.position + available));
    if (whole.has_value() && whole->next_offset() <= segment.end_offset())
      return ReadResult{.next_offset = from};
    good.bad = absl::DataLossError(fmt::format("{} bytes hold no whole batch", available));
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto damage,
                            NoteDamage(segment, *file, at, TextOf(good.bad), pool));
  return DamageError(damage);
}

StatusOr<Resumption> PartitionLog::Impl::ScanStart(const View& now, Segment& segment, File& file,
                                                   Offset from) {
  Resumption start{0, segment.base_offset};
  const auto entry = segment.index().Floor(from - segment.base_offset);
  if (entry.ok() && entry->has_value()) {
    // It names the last offset of the batch at its position; what the first one is, the batch says.
    start = {static_cast<uint64_t>(std::max(0, (*entry)->position)), -1};
    std::byte head[record::kHeaderBytes];
    MILLRACE_ASSIGN_OR_RETURN(const size_t count, file.ReadAt(start.position, head));
    const auto header = record::ParseHeader(std::span(head).first(count));
    if (header.ok() && (*entry)->position >= 0 &&
        header->last_offset() == segment.base_offset + (*entry)->relative_offset &&
        header->base_offset >= segment.base_offset) {
      start.offset = header->base_offset;
    }
  }
  const bool good = entry.ok() && start.offset >= 0;
  if (!good && segment.TakeRebuildTurn()) {
    MILLRACE_RETURN_IF_ERROR(RebuildIndexes(segment));
    return ScanStart(now, segment, file, from);
  }
  // An index that cannot be helped: from the front.
  if (!good) start = {0, segment.base_offset};
  for (const DamagedRange& d : now.damage) {
    const uint64_t behind = d.position + d.size_bytes;
    if (d.file == segment.path && d.end_offset <= from && behind > start.position)
      start = {behind, d.end_offset};
  }
  return start;
}

StatusOr<Resumption> PartitionLog::Impl::Locate(Segment& segment, File& file, Offset from,
                                                BufferPool& pool) {
  // Each round knows of one more damaged place, and there are finitely many.
  for (;;) {
    const auto now = view();
    MILLRACE_ASSIGN_OR_RETURN(const Resumption start, ScanStart(*now, segment, file, from));
    SegmentScanner scanner(file, pool,
                           {.position = start.position,
                            .end = segment.size_bytes(),
                            .expected = start.offset,
                            .epochs = &now->epochs,
                            .check_crc = false,
                            .buffer_bytes = kMinReadBytes});
    auto outcome = SegmentScanner::Outcome::kBatch;
    do {
      MILLRACE_ASSIGN_OR_RETURN(outcome, scanner.Next());
    } while (outcome == SegmentScanner::Outcome::kBatch && scanner.expected() <= from);
    if (outcome == SegmentScanner::Outcome::kBatch) {
      const bool far = scanner.position() - start.position > kLongScanBytes;
      if (far && segment.closed() && segment.TakeRebuildTurn())
        MILLRACE_RETURN_IF_ERROR(RebuildIndexes(segment));
      return Resumption{scanner.position(), scanner.header().base_offset};
    }
    const std::string what =
        scanner.what().empty() ? "the file is shorter than what was written to it" : scanner.what();
    MILLRACE_ASSIGN_OR_RETURN(
        const auto damage,
        NoteDamage(segment, file, {scanner.next_position(), scanner.expected()}, what, pool));
    if (from < damage.end_offset) return DamageError(damage);
  }
}

StatusOr<DamagedRange> PartitionLog::Impl::NoteDamage(Segment& segment, File& file,
                                                      const Resumption& at, std::string what,
                                                      BufferPool& pool) {
  uint64_t size = segment.size_bytes();
  Offset end = segment.end_offset();
  if (const Tail written = written_tail(); written.segment.get() == &segment) {
    size = written.position;
    end = written.end;
  }
  // Where bytes are left behind the last offset, the batch that claims it is not the one that was
  // written.
  const Offset first = std::max(segment.base_offset, std::min(at.offset, end - 1));
  MILLRACE_ASSIGN_OR_RETURN(const Resumption next,
                            FindResumption(file, pool, {segment.index(), segment.base_offset},
                                           {at.position, first}, {size, end}));
  DamagedRange damage{.file = segment.path,
                      .position = at.position,
                      .size_bytes = next.position - at.position,
                      .first_offset = first,
                      .end_offset = std::max(next.offset, first + 1),
                      .what = std::move(what)};
  segment.damaged = true;
  AddDamage(damage);
  return damage;
}

void PartitionLog::Impl::AddDamage(const DamagedRange& damage) {
  ChangeView([&](View& v) {
    std::erase_if(v.damage, [&](const DamagedRange& d) {
      return d.first_offset >= damage.first_offset && d.end_offset <= damage.end_offset;
    });
    const auto at =
        std::ranges::upper_bound(v.damage, damage.first_offset, {}, &DamagedRange::first_offset);
    v.damage.insert(at, damage);
  });
}

Status PartitionLog::Impl::DamageError(const DamagedRange& d) const {
  return MakeError(ErrorId::kCorruptLog, fmt::format("{}; cannot be read", Describe(d)));
}

// Reads the headers of the whole segment. Under the appender's lock, since the appender adds
// entries.
Status PartitionLog::Impl::RebuildIndexes(Segment& segment) {
  const auto now = view();
  MutexLock lock(append_mu_);
  MILLRACE_ASSIGN_OR_RETURN(const auto file, segment.OpenLog());
  segment.index().Clear();
  segment.time_index().Clear();
  SegmentScanner scanner(*file, directory.scan_pool,
                         {.end = segment.size_bytes(),
                          .expected = segment.base_offset,
                          .epochs = &now->epochs,
                          .check_crc = false});
  IndexBuilder builder(segment, config.index_interval_bytes);
  for (;;) {
    MILLRACE_ASSIGN_OR_RETURN(const auto outcome, scanner.Next());
    if (outcome != SegmentScanner::Outcome::kBatch)
      break;  // what lies beyond is found from the front
    builder.Add(scanner.header(), scanner.position());
  }
  if (segment.closed()) builder.Finish();
  segment.time_index_checked = true;
  if (auto record = segment.record(); record.has_value()) {
    record->index = segment.index().extent();
    record->time_index = segment.time_index().extent();
    segment.Close(*record);
  }
  return absl::OkStatus();
}

std::optional<uint64_t> PartitionLog::Impl::TakeHint(Offset offset) {
  MutexLock lock(hint_mu_);
  for (Hint& hint : hints) {
    if (hint.offset != offset) continue;
    hint.offset = -1;  // its reader moves on, and leaves a new one
    return hint.position;
  }
  return std::nullopt;
}

void PartitionLog::Impl::KeepHint(const Hint& hint) {
  MutexLock lock(hint_mu_);
  const auto place = std::ranges::find(hints, -1, &Hint::offset);
  (place != hints.end() ? *place : hints[next_hint++ % kHints]) = hint;
}

}  // namespace millrace::log
