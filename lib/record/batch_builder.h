#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/buffer.h"
#include "millrace/bytes.h"
#include "record/batch.h"

namespace millrace::record {

struct HeaderView {
  std::string_view key;
  Bytes value;
};

// A finished batch: its bytes and the CRC of its payload, for AssignProducer.
struct EncodedBatch {
  Buffer buffer;
  size_t size_bytes = 0;
  uint32_t payload_crc = 0;
  int32_t record_count = 0;
  int64_t max_timestamp_ms = kNoTimestamp;
  std::span<std::byte> bytes() const { return {buffer.data(), size_bytes}; }
};

// Encodes records straight into the bytes of one batch; there is no other form of them in memory.
// Belongs to one thread. Allocates only when the batch outgrows its buffer.
class BatchBuilder {
 public:
  // Borrows `pool`, which must outlive the builder. The first buffer holds `expected_bytes`.
  explicit BatchBuilder(BufferPool& pool, size_t expected_bytes = 0);

  // Bytes that the record would add, whatever the records before it (an upper bound).
  static size_t MaxRecordBytes(Bytes key, Bytes value, std::span<const HeaderView> headers);
  // Copies the record to the end. The caller has checked that the batch may grow so far (a batch
  // holds at most 2^31-1 bytes and records).
  void Append(int64_t timestamp_ms, Bytes key, Bytes value,
              std::span<const HeaderView> headers = {});

  bool empty() const { return record_count_ == 0; }
  int32_t record_count() const { return record_count_; }
  size_t size_bytes() const { return size_; }  // header included, before compression

  // Ends the batch: base offset 0, leader epoch -1, no producer; compressed with `codec` at `level`
  // (0: the codec's default), CRC set. The builder is empty again, whatever the result. Fails where
  // the codec does, for a batch without records (invalid_argument) and for one that is too large
  // for the format (record_too_large).
  StatusOr<EncodedBatch> Finish(Codec codec = Codec::kNone, int level = 0);
  // Takes a finished batch's buffer back for the next one, where nobody else holds it and it is
  // small: it spares small batches the way to the pool.
  void Reuse(Buffer buffer);

 private:
  void Grow(size_t needed);
  StatusOr<EncodedBatch> Encode(Codec codec, int level);

  BufferPool* pool_;
  Buffer buffer_;
  size_t size_ = kHeaderBytes;
  int32_t record_count_ = 0;
  int64_t base_timestamp_ms_ = kNoTimestamp;
  int64_t max_timestamp_ms_ = kNoTimestamp;
  size_t expected_bytes_ = 0;
};

}  // namespace millrace::record
