// The records of a batch from any bytes: what reads is written again and must read the same, and
// what a leader takes does not depend on whether the records are compressed.
#include <algorithm>
#include <vector>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "fuzz/fuzz.h"
#include "record/batch_builder.h"
#include "record/codec.h"
#include "record/record_reader.h"

namespace millrace::record {
namespace {

using fuzz::Require;

std::vector<HeaderView> HeadersOf(const RecordFields& record) {
  std::vector<HeaderView> headers;
  HeaderReader reader(record);
  for (HeaderView header; reader.Next(&header.key, &header.value);) headers.push_back(header);
  return headers;
}

bool SameRecord(const RecordFields& a, const RecordFields& b) {
  const auto same_header = [](const HeaderView& x, const HeaderView& y) {
    return x.key == y.key && x.value == y.value;
  };
  return a.timestamp_ms == b.timestamp_ms && a.key == b.key && a.value == b.value &&
         std::ranges::equal(HeadersOf(a), HeadersOf(b), same_header);
}

// Both answer alike, but for the texts.
void CheckRulesAgree(BatchHeader header, std::span<const std::byte> records, BufferPool& pool) {
  const auto validate = [&](Codec codec) {
    const SizedBuffer batch = *Compress(codec, 0, records, pool, kHeaderBytes);
    header.attributes = static_cast<int16_t>(codec);
    header.batch_length = static_cast<int32_t>(batch.size_bytes - kLogOverheadBytes);
    return ValidateRecords(header, batch.bytes(), {.require_keys = true}, pool);
  };
  const Status plain = validate(Codec::kNone);
  const Status expanded = validate(Codec::kSnappy);
  Require(plain.ok() == expanded.ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static BufferPool& pool = *new BufferPool;
  if (size < 1) return 0;
  const std::span records(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  const BatchHeader header = {
      .last_offset_delta = (data[0] & 15) + ((data[0] & 128) != 0 ? 1000 : 0),
      .base_timestamp_ms = 1700000000000,
      .record_count = (data[0] & 15) + 1,
  };
  CheckRulesAgree(header, records, pool);

  BatchBuilder builder(pool);
  std::vector<RecordFields> read;
  RecordReader reader(header, records);
  for (RecordFields record; reader.Next(&record);) {
    read.push_back(record);
    builder.Append(record.timestamp_ms, record.key, record.value, HeadersOf(record));
  }
  if (read.empty()) return 0;
  const EncodedBatch batch = *builder.Finish();
  const StatusOr<BatchHeader> again = ParseHeader(batch.bytes());
  Require(again.ok() && CheckCrc(*again, batch.bytes()).ok());
  RecordReader second(*again, batch.bytes().subspan(kHeaderBytes));
  size_t index = 0;
  for (RecordFields record; second.Next(&record); ++index)
    Require(index < read.size() && SameRecord(record, read[index]));
  Require(second.status().ok() && index == read.size());
  return 0;
}

}  // namespace millrace::record
