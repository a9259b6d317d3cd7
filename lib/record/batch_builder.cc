#include "record/batch_builder.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "record/codec.h"

namespace millrace::record {
namespace {

constexpr size_t kMaxVarintBytes = 5;
constexpr size_t kMaxVarlongBytes = 10;
constexpr size_t kMaxReusedBytes = 16 << 10;

size_t NullableSize(Bytes bytes) {
  return bytes.is_null() ? 1 : VarintSize(static_cast<int32_t>(bytes.size())) + bytes.size();
}

std::byte* PutVarint(std::byte* at, int32_t value) { return PutUnsignedVarint(at, ZigZag(value)); }

std::byte* PutNullable(std::byte* at, Bytes bytes) {
  if (bytes.is_null()) return PutVarint(at, -1);
  at = PutVarint(at, static_cast<int32_t>(bytes.size()));
  std::memcpy(at, bytes.str().data(), bytes.size());
  return at + bytes.size();
}

}  // namespace

BatchBuilder::BatchBuilder(BufferPool& pool, size_t expected_bytes)
    : pool_(&pool), expected_bytes_(expected_bytes) {}

size_t BatchBuilder::MaxRecordBytes(Bytes key, Bytes value, std::span<const HeaderView> headers) {
  // Length, attributes, timestamp, offset, sizes of key and value, count of headers.
  size_t bytes = 5 * kMaxVarintBytes + 1 + kMaxVarlongBytes + key.size() + value.size();
  for (const HeaderView& header : headers)
    bytes += 2 * kMaxVarintBytes + header.key.size() + header.value.size();
  return bytes;
}

void BatchBuilder::Append(int64_t timestamp_ms, Bytes key, Bytes value,
                          std::span<const HeaderView> headers) {
  if (record_count_ == 0) base_timestamp_ms_ = max_timestamp_ms_ = timestamp_ms;
  // Subtracted without sign: the reader adds it so, and any two timestamps have such a difference.
  const uint64_t timestamp_delta = ZigZag(static_cast<int64_t>(
      static_cast<uint64_t>(timestamp_ms) - static_cast<uint64_t>(base_timestamp_ms_)));
  const auto header_count = static_cast<int32_t>(headers.size());

  size_t body = 1 + UnsignedVarintSize(timestamp_delta) + VarintSize(record_count_) +
                NullableSize(key) + NullableSize(value) + VarintSize(header_count);
  for (const HeaderView& header : headers)
    body += NullableSize(Bytes(header.key)) + NullableSize(header.value);

  const size_t needed = size_ + kMaxVarintBytes + body;
  if (needed > buffer_.capacity()) [[unlikely]]
    Grow(needed);
  std::byte* at = buffer_.data() + size_;
  at = PutVarint(at, static_cast<int32_t>(body));
  *at++ = std::byte{0};  // attributes
  at = PutUnsignedVarint(at, timestamp_delta);
  at = PutVarint(at, record_count_);  // the offset, counted from the batch's base offset
  at = PutNullable(at, key);
  at = PutNullable(at, value);
  at = PutVarint(at, header_count);
  for (const HeaderView& header : headers) {
    at = PutNullable(at, Bytes(header.key));
    at = PutNullable(at, header.value);
  }
  size_ = static_cast<size_t>(at - buffer_.data());
  ++record_count_;
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
}

void BatchBuilder::Grow(size_t needed) {
  Buffer larger = pool_->Get(std::max({needed, 2 * size_, expected_bytes_}));
  if (buffer_) std::memcpy(larger.data(), buffer_.data(), size_);
  buffer_ = std::move(larger);
}

StatusOr<EncodedBatch> BatchBuilder::Finish(Codec codec, int level) {
  StatusOr<EncodedBatch> batch = Encode(codec, level);
  size_ = kHeaderBytes;
  record_count_ = 0;
  return batch;
}

void BatchBuilder::Reuse(Buffer buffer) {
  if (!buffer_ && buffer.capacity() <= kMaxReusedBytes && buffer.owner().use_count() == 1)
    buffer_ = std::move(buffer);
}

StatusOr<EncodedBatch> BatchBuilder::Encode(Codec codec, int level) {
  if (record_count_ == 0)
    return MakeError(ErrorId::kInvalidArgument, "a batch needs at least one record");
  EncodedBatch batch;
  batch.record_count = record_count_;
  batch.max_timestamp_ms = max_timestamp_ms_;
  if (codec == Codec::kNone) {
    // Handed over, not copied: the next batch begins a buffer of its own.
    batch.buffer = std::move(buffer_);
    batch.size_bytes = size_;
    buffer_ = Buffer();
  } else {
    const std::span<const std::byte> records(buffer_.data() + kHeaderBytes, size_ - kHeaderBytes);
    MILLRACE_ASSIGN_OR_RETURN(SizedBuffer compressed,
                              Compress(codec, level, records, *pool_, kHeaderBytes));
    batch.buffer = std::move(compressed.buffer);
    batch.size_bytes = compressed.size_bytes;
  }
  if (batch.size_bytes - kLogOverheadBytes > static_cast<size_t>(INT32_MAX))
    return MakeError(ErrorId::kRecordTooLarge,
                     fmt::format("a batch of {} bytes, the format allows {}", batch.size_bytes,
                                 INT32_MAX + kLogOverheadBytes));
  StoreHeader({.batch_length = static_cast<int32_t>(batch.size_bytes - kLogOverheadBytes),
               .attributes = static_cast<int16_t>(codec),
               .last_offset_delta = record_count_ - 1,
               .base_timestamp_ms = base_timestamp_ms_,
               .max_timestamp_ms = max_timestamp_ms_,
               .record_count = record_count_},
              batch.buffer.data());
  batch.payload_crc = PayloadCrc(batch.bytes());
  AssignProducer(batch.buffer.data(), kNoProducerId, kNoProducerEpoch, kNoSequence,
                 batch.payload_crc);
  return batch;
}

}  // namespace millrace::record
