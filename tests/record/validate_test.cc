// What a leader takes from a client.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "batch_helpers.h"

namespace millrace::record {
namespace {

using Catch::Contains;

// A batch around `records`, compressed with `codec`, that claims what `header` says.
std::vector<std::byte> Wrap(BatchHeader header, std::span<const std::byte> records, Codec codec) {
  BufferPool pool;
  const SizedBuffer payload = OrFail(Compress(codec, 0, records, pool, kHeaderBytes));
  header.attributes = static_cast<int16_t>(header.attributes | static_cast<int16_t>(codec));
  header.batch_length = static_cast<int32_t>(payload.size_bytes - kLogOverheadBytes);
  std::vector<std::byte> batch = Copy(payload.bytes());
  StoreHeader(header, batch.data());
  return batch;
}
Status Validate(std::span<const std::byte> batch, const RecordLimits& limits = {},
                RecordSummary* summary = nullptr) {
  BufferPool pool;
  const Status status = ValidateRecords(OrFail(ParseHeader(batch)), batch, limits, pool, summary);
  CHECK(pool.outstanding_bytes() == 0);
  return status;
}

constexpr Codec kAll[] = {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd};

// Payload of records without headers; the n-th has the n-th offset delta.
std::vector<std::byte> Records(const std::vector<int32_t>& offset_deltas) {
  ByteWriter out;
  for (const int32_t delta : offset_deltas) {
    ByteWriter body;
    body.Integer<int8_t>(0);
    body.Varlong(0);
    body.Varint(delta);
    body.Varint(-1);
    body.Varint(5);
    body.Text("value");
    body.Varint(0);
    out.Varint(static_cast<int32_t>(body.size()));
    out.Bytes(body.bytes());
  }
  return out.Take();
}

}  // namespace

TEST_CASE("offsets of a client's batch are 0, 1, 2 and on", "[record][validate]") {
  for (const Codec codec : kAll) {
    CAPTURE(Name(codec));
    const BatchHeader three = {.last_offset_delta = 2, .record_count = 3};
    OrFail(Validate(Wrap(three, Records({0, 1, 2}), codec)));
    const auto check = [&](const BatchHeader& header, const std::vector<int32_t>& deltas,
                           const std::string& says) {
      const Status status = Validate(Wrap(header, Records(deltas), codec));
      CHECK(ErrorIdOf(status) == ErrorId::kInvalidRecord);
      CHECK_THAT(Says(status), Contains(says));
    };
    check(three, {0, 2, 1}, "record 2 of 3");
    check(three, {1, 2, 3}, "record 1 of 3");
    check(three, {0, 0, 1}, "record 2 of 3");
    check(three, {0, 1}, "record 3 of 3");
    check(three, {0, 1, 2, 3}, "follow the last of its 3 records");
    check({.last_offset_delta = 9, .record_count = 3}, {0, 1, 2},
          "3 records, a last offset delta of 9 needs 10");
    check({.last_offset_delta = 0, .record_count = 0}, {}, "0 records");
    // Added to this base, the delta of the second would be no offset at all.
    const int64_t last = INT64_MAX - 1;
    check({.base_offset = last - 1, .last_offset_delta = 1, .record_count = 2}, {0, INT32_MAX},
          "record 2 of 2");
    check({.base_offset = 0, .last_offset_delta = 1, .record_count = 2}, {0, -1}, "record 2 of 2");
  }
}

TEST_CASE("a compacted topic takes no record without a key", "[record][validate]") {
  BufferPool pool;
  for (const Codec codec : kAll) {
    CAPTURE(Name(codec));
    const std::vector<TestRecord> records = {{1, "", "v", {}}, {1, std::nullopt, "v", {}}};
    const EncodedBatch batch = Encode(pool, records, codec);
    OrFail(Validate(batch.bytes()));
    const Status status = Validate(batch.bytes(), {.require_keys = true});
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidRecord);
    CHECK_THAT(Says(status), Contains("record 2 of 2") && Contains("key"));
  }
}

TEST_CASE("create times out of range are named", "[record][validate]") {
  BufferPool pool;
  for (const Codec codec : kAll) {
    CAPTURE(Name(codec));
    const std::vector<TestRecord> records = {{50, "a", "v", {}}, {99, "b", "v", {}}};
    const EncodedBatch batch = Encode(pool, records, codec);
    OrFail(Validate(batch.bytes(), {.earliest_timestamp_ms = 50, .latest_timestamp_ms = 99}));
    const Status late = Validate(batch.bytes(), {.latest_timestamp_ms = 98});
    CHECK(ErrorIdOf(late) == ErrorId::kInvalidTimestamp);
    CHECK_THAT(Says(late), Contains("record 2 of 2") && Contains("99") && Contains("98]"));
    const Status early = Validate(batch.bytes(), {.earliest_timestamp_ms = 51});
    CHECK(ErrorIdOf(early) == ErrorId::kInvalidTimestamp);
    CHECK_THAT(Says(early), Contains("record 1 of 2"));
    // The broker's own time is not held to them.
    AssignLogAppendTime(batch.buffer.data(), 7, batch.payload_crc);
    RecordSummary summary;
    OrFail(Validate(batch.bytes(), {.earliest_timestamp_ms = 50}, &summary));
    CHECK(summary.max_timestamp_ms == 7);
  }
}

