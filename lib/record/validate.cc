#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "record/batch.h"
#include "record/codecs.h"
#include "record/decoder.h"
#include "record/record_reader.h"
#include "record/varint.h"

namespace millrace::record {
namespace {

constexpr size_t kWindowBytes = size_t{64} << 10;
constexpr size_t kMaxVarintBytes = 10;

// The bytes that come out of a decoder, seen through a window of constant size: what a record holds
// is stepped over and never kept, so a record may be larger than the window.
class DecodedStream {
 public:
  DecodedStream(Decoder& decoder, std::span<std::byte> window)
      : decoder_(decoder), window_(window), at_(window.data()), end_(window.data()) {}

  // Bytes taken so far.
  uint64_t position() const { return position_of_end_ - visible(); }
  // Not OK once the decoder failed; the data then ends there.
  const Status& status() const { return status_; }

  template <std::signed_integral T>
  bool Varint(T& value) {
    Show(kMaxVarintBytes);
    return TakeVarint(at_, end_, value);
  }
  bool Skip(size_t count) {
    while (count > visible()) {
      count -= visible();
      at_ = end_;
      if (!Show(1)) return false;
    }
    at_ += count;
    return true;
  }
  bool AtEnd() { return !Show(1); }

 private:
  size_t visible() const { return static_cast<size_t>(end_ - at_); }
  // Makes at least `count` bytes visible, unless the data ends before.
  bool Show(size_t count) {
    if (visible() < count && !ended_) Refill();
    return visible() >= count;
  }
  void Refill() {
    const size_t kept = visible();
    std::copy(at_, end_, window_.data());
    StatusOr<size_t> count = decoder_.Read(window_.subspan(kept));
    if (!count.ok()) status_ = count.status();
    const size_t added = count.ok() ? *count : 0;
    ended_ = kept + added < window_.size();
    at_ = window_.data();
    end_ = at_ + kept + added;
    position_of_end_ += added;
  }

  Decoder& decoder_;
  const std::span<std::byte> window_;
  const std::byte* at_;
  const std::byte* end_;
  uint64_t position_of_end_ = 0;
  bool ended_ = false;
  Status status_;
};

// What the rules ask of a record.
struct RecordFacts {
  int32_t offset_delta = 0;  // not yet an offset: added to the base it may overflow
  int64_t timestamp_ms = kNoTimestamp;
  bool has_key = false;
};

std::string_view MessageOf(const Status& status) {
  return {status.message().data(), status.message().size()};
}

Status Invalid(const BatchHeader& header, std::string_view problem) {
  return MakeError(ErrorId::kInvalidRecord,
                   fmt::format("batch at offset {}: {}", header.base_offset, problem));
}

class Rules {
 public:
  Rules(const BatchHeader& header, const RecordLimits& limits) : header_(header), limits_(limits) {}

  Status Check(const RecordFacts& record) {
    const int32_t index = next_++;
    if (record.offset_delta != index)
      return Refuse(ErrorId::kInvalidRecord, index,
                    fmt::format("offset delta {}, must be {}", record.offset_delta, index));
    if (limits_.require_keys && !record.has_key)
      return Refuse(ErrorId::kInvalidRecord, index, "no key, a compacted topic needs one");
    if (!header_.is_log_append_time() && (record.timestamp_ms < limits_.earliest_timestamp_ms ||
                                          record.timestamp_ms > limits_.latest_timestamp_ms))
      return Refuse(ErrorId::kInvalidTimestamp, index,
                    fmt::format("timestamp {} ms, must be in [{}, {}]", record.timestamp_ms,
                                limits_.earliest_timestamp_ms, limits_.latest_timestamp_ms));
    max_timestamp_ms_ = std::max(max_timestamp_ms_, record.timestamp_ms);
    return absl::OkStatus();
  }
  int64_t max_timestamp_ms() const { return max_timestamp_ms_; }

 private:
  Status Refuse(ErrorId id, int32_t index, std::string_view problem) const {
    return MakeError(id, fmt::format("batch at offset {}: record {} of {}: {}", header_.base_offset,
                                     index + 1, header_.record_count, problem));
  }

