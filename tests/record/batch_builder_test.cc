// What is built is what is read.
#include "record/batch_builder.h"

#include <limits>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "batch_helpers.h"

namespace millrace::record {

TEST_CASE("null and empty are kept apart", "[record][builder]") {
  BufferPool pool;
  const std::vector<TestRecord> records = {
      {1, std::nullopt, std::nullopt, {}},
      {1, "", "", {}},
      {1, std::nullopt, "", {}},
      {1, "", std::nullopt, {{"", std::nullopt}, {"", ""}, {"h", "v"}, {"h", "v"}}},
  };
  CHECK(OrFail(Decode(Encode(pool, records).bytes(), pool)) == records);
}

TEST_CASE("records are Kafka's to the byte", "[record][builder]") {
  BufferPool pool;
  // The examples of Kafka's protocol description.
  const std::vector<TestRecord> records = {
      {1000, "key-1", "value-1", {{"h1", "hv1"}, {"h2", std::nullopt}}},
      {1007, std::nullopt, std::nullopt, {}}};
  const EncodedBatch batch = Encode(pool, records);
  const std::string_view expected(
      "\x3a\x00\x00\x00\x0akey-1\x0evalue-1\x04\x04h1\x06hv1\x04h2\x01"
      "\x0c\x00\x0e\x02\x01\x01\x00",
      37);
  CHECK(AsText(batch.bytes().subspan(kHeaderBytes)) == expected);
}

TEST_CASE("a new batch has no producer, no leader and offset 0", "[record][builder]") {
  BufferPool pool;
  const std::vector<TestRecord> records = {
      {30, "a", "b", {}}, {10, "a", "b", {}}, {40, {}, {}, {}}};
  const EncodedBatch batch = Encode(pool, records);
  const BatchHeader header = OrFail(ParseHeader(batch.bytes()));
  OrFail(CheckCrc(header, batch.bytes()));
  CHECK(header.base_offset == 0);
  CHECK(header.leader_epoch == -1);
  CHECK(header.producer_id == kNoProducerId);
  CHECK(header.producer_epoch == kNoProducerEpoch);
  CHECK(header.base_sequence == kNoSequence);
  CHECK(header.attributes == 0);
  CHECK(header.record_count == 3);
  CHECK(header.last_offset_delta == 2);
  CHECK(header.size_bytes() == batch.size_bytes);
  CHECK(batch.record_count == 3);
  CHECK(batch.payload_crc == PayloadCrc(batch.bytes()));
  SECTION("its timestamps are the first and the largest, in whatever order they came") {
    CHECK(header.base_timestamp_ms == 30);
    CHECK(header.max_timestamp_ms == 40);
    CHECK(batch.max_timestamp_ms == 40);
    CHECK(OrFail(Decode(batch.bytes(), pool)) == records);
  }
}

TEST_CASE("any two timestamps fit one batch", "[record][builder]") {
  BufferPool pool;
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const std::vector<TestRecord> records = {
      {kMin, "a", "b", {}}, {kMax, "a", "b", {}}, {-1, "a", "b", {}}, {kMin, "a", "b", {}}};
  const EncodedBatch batch = Encode(pool, records);
  CHECK(batch.max_timestamp_ms == kMax);
  CHECK(OrFail(Decode(batch.bytes(), pool)) == records);
}

TEST_CASE("a finished builder begins anew", "[record][builder]") {
  BufferPool pool;
  BatchBuilder builder(pool);
  CHECK(builder.empty());
  CHECK(builder.size_bytes() == kHeaderBytes);
  const Codec codec = GENERATE(Codec::kNone, Codec::kZstd);
  builder.Append(-5, "k", "v");
  CHECK(builder.record_count() == 1);
  const EncodedBatch first = OrFail(builder.Finish(codec));
  CHECK(builder.empty());
  CHECK(builder.size_bytes() == kHeaderBytes);
  // Neither the records nor the times of the first batch are seen in the second, nor the other way.
  builder.Append(-9, "kk", "vv");
  const EncodedBatch second = OrFail(builder.Finish(codec));
  CHECK(OrFail(ParseHeader(second.bytes())).max_timestamp_ms == -9);
  CHECK(OrFail(Decode(first.bytes(), pool)) == std::vector<TestRecord>{{-5, "k", "v", {}}});
  CHECK(OrFail(Decode(second.bytes(), pool)) == std::vector<TestRecord>{{-9, "kk", "vv", {}}});

  SECTION("and refuses to make a batch of nothing") {
    CHECK(ErrorIdOf(builder.Finish(codec).status()) == ErrorId::kInvalidArgument);
  }
  SECTION("even where its codec refused") {
    builder.Append(1, "k", "v");
    CHECK(ErrorIdOf(builder.Finish(Codec::kGzip, 10).status()) == ErrorId::kInvalidArgument);
    CHECK(builder.empty());
    builder.Append(2, "k2", "v2");
    CHECK(OrFail(Decode(OrFail(builder.Finish()).bytes(), pool)) ==
          std::vector<TestRecord>{{2, "k2", "v2", {}}});
  }
}

TEST_CASE("a record never takes more than was said before", "[record][builder]") {
  BufferPool pool;
  const uint64_t seed = GENERATE(take(20, random(uint64_t{1}, uint64_t{1} << 40)));
  CAPTURE(seed);
  RandomRecords random(seed);
  BatchBuilder builder(pool);
  for (const TestRecord& record : random.Some(50)) {
    std::vector<HeaderView> headers;
    for (const auto& [key, value] : record.headers) headers.push_back({key, View(value)});
    const size_t before = builder.size_bytes();
    AppendTo(builder, record);
    CHECK(builder.size_bytes() - before <=
          BatchBuilder::MaxRecordBytes(View(record.key), View(record.value), headers));
  }
}

TEST_CASE("a batch that fits the expected bytes takes one buffer", "[record][builder]") {
  BufferPool pool;
  BatchBuilder builder(pool, 20000);
  const std::string value(100, 'v');
  builder.Append(1, "k", value);
  const size_t taken = pool.outstanding_bytes();
  while (builder.size_bytes() < 19800) builder.Append(1, "k", value);
  CHECK(pool.outstanding_bytes() == taken);
}

TEST_CASE("a buffer that somebody still holds is not used again", "[record][builder]") {
  BufferPool pool;
  BatchBuilder builder(pool);
  builder.Append(1, "k", "first");
  EncodedBatch first = OrFail(builder.Finish());
  const std::byte* const bytes = first.buffer.data();
  const bool held = GENERATE(true, false);
  const Buffer holder = held ? first.buffer : Buffer();
  builder.Reuse(std::move(first.buffer));
  builder.Append(2, "k", "second");
  CHECK((OrFail(builder.Finish()).buffer.data() == bytes) != held);
}

TEST_CASE("a builder keeps no buffer beside its own, and no huge one", "[record][builder]") {
  BufferPool pool;
  BatchBuilder builder(pool);
  builder.Append(1, "k", "mine");
  Buffer other = pool.Get(100);
  builder.Reuse(std::move(other));
  CHECK(OrFail(Decode(OrFail(builder.Finish()).bytes(), pool))[0].value == "mine");
  builder.Reuse(pool.Get(size_t{64} << 20));
  CHECK(pool.outstanding_bytes() == 0);
}

TEST_CASE("random batches decode to what was put in", "[record][builder]") {
  BufferPool pool;
  const uint64_t seed = GENERATE(take(60, random(uint64_t{1}, uint64_t{1} << 40)));
  const Codec codec = static_cast<Codec>(seed % 5);
  CAPTURE(seed, Name(codec));
  RandomRecords random(seed);
  const auto records = random.Some(seed % 3 == 0 ? 3 : 300);
  const EncodedBatch batch = Encode(pool, records, codec);
  CHECK((OrFail(Decode(batch.bytes(), pool)) == records));
  RecordSummary summary;
  OrFail(ValidateRecords(OrFail(ParseHeader(batch.bytes())), batch.bytes(), {}, pool, &summary));
  CHECK(summary.max_timestamp_ms == batch.max_timestamp_ms);
  CHECK(batch.max_timestamp_ms ==
        std::ranges::max(records, {}, &TestRecord::timestamp_ms).timestamp_ms);
}

}  // namespace millrace::record
