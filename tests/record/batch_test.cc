// The header of a batch: what is refused, and what may be changed in place.
#include "record/batch.h"

#include <limits>

#include <catch2/catch.hpp>

#include "base/crc32c.h"
#include "base/errors.h"
#include "batch_helpers.h"

namespace millrace::record {
namespace {

constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();

std::vector<std::byte> TwoRecords(BufferPool& pool) {
  const std::vector<TestRecord> records = {{100, "k1", "v1", {}}, {107, "k2", "v2", {}}};
  return Copy(Encode(pool, records).bytes());
}

// What ParseHeader says of a good batch after a change of its header.
template <typename F>
Status ParseChanged(F change) {
  BufferPool pool;
  std::vector<std::byte> batch = TwoRecords(pool);
  BatchHeader header = OrFail(ParseHeader(batch));
  change(header);
  StoreHeader(header, batch.data());
  return ParseHeader(batch).status();
}

}  // namespace

TEST_CASE("a stored header is read back field by field", "[record][batch]") {
  const BatchHeader header = {.base_offset = 0x0102030405060708,
                              .batch_length = 0x11223344,
                              .leader_epoch = 0x21222324,
                              .magic = 2,
                              .crc = 0xfedcba98,
                              .attributes = 0x70,
                              .last_offset_delta = 0x31323334,
                              .base_timestamp_ms = 0x4142434445464748,
                              .max_timestamp_ms = 0x5152535455565758,
                              .producer_id = 0x6162636465666768,
                              .producer_epoch = 0x7172,
                              .base_sequence = 0x13141516,
                              .record_count = 0x01222324};
  std::byte bytes[kHeaderBytes];
  StoreHeader(header, bytes);
  const BatchHeader read = OrFail(ParseHeader(bytes));
  std::byte again[kHeaderBytes];
  StoreHeader(read, again);
  CHECK(std::ranges::equal(bytes, again));
  CHECK(read.base_offset == header.base_offset);
  CHECK(read.crc == header.crc);
  CHECK(read.max_timestamp_ms == header.max_timestamp_ms);
  CHECK(read.record_count == header.record_count);
  CHECK(read.is_transactional());
  CHECK(read.is_control());
  CHECK(read.has_delete_horizon());
  CHECK(!read.is_log_append_time());
}

TEST_CASE("a header that cannot be is refused with what was found and what is allowed",
          "[record][batch]") {
  using Catch::Contains;
  const auto check = [](const Status& status, const std::string& found,
                        const std::string& allowed) {
    CHECK(ErrorIdOf(status) == ErrorId::kCorruptMessage);
    CHECK_THAT(Says(status), Contains(found) && Contains(allowed));
  };
  check(ParseHeader(std::vector<std::byte>(60)).status(), "60 bytes", "61 are needed");
  check(ParseChanged([](auto& h) { h.magic = 1; }), "magic 1", "only 2");
  check(ParseChanged([](auto& h) { h.magic = -1; }), "magic 255", "only 2");
  check(ParseChanged([](auto& h) { h.batch_length = 48; }), "length 48", "at least 49");
  check(ParseChanged([](auto& h) { h.batch_length = -1; }), "length -1", "at least 49");
  for (int16_t codec = 5; codec <= 7; ++codec)
    check(ParseChanged([=](auto& h) { h.attributes = codec; }), fmt::format("codec {}", codec),
          "0 to 4");
  check(ParseChanged([](auto& h) { h.last_offset_delta = -1; }), "delta -1", "negative");
  check(ParseChanged([](auto& h) { h.base_offset = -1; }), "base offset -1", "[0, ");
  check(ParseChanged([](auto& h) { h.base_offset = INT64_MAX - 1; }), "9223372036854775806",
        "[0, ");
  check(ParseChanged([](auto& h) { h.record_count = -1; }), "count -1", "[0, 2]");
  check(ParseChanged([](auto& h) { h.record_count = 3; }), "count 3", "[0, 2]");
  check(ParseChanged([](auto& h) { h.record_count = h.last_offset_delta = 1000; }), "count 1000",
        "at most");
}

TEST_CASE("headers at the edge of what can be are read", "[record][batch]") {
  OrFail(ParseChanged([](auto& h) { h.base_offset = INT64_MAX - 2; }));
  OrFail(ParseChanged([](auto& h) { h.batch_length = kMaxInt; }));
  OrFail(ParseChanged([](auto& h) { h.last_offset_delta = kMaxInt; }));
  OrFail(ParseChanged([](auto& h) { h.record_count = 0; }));
  // Kafka's brokers take and keep attributes that have no meaning yet.
  OrFail(ParseChanged([](auto& h) { h.attributes = static_cast<int16_t>(0xff80); }));
}

TEST_CASE("a batch with one byte changed under its CRC is named with both values",
          "[record][batch]") {
  BufferPool pool;
  std::vector<std::byte> batch = TwoRecords(pool);
  const BatchHeader header = OrFail(ParseHeader(batch));
  OrFail(CheckCrc(header, batch));
  batch.back() ^= std::byte{1};
  const Status status = CheckCrc(header, batch);
  CHECK(ErrorIdOf(status) == ErrorId::kCorruptMessage);
  CHECK_THAT(Says(status), Catch::Contains(fmt::format("{:#010x}", header.crc)) &&
                               Catch::Contains(fmt::format("{:#010x}", ComputeCrc(batch))));
  SECTION("and one of another length as well") {
    batch.pop_back();
    const Status shorter = CheckCrc(header, batch);
    CHECK(ErrorIdOf(shorter) == ErrorId::kCorruptMessage);
    CHECK_THAT(Says(shorter), Catch::Contains(fmt::format("{} bytes, there are {}",
                                                          header.size_bytes(), batch.size())));
  }
}

TEST_CASE("what a leader assigns keeps the CRC right", "[record][batch]") {
  BufferPool pool;
  std::vector<std::byte> batch = TwoRecords(pool);
  const BatchHeader before = OrFail(ParseHeader(batch));
  const uint32_t payload_crc = PayloadCrc(batch);
  const auto records = OrFail(Decode(batch, pool));

  SECTION("offset and leader epoch lie outside of it") {
    AssignOffset(batch.data(), 1234567890123, 7);
    const BatchHeader header = OrFail(ParseHeader(batch));
    CHECK(header.crc == before.crc);
    CHECK(header.base_offset == 1234567890123);
    CHECK(header.last_offset() == 1234567890124);
    CHECK(header.leader_epoch == 7);
    CHECK(OrFail(Decode(batch, pool)) == records);
  }
  SECTION("the producer's fields lie inside") {
    AssignProducer(batch.data(), 4711, 3, kMaxInt, payload_crc);
    const BatchHeader header = OrFail(ParseHeader(batch));
    OrFail(CheckCrc(header, batch));
    CHECK(header.producer_id == 4711);
    CHECK(header.producer_epoch == 3);
    CHECK(header.base_sequence == kMaxInt);
    CHECK(header.last_sequence() == 0);
    CHECK(OrFail(Decode(batch, pool)) == records);
    // Taken back, the batch is the old one to the bit.
    AssignProducer(batch.data(), kNoProducerId, kNoProducerEpoch, kNoSequence, payload_crc);
    CHECK(OrFail(ParseHeader(batch)).crc == before.crc);
  }
  SECTION("log append time becomes every record's time") {
    AssignLogAppendTime(batch.data(), 5000, payload_crc);
    const auto stamped = OrFail(Decode(batch, pool));
    CHECK(stamped[0].timestamp_ms == 5000);
    CHECK(stamped[1].timestamp_ms == 5000);
    CHECK(OrFail(ParseHeader(batch)).base_timestamp_ms == 100);
  }
  SECTION("the maximum timestamp changes alone") {
    AssignMaxTimestamp(batch.data(), 5000, payload_crc);
    CHECK(OrFail(ParseHeader(batch)).max_timestamp_ms == 5000);
    CHECK(OrFail(Decode(batch, pool)) == records);
  }
}

TEST_CASE("sequences wrap to 0 after 2^31-1", "[record][batch]") {
  CHECK(AddToSequence(0, 0) == 0);
  CHECK(AddToSequence(5, 7) == 12);
  CHECK(AddToSequence(kMaxInt, 0) == kMaxInt);
  CHECK(AddToSequence(kMaxInt, 1) == 0);
  CHECK(AddToSequence(kMaxInt - 1, 4) == 2);
  CHECK(AddToSequence(kMaxInt, kMaxInt) == kMaxInt - 1);
}

}  // namespace millrace::record
