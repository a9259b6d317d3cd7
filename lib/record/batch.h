#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "base/buffer.h"
#include "millrace/status.h"

// Record batch v2, Kafka's format on disk and on the wire (KIP-98; docs/format/records.md). A batch
// is bytes; what stands here reads and patches its header. record_reader.h reads records,
// batch_builder.h writes them.
namespace millrace::record {

inline constexpr size_t kHeaderBytes = 61;
inline constexpr size_t kLogOverheadBytes =
    12;                                  // base offset and length: not counted by the length
inline constexpr size_t kCrcStart = 21;  // the CRC covers [kCrcStart, end)
// A record of null key, null value and no headers: what a count of records can be checked against.
inline constexpr size_t kMinRecordBytes = 7;
// Where these stand in a header, for who looks at one that does not parse.
inline constexpr size_t kBatchLengthAt = 8;
inline constexpr size_t kLastOffsetDeltaAt = 23;
inline constexpr int8_t kMagic = 2;
inline constexpr int64_t kNoProducerId = -1;
inline constexpr int16_t kNoProducerEpoch = -1;
inline constexpr int32_t kNoSequence = -1;
inline constexpr int64_t kNoTimestamp = -1;

// Ids as in bits 0-2 of the attributes.
enum class Codec : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };
std::string_view Name(Codec codec);  // "none", "gzip"...

// Advances a sequence by `delta` >= 0, wrapping to 0 after 2^31-1.
int32_t AddToSequence(int32_t sequence, int32_t delta);

struct BatchHeader {
  int64_t base_offset = 0;
  int32_t batch_length = 0;  // of what follows this field
  int32_t leader_epoch = -1;
  int8_t magic = kMagic;
  uint32_t crc = 0;
  int16_t attributes = 0;
  int32_t last_offset_delta = 0;
  int64_t base_timestamp_ms = kNoTimestamp;
  int64_t max_timestamp_ms = kNoTimestamp;
  int64_t producer_id = kNoProducerId;
  int16_t producer_epoch = kNoProducerEpoch;
  int32_t base_sequence = kNoSequence;
  int32_t record_count = 0;

  size_t size_bytes() const { return static_cast<size_t>(batch_length) + kLogOverheadBytes; }
  int64_t last_offset() const { return base_offset + last_offset_delta; }
  int64_t next_offset() const { return last_offset() + 1; }
  Codec codec() const { return static_cast<Codec>(attributes & 7); }
  bool is_log_append_time() const { return (attributes & 8) != 0; }
  bool is_transactional() const { return (attributes & 16) != 0; }
  bool is_control() const { return (attributes & 32) != 0; }
  bool has_delete_horizon() const { return (attributes & 64) != 0; }
  // The sequence of the batch's last record; kNoSequence where the batch has none.
  int32_t last_sequence() const {
    return base_sequence < 0 ? kNoSequence : AddToSequence(base_sequence, last_offset_delta);
  }
};

// Decodes the header at the front of `bytes`, which may go on beyond the batch or end within it.
// corrupt_message when fewer than kHeaderBytes are there, the magic is not 2, the length is below
// what a header needs, or the offsets, codec, last offset delta or record count cannot be. What it
// returns may be computed with: next_offset() does not overflow. Does not look at the CRC.
StatusOr<BatchHeader> ParseHeader(std::span<const std::byte> bytes);
// Writes all 61 bytes, header.crc included.
void StoreHeader(const BatchHeader& header, std::byte* at);

// The CRC-32C of a whole batch, to compare with header.crc.
uint32_t ComputeCrc(std::span<const std::byte> batch);
// OK, or corrupt_message with both values, or where `batch` is not header.size_bytes() long.
Status CheckCrc(const BatchHeader& header, std::span<const std::byte> batch);

// The checks of a leader (Kafka's LogValidator): every record decodes within the batch, offset
// deltas are 0, 1, 2 and on to last_offset_delta, the count agrees, nothing follows the last
// record; a compressed batch is streamed through its decoder, in memory that does not grow with
// what comes out of it.
struct RecordLimits {
  size_t max_uncompressed_bytes = size_t{1} << 30;
  bool require_keys = false;  // a compacted topic
  // Of create times, both inclusive; a batch with log append time is not held to them.
  int64_t earliest_timestamp_ms = std::numeric_limits<int64_t>::min();
  int64_t latest_timestamp_ms = std::numeric_limits<int64_t>::max();
};
// What the records say, whatever the header claims.
struct RecordSummary {
  int64_t max_timestamp_ms = kNoTimestamp;  // see AssignMaxTimestamp
};
// invalid_record naming the record, invalid_timestamp naming the record, or record_too_large beyond
// max_uncompressed_bytes. Fills `summary` on success. `scratch` lends the buffers.
Status ValidateRecords(const BatchHeader& header, std::span<const std::byte> batch,
                       const RecordLimits& limits, BufferPool& scratch,
                       RecordSummary* summary = nullptr);

// What a leader may change in place. Offset and epoch lie outside the CRC.
void AssignOffset(std::byte* batch, int64_t base_offset, int32_t leader_epoch);
// Producer fields lie inside: the CRC is made new from the forty header bytes and `payload_crc`,
// the CRC-32C of the bytes from kHeaderBytes to the end, without reading those.
void AssignProducer(std::byte* batch, int64_t producer_id, int16_t producer_epoch,
                    int32_t base_sequence, uint32_t payload_crc);
// Log append time: sets the attribute and the maximum timestamp, and makes the CRC new.
void AssignLogAppendTime(std::byte* batch, int64_t now_ms, uint32_t payload_crc);
// Sets the maximum timestamp alone, where a client's header disagrees with its records.
void AssignMaxTimestamp(std::byte* batch, int64_t max_timestamp_ms, uint32_t payload_crc);
uint32_t PayloadCrc(std::span<const std::byte> batch);

}  // namespace millrace::record
