// A whole batch of any bytes: header, CRC, expansion and records, as recovery, a follower or a
// consumer would read it, and the checks of a leader beside them.
#include <vector>

#include "base/endian.h"
#include "fuzz/fuzz.h"
#include "record/batch.h"
#include "record/codec.h"
#include "record/record_reader.h"

namespace millrace::record {
namespace {

constexpr size_t kLimit = size_t{1} << 20;

using fuzz::Require;

// How many records read; -1 where they do not.
int64_t CountRecords(const BatchHeader& header, std::span<const std::byte> batch,
                     BufferPool& pool) {
  const StatusOr<Payload> payload = ExpandedPayload(header, batch, kLimit, pool);
  if (!payload.ok()) return -1;
  RecordReader reader(header, payload->records);
  int64_t count = 0;
  int64_t last_offset = header.base_offset - 1;
  for (RecordFields record; reader.Next(&record); ++count) {
    Require(record.offset > last_offset && record.offset <= header.last_offset());
    last_offset = record.offset;
    HeaderReader headers(record);
    std::string_view key;
    Bytes value;
    int32_t seen = 0;
    while (headers.Next(&key, &value)) ++seen;
    Require(seen == record.header_count);
  }
  if (!reader.status().ok()) return -1;
  Require(count == header.record_count);
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static BufferPool& pool = *new BufferPool;
  std::vector<std::byte> batch(size);
  for (size_t i = 0; i < size; ++i) batch[i] = static_cast<std::byte>(data[i]);
  if (size >= kHeaderBytes) {
    // The two fields that a fuzzer finds by chance alone.
    StoreBigEndian(batch.data() + 8, static_cast<int32_t>(size - kLogOverheadBytes));
    batch[16] = std::byte{kMagic};
  }
  const StatusOr<BatchHeader> header = ParseHeader(batch);
  if (!header.ok()) return 0;
  CheckCrc(*header, batch).IgnoreError();  // nearly never right, and no reason to stop
  const int64_t count = CountRecords(*header, batch, pool);
  RecordSummary summary;
  const Status valid =
      ValidateRecords(*header, batch, {.max_uncompressed_bytes = kLimit}, pool, &summary);
  if (valid.ok()) Require(count == int64_t{header->last_offset_delta} + 1);

  // What a leader changes leaves a batch with a right CRC and the same records.
  const uint32_t payload_crc = PayloadCrc(batch);
  AssignProducer(batch.data(), 5, 6, 7, payload_crc);
  AssignOffset(batch.data(), 42, 1);
  AssignLogAppendTime(batch.data(), 99, payload_crc);
  const StatusOr<BatchHeader> changed = ParseHeader(batch);
  Require(changed.ok() && CheckCrc(*changed, batch).ok());
  Require(CountRecords(*changed, batch, pool) == count);
  Require(pool.outstanding_bytes() == 0);
  return 0;
}

}  // namespace millrace::record
