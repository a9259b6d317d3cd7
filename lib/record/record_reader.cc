#include "record/record_reader.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/errors.h"
#include "record/varint.h"

namespace millrace::record {
namespace {

// Takes a length and that many bytes; a length of -1 is null.
inline bool TakeNullable(const std::byte*& at, const std::byte* end, Bytes& bytes) {
  int32_t size;
  if (!TakeVarint(at, end, size) || size > end - at) return false;
  if (size < 0) {
    bytes = Bytes();
    return size == -1;
  }
  bytes = std::span(at, static_cast<size_t>(size));
  at += size;
  return true;
}

bool SkipHeaders(const std::byte* at, const std::byte* end, int32_t count) {
  Bytes key;
  Bytes value;
  for (; count > 0; --count)
    if (!TakeNullable(at, end, key) || key.is_null() || !TakeNullable(at, end, value)) return false;
  return at == end;
}

}  // namespace

bool HeaderReader::Next(std::string_view* key, Bytes* value) {
  if (left_ <= 0) return false;
  const std::byte* at = in_.rest().data();
  const std::byte* const end = at + in_.remaining();
  Bytes name;
  if (!TakeNullable(at, end, name) || name.is_null() || !TakeNullable(at, end, *value)) {
    left_ = 0;
    return false;
  }
  *key = name.str();
  in_ = ByteReader({at, end});
  --left_;
  return true;
}

RecordReader::RecordReader(const BatchHeader& header, std::span<const std::byte> records)
    : at_(records.data()),
      end_(records.data() + records.size()),
      count_(std::max(header.record_count, 0)),
      max_delta_(header.last_offset_delta),
      base_offset_(header.base_offset),
      base_timestamp_ms_(header.base_timestamp_ms),
      max_timestamp_ms_(header.max_timestamp_ms),
      is_log_append_time_(header.is_log_append_time()) {}

bool RecordReader::Next(RecordFields* out) {
  if (index_ == count_) [[unlikely]]
    return End();
  if (const char* problem = Decode(out)) [[unlikely]]
    return Fail(problem);
  ++index_;
  return true;
}

inline const char* RecordReader::Decode(RecordFields* out) {
  const std::byte* at = at_;
  int32_t length;
  if (!TakeVarint(at, end_, length)) return "its length does not decode";
  if (length <= 0 || length > end_ - at) return "its length does not fit the bytes left";
  const std::byte* const end = at + length;
  ++at;  // the attributes of a record, of which none is defined
  int64_t timestamp_delta;
  int32_t offset_delta;
  if (!TakeVarint(at, end, timestamp_delta)) return "its timestamp does not decode";
  if (!TakeVarint(at, end, offset_delta)) return "its offset does not decode";
  if (offset_delta <= last_delta_ || offset_delta > max_delta_)
    return "its offset is not between the one before and the batch's last";
  if (!TakeNullable(at, end, out->key)) return "its key does not fit its length";
  if (!TakeNullable(at, end, out->value)) return "its value does not fit its length";
  int32_t header_count;
  if (!TakeVarint(at, end, header_count) || header_count < 0)
    return "its header count does not decode";
  if (header_count == 0 ? at != end : !SkipHeaders(at, end, header_count))
    return "its headers do not end where its length says";
  out->offset = base_offset_ + offset_delta;
  // Added without sign: a delta may be anything, and overflow must stay defined.
  out->timestamp_ms = is_log_append_time_
                          ? max_timestamp_ms_
                          : static_cast<int64_t>(static_cast<uint64_t>(base_timestamp_ms_) +
                                                 static_cast<uint64_t>(timestamp_delta));
  out->headers = {at, end};
  out->header_count = header_count;
  last_delta_ = offset_delta;
  at_ = end;
  return nullptr;
}

bool RecordReader::End() {
  if (at_ == end_) return false;
  status_ = MakeError(ErrorId::kCorruptMessage,
                      fmt::format("batch at offset {}: {} bytes follow the last of its {} records",
                                  base_offset_, end_ - at_, count_));
  at_ = end_;
  return false;
}

bool RecordReader::Fail(const char* problem) {
  status_ = MakeError(ErrorId::kCorruptMessage,
                      fmt::format("batch at offset {}: record {} of {}: {} ({} bytes left)",
                                  base_offset_, index_ + 1, count_, problem, end_ - at_));
  // So that every later call finds the end.
  index_ = count_;
  at_ = end_;
  return false;
}

}  // namespace millrace::record
