#include "record/batch.h"

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/errors.h"

namespace millrace::record {
namespace {

// Where each field stands in the header.
constexpr size_t kBaseOffsetAt = 0;
constexpr size_t kLeaderEpochAt = 12;
constexpr size_t kMagicAt = 16;
constexpr size_t kCrcAt = 17;
constexpr size_t kAttributesAt = 21;
constexpr size_t kBaseTimestampAt = 27;
constexpr size_t kMaxTimestampAt = 35;
constexpr size_t kProducerIdAt = 43;
constexpr size_t kProducerEpochAt = 51;
constexpr size_t kBaseSequenceAt = 53;
constexpr size_t kRecordCountAt = 57;
static_assert(kAttributesAt == kCrcStart && kRecordCountAt + 4 == kHeaderBytes);

constexpr int16_t kLogAppendTimeBit = 8;
constexpr int32_t kMinBatchLength = static_cast<int32_t>(kHeaderBytes - kLogOverheadBytes);

Status CannotBe(const BatchHeader& header, std::string_view what) {
  return MakeError(ErrorId::kCorruptMessage,
                   fmt::format("batch header with base offset {}: {}", header.base_offset, what));
}

// What no writer of the format makes, in the order in which a reader would stumble over it.
Status Check(const BatchHeader& h) {
  if (h.magic != kMagic)
    return CannotBe(
        h, fmt::format("magic {}, only {} is supported", static_cast<uint8_t>(h.magic), kMagic));
  if (h.batch_length < kMinBatchLength)
    return CannotBe(h, fmt::format("length {}, at least {} is needed for the header alone",
                                   h.batch_length, kMinBatchLength));
  if (h.codec() > Codec::kZstd)
    return CannotBe(h, fmt::format("compression codec {}, known are 0 to 4", h.attributes & 7));
  if (h.last_offset_delta < 0)
    return CannotBe(h,
                    fmt::format("last offset delta {}, must not be negative", h.last_offset_delta));
  if (h.base_offset < 0 || h.base_offset > INT64_MAX - 1 - h.last_offset_delta)
    return CannotBe(h, fmt::format("offsets must be in [0, {}], with a last offset delta of {}",
                                   INT64_MAX - 1, h.last_offset_delta));
  if (h.record_count < 0 || h.record_count > int64_t{h.last_offset_delta} + 1)
    return CannotBe(
        h, fmt::format("record count {}, must be in [0, {}] for a last offset delta of {}",
                       h.record_count, int64_t{h.last_offset_delta} + 1, h.last_offset_delta));
  const size_t payload_bytes = h.size_bytes() - kHeaderBytes;
  if (h.codec() == Codec::kNone &&
      static_cast<size_t>(h.record_count) > payload_bytes / kMinRecordBytes)
    return CannotBe(h, fmt::format("record count {}, the {} bytes of records can hold at most {}",
                                   h.record_count, payload_bytes, payload_bytes / kMinRecordBytes));
  return absl::OkStatus();
}

// The CRC after a change of the header, from the CRC of the payload that did not change.
void RenewCrc(std::byte* batch, uint32_t payload_crc) {
  const auto length = static_cast<size_t>(LoadBigEndian<int32_t>(batch + kBatchLengthAt));
  const uint32_t header_crc = Crc32c({batch + kCrcStart, kHeaderBytes - kCrcStart});
  StoreBigEndian(batch + kCrcAt,
                 Crc32cCombine(header_crc, payload_crc, length + kLogOverheadBytes - kHeaderBytes));
}

}  // namespace

std::string_view Name(Codec codec) {
  switch (codec) {
    case Codec::kNone:
      return "none";
    case Codec::kGzip:
      return "gzip";
    case Codec::kSnappy:
      return "snappy";
    case Codec::kLz4:
      return "lz4";
    case Codec::kZstd:
      return "zstd";
  }
  return "unknown";
}

int32_t AddToSequence(int32_t sequence, int32_t delta) {
  return static_cast<int32_t>((static_cast<uint32_t>(sequence) + static_cast<uint32_t>(delta)) &
                              0x7fffffffu);
}

StatusOr<BatchHeader> ParseHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes)
    return MakeError(
        ErrorId::kCorruptMessage,
        fmt::format("batch header cut off: {} bytes, {} are needed", bytes.size(), kHeaderBytes));
  const std::byte* const at = bytes.data();
  const BatchHeader header = {
      .base_offset = LoadBigEndian<int64_t>(at + kBaseOffsetAt),
      .batch_length = LoadBigEndian<int32_t>(at + kBatchLengthAt),
      .leader_epoch = LoadBigEndian<int32_t>(at + kLeaderEpochAt),
      .magic = LoadBigEndian<int8_t>(at + kMagicAt),
      .crc = LoadBigEndian<uint32_t>(at + kCrcAt),
      .attributes = LoadBigEndian<int16_t>(at + kAttributesAt),
      .last_offset_delta = LoadBigEndian<int32_t>(at + kLastOffsetDeltaAt),
      .base_timestamp_ms = LoadBigEndian<int64_t>(at + kBaseTimestampAt),
      .max_timestamp_ms = LoadBigEndian<int64_t>(at + kMaxTimestampAt),
      .producer_id = LoadBigEndian<int64_t>(at + kProducerIdAt),
      .producer_epoch = LoadBigEndian<int16_t>(at + kProducerEpochAt),
      .base_sequence = LoadBigEndian<int32_t>(at + kBaseSequenceAt),
      .record_count = LoadBigEndian<int32_t>(at + kRecordCountAt),
  };
  if (Status status = Check(header); !status.ok()) return status;
  return header;
}

