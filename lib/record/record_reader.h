#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "base/buffer.h"
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
  explicit HeaderReader(const RecordFields& fields) : in_(fields.headers), left_(fields.header_count) {}
  HeaderReader(std::span<const std::byte> encoded, int32_t count) : in_(encoded), left_(count) {}
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

  // The next record; false at the end or at the first one that does not decode. After false, status()
  // tells which: corrupt_message names the record. A batch that holds bytes after its last record, or
  // fewer records than its count, is corrupt.
  bool Next(RecordFields* out);
  const Status& status() const { return status_; }

 private:
  BatchHeader header_;
  ByteReader in_;
  int32_t index_ = 0;
  Status status_;
};

}  // namespace millrace::record