  const BatchHeader& header_;
  const RecordLimits& limits_;
  int32_t next_ = 0;
  int64_t max_timestamp_ms_ = std::numeric_limits<int64_t>::min();
};

bool SkipNullable(DecodedStream& in, bool may_be_null, bool* is_null) {
  int32_t size;
  if (!in.Varint(size) || size < -1) return false;
  *is_null = size == -1;
  return *is_null ? may_be_null : in.Skip(static_cast<size_t>(size));
}

// Steps over one record as RecordReader::Decode does; what is wrong with it, or nullptr.
const char* StepOver(DecodedStream& in, const BatchHeader& header, RecordFacts* facts) {
  int32_t length;
  if (!in.Varint(length) || length <= 0) return "its length does not decode";
  const uint64_t end = in.position() + static_cast<uint64_t>(length);
  int64_t timestamp_delta;
  if (!in.Skip(1) || !in.Varint(timestamp_delta)) return "its timestamp does not decode";
  if (!in.Varint(facts->offset_delta)) return "its offset does not decode";
  bool is_null;
  if (!SkipNullable(in, true, &is_null)) return "its key does not fit its length";
  facts->has_key = !is_null;
  if (!SkipNullable(in, true, &is_null)) return "its value does not fit its length";
  int32_t header_count;
  if (!in.Varint(header_count) || header_count < 0) return "its header count does not decode";
  for (; header_count > 0 && in.position() < end; --header_count)
    if (!SkipNullable(in, false, &is_null) || !SkipNullable(in, true, &is_null))
      return "a header does not fit its length";
  if (header_count > 0 || in.position() != end)
    return "its fields do not end where its length says";
  facts->timestamp_ms = header.is_log_append_time()
                            ? header.max_timestamp_ms
                            : static_cast<int64_t>(static_cast<uint64_t>(header.base_timestamp_ms) +
                                                   static_cast<uint64_t>(timestamp_delta));
  return nullptr;
}

Status ValidateStream(const BatchHeader& header, DecodedStream& in, Rules& rules) {
  const auto damaged = [&](std::string_view problem) {
    // Where the decoder failed, that is the reason; its data ended early.
    if (in.status().ok()) return Invalid(header, problem);
    if (ErrorIdOf(in.status()) == ErrorId::kCorruptMessage)
      return Invalid(header, MessageOf(in.status()));
    return Annotate(in.status(), fmt::format("batch at offset {}", header.base_offset));
  };
  for (int32_t i = 0; i < header.record_count; ++i) {
    RecordFacts facts;
    if (const char* problem = StepOver(in, header, &facts))
      return damaged(fmt::format("record {} of {}: {}", i + 1, header.record_count, problem));
    MILLRACE_RETURN_IF_ERROR(rules.Check(facts));
  }
  if (!in.AtEnd() || !in.status().ok())
    return damaged(fmt::format("bytes follow the last of its {} records", header.record_count));
  return absl::OkStatus();
}

Status ValidateCompressed(const BatchHeader& header, std::span<const std::byte> records,
                          const RecordLimits& limits, BufferPool& scratch, Rules& rules) {
  StatusOr<std::unique_ptr<Decoder>> decoder =
      NewDecoder(header.codec(), records, limits.max_uncompressed_bytes, scratch);
  if (!decoder.ok()) {
    if (ErrorIdOf(decoder.status()) != ErrorId::kCorruptMessage) return decoder.status();
    return Invalid(header, MessageOf(decoder.status()));
  }
  MILLRACE_ASSIGN_OR_RETURN(const Buffer window, internal::TryGet(scratch, kWindowBytes));
  DecodedStream stream(**decoder, window.span());
  return ValidateStream(header, stream, rules);
}

Status ValidatePlain(const BatchHeader& header, std::span<const std::byte> records, Rules& rules) {
  RecordReader reader(header, records);
  RecordFields record;
  while (reader.Next(&record)) {
    const auto offset_delta = static_cast<int32_t>(record.offset - header.base_offset);
    MILLRACE_RETURN_IF_ERROR(
        rules.Check({offset_delta, record.timestamp_ms, !record.key.is_null()}));
  }
  if (reader.status().ok()) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidRecord, MessageOf(reader.status()));
}

}  // namespace

Status ValidateRecords(const BatchHeader& header, std::span<const std::byte> batch,
                       const RecordLimits& limits, BufferPool& scratch, RecordSummary* summary) {
  if (batch.size() != header.size_bytes())
    return Invalid(header, fmt::format("its header says {} bytes, there are {}",
                                       header.size_bytes(), batch.size()));
  if (header.record_count != int64_t{header.last_offset_delta} + 1)
    return Invalid(
        header, fmt::format("{} records, a last offset delta of {} needs {}", header.record_count,
                            header.last_offset_delta, int64_t{header.last_offset_delta} + 1));
  const auto records = batch.subspan(kHeaderBytes);
  Rules rules(header, limits);
  if (header.codec() == Codec::kNone) {
    if (records.size() > limits.max_uncompressed_bytes)
      return MakeError(
          ErrorId::kRecordTooLarge,
          fmt::format("batch at offset {}: {} bytes of records, the limit is {}",
                      header.base_offset, records.size(), limits.max_uncompressed_bytes));
    MILLRACE_RETURN_IF_ERROR(ValidatePlain(header, records, rules));
  } else {
    MILLRACE_RETURN_IF_ERROR(ValidateCompressed(header, records, limits, scratch, rules));
  }
  if (summary != nullptr) summary->max_timestamp_ms = rules.max_timestamp_ms();
  return absl::OkStatus();
}

}  // namespace millrace::record
