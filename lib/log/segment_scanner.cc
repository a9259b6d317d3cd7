#include "log/segment_scanner.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/errors.h"
#include "base/seeded_bug.h"
#include "base/status_macros.h"

namespace millrace::log {
namespace {

std::string TextOf(const Status& status) {
  const absl::string_view text = status.message();
  return std::string(text.data(), text.size());
}

bool AllZero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

Status CheckPlace(const record::BatchHeader& header, Offset expected, const EpochCache* epochs) {
  if (header.record_count != int64_t{header.last_offset_delta} + 1) {
    return MakeError(ErrorId::kCorruptMessage,
                     fmt::format("record count {} with a last offset delta of {}",
                                 header.record_count, header.last_offset_delta));
  }
  if (SeededBug(Bug::kNoContinuityCheck)) expected = -1;
  if (expected >= 0 && header.base_offset != expected) {
    return MakeError(ErrorId::kCorruptMessage,
                     fmt::format("base offset {} where {} must be", header.base_offset, expected));
  }
  if (SeededBug(Bug::kNoEpochCheck)) return absl::OkStatus();
  if (epochs == nullptr) return absl::OkStatus();
  const int32_t epoch = epochs->EpochAt(header.base_offset);
  if (header.leader_epoch == epoch) return absl::OkStatus();
  return MakeError(
      ErrorId::kCorruptMessage,
      fmt::format("leader epoch {} where the epoch history has {}", header.leader_epoch, epoch));
}

SegmentScanner::SegmentScanner(File& file, BufferPool& pool, const Options& options)
    : file_(file),
      options_(options),
      buffer_(pool.Get(options.buffer_bytes)),
      position_(options.position),
      next_position_(options.position),
      expected_(options.expected) {}

SegmentScanner::Outcome SegmentScanner::Stop(Outcome outcome, std::string what) {
  next_position_ = position_;
  what_ = std::move(what);
  return outcome;
}

// At most what the buffer holds; fewer bytes only where the file ends.
StatusOr<std::span<const std::byte>> SegmentScanner::Peek(uint64_t position, size_t bytes) {
  bytes = std::min<size_t>({bytes, buffer_.capacity(), options_.end - position});
  const bool there =
      position >= buffer_position_ && position + bytes <= buffer_position_ + buffer_size_;
  if (!there) {
    const size_t want = std::min<uint64_t>(buffer_.capacity(), options_.end - position);
    buffer_position_ = position;
    buffer_size_ = 0;
    MILLRACE_ASSIGN_OR_RETURN(buffer_size_, file_.ReadAt(position, buffer_.span().first(want)));
    bytes = std::min(bytes, buffer_size_);
  }
  return std::span<const std::byte>(buffer_.data() + (position - buffer_position_), bytes);
}

StatusOr<SegmentScanner::Outcome> SegmentScanner::Next() {
  position_ = next_position_;
  if (position_ >= options_.end) return Outcome::kEnd;
  MILLRACE_ASSIGN_OR_RETURN(const auto head, Peek(position_, record::kHeaderBytes));
  if (head.empty()) return Outcome::kEnd;
  // The buffer holds something else once it has looked beyond.
  const size_t head_bytes = head.size();
  std::memcpy(head_, head.data(), head_bytes);
  if (AllZero(head.first(std::min<size_t>(head_bytes, record::kLogOverheadBytes + 5)))) {
    MILLRACE_ASSIGN_OR_RETURN(const bool zeros, OnlyZeros());
    if (zeros) return Stop(Outcome::kZeros, "zeros up to the end of the file");
  }
  if (head_bytes < record::kHeaderBytes) {
    return Stop(Outcome::kIncomplete,
                fmt::format("the file ends after {} bytes of a batch header", head_bytes));
  }
  auto header = record::ParseHeader(head_);
  if (!header.ok()) return Stop(Outcome::kBad, TextOf(header.status()));
  header_ = *header;
  if (Status place = CheckPlace(header_, expected_, nullptr); !place.ok())
    return Stop(Outcome::kBad, TextOf(place));
  // Before the epoch: the file that tells the epochs may be older than a batch that was just being
  // written.
  if (header_.size_bytes() > options_.end - position_) {
    return Stop(Outcome::kIncomplete, fmt::format("a batch of {} bytes where the file has {} left",
                                                  header_.size_bytes(), options_.end - position_));
  }
  if (Status place = CheckPlace(header_, -1, options_.epochs); !place.ok())
    return Stop(Outcome::kBad, TextOf(place));
  if (options_.check_crc) {
    MILLRACE_ASSIGN_OR_RETURN(const bool matches, CrcMatches());
    if (!matches) {
      return Stop(Outcome::kBad, fmt::format("the batch at offset {} fails its CRC {:#010x}",
                                             header_.base_offset, header_.crc));
    }
  }
  next_position_ = position_ + header_.size_bytes();
  expected_ = header_.next_offset();
  return Outcome::kBatch;
}

StatusOr<bool> SegmentScanner::CrcMatches() {
  uint32_t crc = 0;
  const uint64_t end = position_ + header_.size_bytes();
  for (uint64_t at = position_ + record::kCrcStart; at < end;) {
    MILLRACE_ASSIGN_OR_RETURN(const auto bytes, Peek(at, end - at));
    if (bytes.empty()) return false;  // the file has been cut meanwhile
    crc = Crc32c(bytes, crc);
    at += bytes.size();
  }
  return crc == header_.crc;
}

StatusOr<bool> SegmentScanner::OnlyZeros() {
  for (uint64_t at = position_; at < options_.end;) {
    MILLRACE_ASSIGN_OR_RETURN(const auto bytes, Peek(at, buffer_.capacity()));
    if (bytes.empty()) break;
    if (!AllZero(bytes)) return false;
    at += bytes.size();
  }
  return true;
}

StatusOr<std::optional<record::BatchHeader>> ProbeBatch(File& file, BufferPool& pool,
                                                        uint64_t position, uint64_t end) {
  if (position >= end) return std::nullopt;
  SegmentScanner scanner(file, pool,
                         {.position = position, .end = end, .buffer_bytes = size_t{64} << 10});
  MILLRACE_ASSIGN_OR_RETURN(const auto outcome, scanner.Next());
  if (outcome != SegmentScanner::Outcome::kBatch) return std::nullopt;
  return scanner.header();
}

namespace {

// The damaged batch's own header may still say where the next batch is.
StatusOr<std::optional<Resumption>> ByItsLength(File& file, BufferPool& pool,
                                                const Resumption& damage,
                                                const Resumption& segment_end) {
  const auto [end, known_end] = segment_end;
  std::byte head[record::kHeaderBytes];
  MILLRACE_ASSIGN_OR_RETURN(const size_t count, file.ReadAt(damage.position, head));
  if (count < record::kHeaderBytes) return std::nullopt;
  // Whatever else is wrong with the header: its length counts if what it leads to does.
  const int64_t size = int64_t{LoadBigEndian<int32_t>(head + record::kBatchLengthAt)} +
                       int64_t{record::kLogOverheadBytes};
  const int64_t last_offset_delta = LoadBigEndian<int32_t>(head + record::kLastOffsetDeltaAt);
  if (size < int64_t{record::kHeaderBytes} || size > static_cast<int64_t>(end - damage.position))
    return std::nullopt;
  const uint64_t next = damage.position + static_cast<uint64_t>(size);
  if (next == end) {
    if (known_end < 0) return std::nullopt;  // how many records it held is as damaged as the rest
    return Resumption{end, std::max(known_end, damage.offset)};
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto after, ProbeBatch(file, pool, next, end));
  if (!after.has_value() || after->base_offset <= damage.offset) return std::nullopt;
  if (known_end >= 0 && after->next_offset() > known_end) return std::nullopt;
  // The base offset lies outside of the batch's CRC: something else has to agree with it.
  const Resumption found{next, after->base_offset};
  if (after->base_offset == damage.offset + last_offset_delta + 1) return found;
  const uint64_t second = next + after->size_bytes();
  if (second == end) return after->next_offset() == known_end ? std::optional(found) : std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(const auto follower, ProbeBatch(file, pool, second, end));
  if (!follower.has_value() || follower->base_offset != after->next_offset()) return std::nullopt;
  return found;
}

}  // namespace

StatusOr<Resumption> FindResumption(File& file, BufferPool& pool, const BasedIndex& entries,
                                    const Resumption& damage, const Resumption& end) {
  MILLRACE_ASSIGN_OR_RETURN(const auto by_length, ByItsLength(file, pool, damage, end));
  if (by_length.has_value()) return *by_length;
  int64_t key = damage.offset - entries.base - 1;
  for (;;) {
    const auto entry = entries.index.Above(key);
    if (!entry.ok() || !entry->has_value()) break;
    if ((*entry)->key() <= key) break;  // an index that does not ascend
    key = (*entry)->key();
    const auto position = static_cast<uint64_t>((*entry)->position);
    if ((*entry)->position < 0 || position <= damage.position) continue;
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, ProbeBatch(file, pool, position, end.position));
    if (batch.has_value() && batch->last_offset() == entries.base + key &&
        batch->base_offset > damage.offset) {
      return Resumption{position, batch->base_offset};
    }
  }
  if (end.offset >= 0) return Resumption{end.position, std::max(end.offset, damage.offset)};
  // A record takes more than one byte.
  const auto most = static_cast<Offset>(end.position - damage.position);
  return Resumption{end.position, damage.offset + std::max<Offset>(1, most)};
}

}  // namespace millrace::log