void StoreHeader(const BatchHeader& header, std::byte* at) {
  StoreBigEndian(at + kBaseOffsetAt, header.base_offset);
  StoreBigEndian(at + kBatchLengthAt, header.batch_length);
  StoreBigEndian(at + kLeaderEpochAt, header.leader_epoch);
  StoreBigEndian(at + kMagicAt, header.magic);
  StoreBigEndian(at + kCrcAt, header.crc);
  StoreBigEndian(at + kAttributesAt, header.attributes);
  StoreBigEndian(at + kLastOffsetDeltaAt, header.last_offset_delta);
  StoreBigEndian(at + kBaseTimestampAt, header.base_timestamp_ms);
  StoreBigEndian(at + kMaxTimestampAt, header.max_timestamp_ms);
  StoreBigEndian(at + kProducerIdAt, header.producer_id);
  StoreBigEndian(at + kProducerEpochAt, header.producer_epoch);
  StoreBigEndian(at + kBaseSequenceAt, header.base_sequence);
  StoreBigEndian(at + kRecordCountAt, header.record_count);
}

uint32_t ComputeCrc(std::span<const std::byte> batch) { return Crc32c(batch.subspan(kCrcStart)); }

Status CheckCrc(const BatchHeader& header, std::span<const std::byte> batch) {
  if (batch.size() != header.size_bytes())
    return MakeError(ErrorId::kCorruptMessage,
                     fmt::format("batch at offset {}: its header says {} bytes, there are {}",
                                 header.base_offset, header.size_bytes(), batch.size()));
  const uint32_t computed = ComputeCrc(batch);
  if (computed == header.crc) return absl::OkStatus();
  return MakeError(
      ErrorId::kCorruptMessage,
      fmt::format("batch at offset {} fails its CRC: stored {:#010x}, computed {:#010x}",
                  header.base_offset, header.crc, computed));
}

void AssignOffset(std::byte* batch, int64_t base_offset, int32_t leader_epoch) {
  StoreBigEndian(batch + kBaseOffsetAt, base_offset);
  StoreBigEndian(batch + kLeaderEpochAt, leader_epoch);
}

void AssignProducer(std::byte* batch, int64_t producer_id, int16_t producer_epoch,
                    int32_t base_sequence, uint32_t payload_crc) {
  StoreBigEndian(batch + kProducerIdAt, producer_id);
  StoreBigEndian(batch + kProducerEpochAt, producer_epoch);
  StoreBigEndian(batch + kBaseSequenceAt, base_sequence);
  RenewCrc(batch, payload_crc);
}

void AssignLogAppendTime(std::byte* batch, int64_t now_ms, uint32_t payload_crc) {
  const auto attributes = LoadBigEndian<int16_t>(batch + kAttributesAt);
  StoreBigEndian(batch + kAttributesAt, static_cast<int16_t>(attributes | kLogAppendTimeBit));
  AssignMaxTimestamp(batch, now_ms, payload_crc);
}

void AssignMaxTimestamp(std::byte* batch, int64_t max_timestamp_ms, uint32_t payload_crc) {
  StoreBigEndian(batch + kMaxTimestampAt, max_timestamp_ms);
  RenewCrc(batch, payload_crc);
}

uint32_t PayloadCrc(std::span<const std::byte> batch) {
  return Crc32c(batch.subspan(kHeaderBytes));
}

}  // namespace millrace::record
