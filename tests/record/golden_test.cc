// Bytes that Kafka's own client and broker wrote (golden/README.md).
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>

#include "base/byte_reader.h"
#include "batch_helpers.h"

namespace millrace::record {
namespace {

constexpr int64_t kT0 = 1700000000000;

std::vector<std::byte> ReadGolden(const std::string& name) {
  std::ifstream file(std::string(MILLRACE_GOLDEN_DIR) + "/" + name, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  REQUIRE(!text.empty());
  return Copy(AsBytes(text));
}

// The batches of a segment file, one after the other.
std::vector<std::vector<std::byte>> Split(std::span<const std::byte> log) {
  std::vector<std::vector<std::byte>> batches;
  while (!log.empty()) {
    const BatchHeader header = OrFail(ParseHeader(log));
    REQUIRE(header.size_bytes() <= log.size());
    batches.push_back(Copy(log.first(header.size_bytes())));
    log = log.subspan(header.size_bytes());
  }
  return batches;
}

std::vector<TestRecord> Pair(int64_t at, const Text& v1, const Text& v2) {
  return {{at, "key-1", v1, {{"h1", "hv1"}, {"h2", std::nullopt}}}, {at + 7, std::nullopt, v2, {}}};
}
std::vector<TestRecord> SmallPair(int64_t at) { return Pair(at, "value-1", std::nullopt); }
std::vector<TestRecord> LargePair(int64_t at) {
  return Pair(at, std::string(200, 'x') + "1", std::string(200, 'x') + "2");
}

struct Producer {
  int64_t id = kNoProducerId;
  int16_t epoch = kNoProducerEpoch;
  int32_t sequence = kNoSequence;
};

std::vector<std::byte> Build(BufferPool& pool, std::span<const TestRecord> records, int64_t offset,
                             Producer producer) {
  const EncodedBatch batch = Encode(pool, records);
  AssignProducer(batch.buffer.data(), producer.id, producer.epoch, producer.sequence,
                 batch.payload_crc);
  AssignOffset(batch.buffer.data(), offset, /*leader_epoch=*/0);
  return Copy(batch.bytes());
}

}  // namespace

TEST_CASE("uncompressed batches are Kafka's to the byte", "[record][golden]") {
  BufferPool pool;
  SECTION("of an idempotent producer") {
    const auto golden = Split(ReadGolden("log-none.bin"));
    REQUIRE(golden.size() == 2);
    CHECK(Build(pool, SmallPair(kT0), 0, {35, 0, 0}) == golden[0]);
    CHECK(Build(pool, SmallPair(kT0 + 10), 2, {35, 0, 2}) == golden[1]);
  }
  SECTION("of a producer without an id") {
    const auto golden = Split(ReadGolden("log-noidem.bin"));
    REQUIRE(golden.size() == 1);
    CHECK(Build(pool, SmallPair(kT0), 0, {}) == golden[0]);
  }
}

TEST_CASE("batches compressed by Kafka's client decode", "[record][golden]") {
  BufferPool pool;
  const auto [name, codec, producer_id] =
      GENERATE(table<std::string, Codec, int64_t>({{"log-gzip.bin", Codec::kGzip, 36},
                                                   {"log-snappy.bin", Codec::kSnappy, 37},
                                                   {"log-lz4.bin", Codec::kLz4, 38},
                                                   {"log-zstd.bin", Codec::kZstd, 39}}));
  CAPTURE(name);
  const auto golden = Split(ReadGolden(name));
  REQUIRE(golden.size() == 2);
  for (int64_t i = 0; i < 2; ++i) {
    const auto& batch = golden[static_cast<size_t>(i)];
    const BatchHeader header = OrFail(ParseHeader(batch));
    CHECK(header.codec() == codec);
    CHECK(header.base_offset == 2 * i);
    CHECK(header.next_offset() == 2 * i + 2);
    CHECK(header.producer_id == producer_id);
    CHECK(header.base_sequence == 2 * i);
    CHECK(header.last_sequence() == 2 * i + 1);
    CHECK(header.max_timestamp_ms == kT0 + 10 * i + 7);
    const auto records = OrFail(Decode(batch, pool));
    CHECK(records == LargePair(kT0 + 10 * i));
    RecordSummary summary;
    OrFail(ValidateRecords(header, batch, {}, pool, &summary));
    CHECK(summary.max_timestamp_ms == header.max_timestamp_ms);

    // Written again by our own compressor, they decode to the same.
    const EncodedBatch again = Encode(pool, records, codec);
    CHECK(OrFail(ParseHeader(again.bytes())).codec() == codec);
    CHECK(OrFail(Decode(again.bytes(), pool)) == records);
  }
}

TEST_CASE("a batch that the broker compressed anew decodes", "[record][golden]") {
  BufferPool pool;
  const auto golden = Split(ReadGolden("log-recompress.bin"));
  REQUIRE(golden.size() == 1);
  const BatchHeader header = OrFail(ParseHeader(golden[0]));
  CHECK(header.codec() == Codec::kZstd);
  CHECK(header.producer_id == 41);
  CHECK(OrFail(Decode(golden[0], pool)) == LargePair(kT0));
}

TEST_CASE("log append time is set as Kafka's broker sets it", "[record][golden]") {
  BufferPool pool;
  constexpr int64_t kAppended = 1795398837353;
  const auto golden = Split(ReadGolden("log-append.bin"));
  REQUIRE(golden.size() == 1);
  const BatchHeader header = OrFail(ParseHeader(golden[0]));
  CHECK(header.is_log_append_time());
  CHECK(header.max_timestamp_ms == kAppended);
  CHECK(header.base_timestamp_ms == kT0);

  SECTION("the bytes are reproduced from what the client sent") {
    // The client's batch: create time, and its own maximum timestamp.
    BatchHeader sent = header;
    sent.attributes = static_cast<int16_t>(Codec::kLz4);
    sent.max_timestamp_ms = kT0 + 7;
    sent.leader_epoch = -1;
    std::vector<std::byte> batch = golden[0];
    StoreHeader(sent, batch.data());
    const uint32_t payload_crc = PayloadCrc(batch);
    AssignLogAppendTime(batch.data(), kAppended, payload_crc);
    AssignOffset(batch.data(), 0, 0);
    CHECK(batch == golden[0]);
  }
  SECTION("every record has the time of the append") {
    auto expected = LargePair(kT0);
    for (TestRecord& record : expected) record.timestamp_ms = kAppended;
    CHECK(OrFail(Decode(golden[0], pool)) == expected);
  }
}

TEST_CASE("transactions and their markers decode", "[record][golden]") {
  BufferPool pool;
  const auto first = Split(ReadGolden("log-txn.bin"));
  REQUIRE(first.size() == 1);
  const BatchHeader data = OrFail(ParseHeader(first[0]));
  CHECK(data.is_transactional());
  CHECK(!data.is_control());
  CHECK(data.producer_id == 27);
  CHECK(data.producer_epoch == 3);
  CHECK(OrFail(Decode(first[0], pool)) == SmallPair(kT0));

  const auto second = Split(ReadGolden("log-txn-seg2.bin"));
  REQUIRE(second.size() == 3);
  CHECK(OrFail(Decode(second[1], pool)) == std::vector<TestRecord>{{kT0 + 5, "k", "aborted", {}}});
  const auto check_marker = [&](std::span<const std::byte> batch, int64_t offset, int16_t epoch,
                                int16_t type) {
    const BatchHeader header = OrFail(ParseHeader(batch));
    CHECK(header.is_control());
    CHECK(header.is_transactional());
    CHECK(header.base_offset == offset);
    CHECK(header.producer_epoch == epoch);
    CHECK(header.base_sequence == kNoSequence);
    CHECK(header.last_sequence() == kNoSequence);
    const auto records = OrFail(Decode(batch, pool));
    REQUIRE(records.size() == 1);
    ByteReader key(AsBytes(*records[0].key));
    CHECK(key.Integer<int16_t>() == 0);
    CHECK(key.Integer<int16_t>() == type);
    CHECK((key.ok() && key.remaining() == 0));
  };
  check_marker(second[0], 2, 4, /*commit*/ 1);
  check_marker(second[2], 4, 5, /*abort*/ 0);
}

}  // namespace millrace::record