TEST_CASE("the maximum timestamp is that of the records, not of the header", "[record][validate]") {
  BufferPool pool;
  const std::vector<TestRecord> records = {{-80, "a", "v", {}}, {-50, "b", "v", {}}};
  const EncodedBatch batch = Encode(pool, records);
  AssignMaxTimestamp(batch.buffer.data(), 1000, batch.payload_crc);
  RecordSummary summary;
  OrFail(Validate(batch.bytes(), {}, &summary));
  CHECK(summary.max_timestamp_ms == -50);
}

TEST_CASE("records larger than the window of the check are walked", "[record][validate]") {
  BufferPool pool;
  RandomRecords random(3);
  std::vector<TestRecord> records;
  for (const size_t size : {0, 65530, 65536, 65537, 200000, 1})
    records.push_back({5,
                       random.Random(size),
                       random.Random(size),
                       {{random.Random(size), random.Random(size)}}});
  for (const Codec codec : kAll) {
    CAPTURE(Name(codec));
    OrFail(Validate(Encode(pool, records, codec).bytes()));
  }
}

TEST_CASE("compressed records beyond the limit are too large, damaged ones invalid",
          "[record][validate]") {
  BufferPool pool;
  const std::vector<TestRecord> records = {{1, "k", std::string(100000, 'v'), {}}};
  for (const Codec codec : kAll) {
    CAPTURE(Name(codec));
    const EncodedBatch batch = Encode(pool, records, codec);
    const size_t plain = Encode(pool, records).size_bytes - kHeaderBytes;
    OrFail(Validate(batch.bytes(), {.max_uncompressed_bytes = plain}));
    CHECK(ErrorIdOf(Validate(batch.bytes(), {.max_uncompressed_bytes = plain - 1})) ==
          ErrorId::kRecordTooLarge);
    std::vector<std::byte> damaged = Copy(batch.bytes());
    std::fill(damaged.begin() + kHeaderBytes + 10, damaged.end(), std::byte{0xff});
    const Status status = Validate(damaged);
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidRecord);
    CHECK_THAT(Says(status), Contains("batch at offset 0"));
  }
}

TEST_CASE("compressed data that turns out damaged behind its last record is invalid",
          "[record][validate]") {
  // The records fill the window of the check to the byte; what follows is looked at alone.
  constexpr size_t kWindow = size_t{64} << 10;
  ByteWriter body;
  body.Integer<int8_t>(0);
  body.Varlong(0);
  body.Varint(0);
  body.Varint(-1);
  const std::string value(kWindow - 11, 'v');
  body.Varint(static_cast<int32_t>(value.size()));
  body.Text(value);
  body.Varint(0);
  ByteWriter out;
  out.Varint(static_cast<int32_t>(body.size()));
  out.Bytes(body.bytes());
  REQUIRE(out.size() == kWindow);
  const BatchHeader one = {.last_offset_delta = 0, .record_count = 1};
  auto batch = Wrap(one, out.Take(), Codec::kSnappy);
  OrFail(Validate(batch));
  const std::byte no_block[] = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{9}};
  batch.insert(batch.end(), std::begin(no_block), std::end(no_block));
  auto header = OrFail(ParseHeader(batch));
  header.batch_length += 4;
  StoreHeader(header, batch.data());
  CHECK(ErrorIdOf(Validate(batch)) == ErrorId::kInvalidRecord);
}

TEST_CASE("a compressed record that ends after its length is invalid", "[record][validate]") {
  const BatchHeader one = {.last_offset_delta = 0, .record_count = 1};
  for (const size_t bytes : {1, 2}) {
    std::vector<std::byte> payload(bytes, std::byte{0});
    payload[0] = std::byte{20};  // ten bytes
    CHECK(ErrorIdOf(Validate(Wrap(one, payload, Codec::kZstd))) == ErrorId::kInvalidRecord);
  }
}

TEST_CASE("a batch shorter than its header says is invalid", "[record][validate]") {
  BufferPool pool;
  const std::vector<TestRecord> records = {{1, "k", "v", {}}};
  const EncodedBatch batch = Encode(pool, records);
  const BatchHeader header = OrFail(ParseHeader(batch.bytes()));
  const auto cut = batch.bytes().first(batch.size_bytes - 1);
  CHECK(ErrorIdOf(ValidateRecords(header, cut, {}, pool)) == ErrorId::kInvalidRecord);
}

// The two walks, of plain and of expanded bytes, must take and refuse the same.
TEST_CASE("compressed and plain records are held to the same rules", "[record][validate]") {
  const uint64_t seed = GENERATE(take(200, random(uint64_t{1}, uint64_t{1} << 40)));
  CAPTURE(seed);
  RandomRecords random(seed);
  BufferPool pool;
  const EncodedBatch batch = Encode(pool, random.Some(4));
  const BatchHeader header = OrFail(ParseHeader(batch.bytes()));
  for (int i = 0; i < 50; ++i) {
    std::vector<std::byte> records = Copy(batch.bytes().subspan(kHeaderBytes));
    // Mostly near the front of a record, where its fields are.
    const size_t at = random.Below(2) == 0 ? random.Below(std::min<size_t>(records.size(), 12))
                                           : random.Below(records.size());
    records[at] = static_cast<std::byte>(random.Below(256));
    const Status plain = Validate(Wrap(header, records, Codec::kNone));
    const Status expanded = Validate(Wrap(header, records, Codec::kSnappy));
    CAPTURE(plain, expanded);
    CHECK(ErrorIdOf(plain) == ErrorIdOf(expanded));
    CHECK(plain.ok() == expanded.ok());
  }
}

}  // namespace millrace::record
