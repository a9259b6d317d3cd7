#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "record/batch_builder.h"
#include "record/codec.h"
#include "record/record_reader.h"
#include "support/or_fail.h"

namespace millrace::record {

using Text = std::optional<std::string>;  // nullopt: null
inline Bytes View(const Text& text) { return text.has_value() ? Bytes(*text) : Bytes(); }
inline Text Owned(Bytes bytes) { return bytes.is_null() ? Text() : Text(std::string(bytes.str())); }

// A record by value, to compare what went in with what came out.
struct TestRecord {
  int64_t timestamp_ms = 0;
  Text key = {};
  Text value = {};
  std::vector<std::pair<std::string, Text>> headers = {};
  bool operator==(const TestRecord&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const TestRecord& r) {
  return out << "{at " << r.timestamp_ms << ", key " << r.key.value_or("<null>") << ", value "
             << r.value.value_or("<null>") << ", " << r.headers.size() << " headers}";
}

inline void AppendTo(BatchBuilder& builder, const TestRecord& record) {
  std::vector<HeaderView> headers;
  for (const auto& [key, value] : record.headers) headers.push_back({key, View(value)});
  builder.Append(record.timestamp_ms, View(record.key), View(record.value), headers);
}

inline EncodedBatch Encode(BufferPool& pool, std::span<const TestRecord> records,
                           Codec codec = Codec::kNone, int level = 0) {
  BatchBuilder builder(pool);
  for (const TestRecord& record : records) AppendTo(builder, record);
  return OrFail(builder.Finish(codec, level));
}

inline TestRecord Owned(const RecordFields& fields) {
  TestRecord record{
      .timestamp_ms = fields.timestamp_ms, .key = Owned(fields.key), .value = Owned(fields.value)};
  HeaderReader headers(fields);
  std::string_view key;
  Bytes value;
  while (headers.Next(&key, &value)) record.headers.emplace_back(key, Owned(value));
  return record;
}

// The records of a batch, or the first error on the way to them.
inline StatusOr<std::vector<TestRecord>> Decode(std::span<const std::byte> batch, BufferPool& pool,
                                                size_t max_bytes = size_t{64} << 20) {
  const StatusOr<BatchHeader> header = ParseHeader(batch);
  if (!header.ok()) return header.status();
  if (Status crc = CheckCrc(*header, batch); !crc.ok()) return crc;
  const StatusOr<Payload> payload = ExpandedPayload(*header, batch, max_bytes, pool);
  if (!payload.ok()) return payload.status();
  RecordReader reader(*header, payload->records);
  std::vector<TestRecord> records;
  for (RecordFields fields; reader.Next(&fields);) records.push_back(Owned(fields));
  if (!reader.status().ok()) return reader.status();
  return records;
}

// Random records: nulls, empties, small and large ones, times that go back.
class RandomRecords {
 public:
  explicit RandomRecords(uint64_t seed) : random_(seed) {}

  size_t Below(size_t end) { return static_cast<size_t>(random_() % end); }
  Text NullableText(size_t max_bytes) {
    switch (Below(4)) {
      case 0:
        return std::nullopt;
      case 1:
        return "";
      default:
        return Random(Below(max_bytes + 1));
    }
  }
  std::string Random(size_t bytes) {
    std::string text(bytes, '\0');
    const size_t alphabet = Below(3) == 0 ? 256 : 4;  // the second compresses
    for (char& c : text) c = static_cast<char>(Below(alphabet));
    return text;
  }
  TestRecord One() {
    TestRecord record;
    record.timestamp_ms = 1700000000000 + static_cast<int64_t>(Below(2000000)) - 1000000;
    if (Below(50) == 0) record.timestamp_ms = static_cast<int64_t>(random_());
    record.key = NullableText(20);
    record.value = NullableText(Below(20) == 0 ? 20000 : 200);
    const size_t headers = Below(3) != 0 ? 0 : Below(Below(10) == 0 ? 200 : 4);
    for (size_t i = 0; i < headers; ++i)
      record.headers.emplace_back(Random(Below(12)), NullableText(Below(20) == 0 ? 5000 : 30));
    return record;
  }
  std::vector<TestRecord> Some(size_t max_count) {
    std::vector<TestRecord> records(1 + Below(max_count));
    std::ranges::generate(records, [this] { return One(); });
    return records;
  }

 private:
  std::mt19937_64 random_;
};

inline std::vector<std::byte> Copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}
// A string that says what a status says, for CHECK_THAT.
inline std::string Says(const Status& status) { return status.ToString(); }

}  // namespace millrace::record
