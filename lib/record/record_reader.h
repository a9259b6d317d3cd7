#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/byte_reader.h"
#include "millrace/bytes.h"
#include "record/batch.h"

namespace millrace::record {

// One decoded record; the views point into the batch.
struct RecordFields {
  int64_t offset = 0;
  int64_t timestamp_ms = kNoTimestamp;
  Bytes key;
  Bytes value;
  std::span<const std::byte> headers;  // still encoded, and known to decode; see HeaderReader
  int32_t header_count = 0;
};

// Walks the headers of a record that RecordReader returned.
class HeaderReader {
 public:
  explicit HeaderReader(const RecordFields& fields)
      : HeaderReader(fields.headers, fields.header_count) {}
  HeaderReader(std::span<const std::byte> encoded, int32_t count) : in_(encoded), left_(count) {}
  // The next header; false after the last one, or at one that does not decode.
  bool Next(std::string_view* key, Bytes* value);

 private:
  ByteReader in_;
  int32_t left_;
};

// Walks the records of one batch. Borrows the bytes; belongs to one thread; allocates nothing.
class RecordReader {
 public:
  // `records` is what follows the header, uncompressed (see Payload in codec.h).
  RecordReader(const BatchHeader& header, std::span<const std::byte> records);

  // The next record; false at the end or at the first one that does not decode. After false,
  // status() tells which: corrupt_message names the record. Offsets rise from record to record and
  // stay within the batch, with gaps where compaction removed some. A batch that holds bytes after
  // its last record, or fewer records than its count, is corrupt.
  bool Next(RecordFields* out);
  const Status& status() const { return status_; }

 private:
  // Decodes the record at at_, and says what is wrong with it; nullptr if nothing is.
  const char* Decode(RecordFields* out);
  bool End();
  bool Fail(const char* problem);

  const std::byte* at_;
  const std::byte* end_;
  int32_t index_ = 0;
  int32_t count_;
  int32_t last_delta_ = -1;  // the offset delta of the record before
  int32_t max_delta_;
  int64_t base_offset_;
  int64_t base_timestamp_ms_;
  int64_t max_timestamp_ms_;
  bool is_log_append_time_;
  Status status_;
};

}  // namespace millrace::record
