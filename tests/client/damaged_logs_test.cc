// Logs whose batches something has damaged while nobody had them open, each with what becomes of
// it: through the public API, over real files.
#include <filesystem>
#include <functional>
#include <random>

#include <fmt/format.h>

#include "base/byte_writer.h"
#include "base/endian.h"
#include "client/real_files.h"
#include "record/batch.h"

namespace millrace {
namespace {

using Catch::Contains;

const std::string kLog = "t-0/00000000000000000000.log";
constexpr size_t kBatch = 71;  // bytes of each of the batches that these tests write

size_t At(size_t record) { return record * kBatch; }

template <typename T>
void Store(std::string& bytes, size_t at, T value) {
  StoreBigEndian(reinterpret_cast<std::byte*>(bytes.data()) + at, value);
}

// Ten records, of which five lie below the durable mark, left by a process that was killed or by a
// machine that lost its power.
struct TenRecords : OnDisk {
  TenRecords() {
    Open();
    OrFail(client().admin().CreateTopic("t"));
    Produce(0, 5);
    WriteMarks();
    Produce(5, 10);
    CutPower();
    image = Save();
    REQUIRE(image.at(kLog).size() == 10 * kBatch);
  }
  // Opens it with other bytes in the place of its log.
  Contents ReadWith(const std::string& bytes) {
    Restore(image);
    Write(kLog, bytes);
    Open();
    return ReadAll();
  }
  Image image;
};

// The same batch with another header or other records, and a CRC that is right.
std::string Forged(std::string batch,
                   const std::function<void(record::BatchHeader&, std::string&)>& change) {
  record::BatchHeader header = OrFail(record::ParseHeader(AsBytes(batch)));
  change(header, batch);
  header.batch_length = static_cast<int32_t>(batch.size() - record::kLogOverheadBytes);
  auto* const bytes = reinterpret_cast<std::byte*>(batch.data());
  record::StoreHeader(header, bytes);
  header.crc = record::ComputeCrc(AsBytes(batch));
  record::StoreHeader(header, bytes);
  return batch;
}

}  // namespace

TEST_CASE("a log that is cut off at any byte loses nothing before it", "[client][damage]") {
  TenRecords d;
  const std::string whole = d.image.at(kLog);
  for (size_t size = 0; size < whole.size(); ++size) {
    // Each byte of the batches beside the ends and the mark; the others are like them.
    const size_t batch = size / kBatch;
    if (batch != 0 && batch != 4 && batch != 5 && batch != 9 && size % kBatch != 0) continue;
    INFO("cut off at byte " << size);
    const auto contents = d.ReadWith(whole.substr(0, size));
    const auto left = static_cast<Offset>(size / kBatch);
    CHECK(contents.Has(0, left));
    CHECK(contents.values.size() == static_cast<size_t>(left));
    if (left >= 5) {
      // Above the durable mark: a torn tail.
      CHECK(d.Recovery().cut_bytes == size % kBatch);
      CHECK(contents.errors.empty());
    } else {
      // Below it: acknowledged records are gone, and somebody has to say so.
      CHECK(d.Recovery().cut_bytes == 0);
      REQUIRE(contents.errors.size() == 1);
      CHECK_THAT(contents.errors[0], Catch::StartsWith("corrupt_log: " + d.PathOf("t-0")) &&
                                         Contains(fmt::format("offsets [{}, 5)", left)));
      CHECK_THAT(d.Report(), Contains(fmt::format("offsets [{}, 5)", left)));
    }
    const Offset next = std::max<Offset>(left, 5);  // no offset is given out twice
    d.Produce(next, next + 1);
  }
}

TEST_CASE("a tail of zeros or of anything else is cut, and kept where it says something",
          "[client][damage]") {
  TenRecords d;
  const std::string whole = d.image.at(kLog);
  SECTION("zeros") {
    const uint64_t zeros = GENERATE(1, 60, 4096, 70'000, 16 << 20, 1 << 30);
    d.Restore(d.image);
    // Without blocks of its own, as after a power cut.
    std::filesystem::resize_file(d.PathOf(kLog), whole.size() + zeros);
    d.Open();
    CHECK(d.ReadAll().Has(0, 10));
    CHECK(d.Recovery().cut_bytes == zeros);
    CHECK(d.Recovery().cut_file.empty());
    CHECK_THAT(d.Report(), Contains(d.PathOf(kLog) + ": cut at byte 710, offset 10: "));
  }
  SECTION("noise") {
    const size_t size = GENERATE(1, 60, 61, 4096, 1 << 20);
    std::mt19937 random(static_cast<uint32_t>(size));
    std::string noise;
    for (size_t i = 0; i < size; ++i) noise += static_cast<char>(random() | 1);
    CHECK(d.ReadWith(whole + noise).Has(0, 10));
    CHECK(d.Recovery().cut_bytes == size);
    CHECK(d.Recovery().cut_file == d.PathOf("t-0/00000000000000000000.710.cut"));
    CHECK(d.Read("t-0/00000000000000000000.710.cut") == noise);
    CHECK_THAT(d.Report(), Contains(d.PathOf(kLog) + ": cut at byte 710, offset 10: "));
  }
  CHECK(d.Read(kLog) == whole);
  d.Produce(10, 12);
  CHECK(d.ReadAll().Has(0, 12));
}

TEST_CASE("a batch whose header cannot be is a torn tail above the mark, and corruption below",
          "[client][damage]") {
  struct Case {
    std::string what;
    std::function<void(std::string&, size_t)> change;  // of the batch that begins there
    std::string said;
  };
  const auto length = [](int32_t value) {
    return [=](std::string& b, size_t at) { Store(b, at + 8, value); };
  };
  const auto magic = [](int value) {
    return [=](std::string& b, size_t at) { b[at + 16] = static_cast<char>(value); };
  };
  const Case cases[] = {
      {"length 0", length(0), "length 0, at least 49 is needed"},
      {"length 48", length(48), "length 48, at least 49 is needed"},
      {"length beyond the file", length(1'000'000), "a batch of 1000012 bytes where the file has"},
      {"length 2^31-1", length(INT32_MAX), "a batch of 2147483659 bytes where the file has"},
      {"length -1", length(-1), "length -1, at least 49 is needed"},
      {"length -2^31", length(INT32_MIN), "length -2147483648, at least 49 is needed"},
      {"magic 0", magic(0), "magic 0, only 2 is supported"},
      {"magic 1", magic(1), "magic 1, only 2 is supported"},
      {"magic 3", magic(3), "magic 3, only 2 is supported"},
      {"magic 255", magic(255), "magic 255, only 2 is supported"},
      {"zeros from here on", [](std::string& b, size_t at) { b.replace(at, b.size(), 4096, 0); },
       "zeros up to the end of the file"},
  };
  TenRecords d;
  const std::string whole = d.image.at(kLog);
  for (const Case& c : cases) {
    INFO(c.what);
    std::string above = whole;
    c.change(above, At(7));
    auto contents = d.ReadWith(above);
    CHECK(contents.Has(0, 7));
    CHECK(contents.Lacks(7, 10));
    CHECK(contents.errors.empty());
    CHECK_THAT(d.Report(),
               Contains(d.PathOf(kLog) + ": cut at byte 497, offset 7: ") && Contains(c.said));
    if (!c.said.starts_with("zeros"))
      CHECK(d.Read("t-0/00000000000000000000.497.cut") == above.substr(At(7)));
    d.Produce(7, 8);

    std::string below = whole;
    c.change(below, At(2));
    contents = d.ReadWith(below);
    CHECK(contents.Has(0, 2));
    REQUIRE(contents.errors.size() == 1);
    CHECK_THAT(contents.errors[0],
               Catch::StartsWith("corrupt_log: " + d.PathOf(kLog) + ": bytes [142, ") &&
                   Contains("offsets [2, ") && Contains(c.said));
    CHECK(d.Recovery().cut_bytes == 0);
    CHECK(d.Read(kLog) == below);
    // What is sound behind it is served.
    if (below.size() == whole.size()) CHECK(contents.Has(5, 10));
    d.Produce(below.size() == whole.size() ? 10 : 5, 11);
  }
}

TEST_CASE("a flipped bit in any byte of a batch is never read", "[client][damage]") {
  const bool clean = GENERATE(true, false);
  TenRecords d;
  if (clean) {
    d.Open();
    d.Close();
    d.image = d.Save();
  }
  const std::string whole = d.image.at(kLog);
  const auto field_of = [](size_t byte) {
    return byte < 8    ? "base offset"
           : byte < 12 ? "length"
           : byte < 16 ? "leader epoch"
           : byte < 17 ? "magic"
           : byte < 21 ? "CRC"
           : byte < 61 ? "the header under the CRC"
                       : "the body";
  };
  for (size_t byte = 0; byte < kBatch; ++byte) {
    INFO("byte " << byte << ", in " << field_of(byte));
    std::string flipped = whole;
    flipped[At(2) + byte] = static_cast<char>(flipped[At(2) + byte] ^ (1 << (byte % 8)));
    const auto contents = d.ReadWith(flipped);
    CHECK(contents.Has(0, 2));
    CHECK(contents.Lacks(2, 3));
    // Where a batch without its length is followed by others is known from the mark or the index; a
    // log that was closed at less than index.interval.bytes has neither.
    CHECK((contents.Has(5, 10) || (clean && byte >= 8 && byte < 12)));
    REQUIRE(contents.errors.size() == 1);
    CHECK_THAT(contents.errors[0],
               Catch::StartsWith("corrupt_log: " + d.PathOf(kLog) + ": bytes [142, ") &&
                   Contains("offsets [2, "));
    CHECK(d.Read(kLog) == flipped);
  }
}

TEST_CASE("a batch of another place is corruption, however sound it is", "[client][damage]") {
  TenRecords d;
  const std::string whole = d.image.at(kLog);
  std::string bytes = whole;
  std::string said;
  SECTION("an offset that was there before") {
    Store(bytes, At(2), int64_t{1});
    said = "bytes [142, 213), offsets [2, 3): base offset 1 where 2 must be";
  }
  SECTION("offset 0 again") {
    Store(bytes, At(2), int64_t{0});
    said = "bytes [142, 213), offsets [2, 3): base offset 0 where 2 must be";
  }
  SECTION("an offset that leaves a gap") {
    Store(bytes, At(2), int64_t{4});
    said = "bytes [142, 213), offsets [2, 3): base offset 4 where 2 must be";
  }
  SECTION("the batch before it, twice") {
    bytes.replace(At(2), kBatch, bytes.substr(At(1), kBatch));
    said = "bytes [142, 213), offsets [2, 3): base offset 1 where 2 must be";
  }
  SECTION("another leader epoch") {
    Store(bytes, At(2) + 12, int32_t{7});
    said = "bytes [142, 213), offsets [2, 3): leader epoch 7 where the epoch history has 0";
  }
  SECTION("of another partition, at the same offset") {
    OnDisk other;
    other.Open();
    OrFail(other.client().admin().CreateTopic("t"));
    Producer producer = OrFail(other.client().NewProducer());
    for (int i = 0; i < 3; ++i) OrFail(producer.Send({.topic = "t", .value = "xyz"}).Get());
    bytes.replace(At(2), kBatch, other.Read(kLog).substr(At(2), kBatch));
    // Nothing of the batch itself is wrong: only the sum of all of them is.
    said = "bytes [0, 355), offsets [0, 5): the batches up to byte 355 have the sum 0x";
  }
  const auto contents = d.ReadWith(bytes);
  REQUIRE(contents.errors.size() == 1);
  CHECK_THAT(contents.errors[0],
             Catch::StartsWith("corrupt_log: " + d.PathOf(kLog)) && Contains(said));
  CHECK_THAT(d.Report(), Contains("damage: " + d.PathOf(kLog) + ": " + said));
  CHECK(contents.Lacks(2, 3));
  CHECK(contents.Has(5, 10));
  CHECK(d.Recovery().cut_bytes == 0);
  CHECK(d.Read(kLog) == bytes);
}

TEST_CASE("a batch whose header and records disagree is corruption, though its CRC is right",
          "[client][damage]") {
  using Header = record::BatchHeader;
  struct Case {
    std::string what;
    std::function<void(Header&, std::string&)> change;
    std::string said;
  };
  const Case cases[] = {
      {"two records said", [](Header& h, auto&) { h.record_count = 2; }, "record count 2"},
      {"none said", [](Header& h, auto&) { h.record_count = 0; },
       "record count 0 with a last offset delta of 0"},
      {"2^31-1 said", [](Header& h, auto&) { h.record_count = INT32_MAX; },
       "record count 2147483647"},
      {"an offset more", [](Header& h, auto&) { h.last_offset_delta = 1; },
       "record count 1 with a last offset delta of 1"},
      {"2^31-1 offsets", [](Header& h, auto&) { h.last_offset_delta = INT32_MAX; },
       "record count 1 with a last offset delta of 2147483647"},
      {"offsets backward", [](Header& h, auto&) { h.last_offset_delta = -1; },
       "last offset delta -1, must not be negative"},
      {"both said, one there",
       [](Header& h, auto&) {
         h.record_count = 1;
         h.last_offset_delta = 0;
         h.attributes = 5;
       },
       "compression codec 5, known are 0 to 4"},
      {"gzip garbage", [](Header& h, auto&) { h.attributes = 1; }, "gzip data: "},
      {"snappy garbage", [](Header& h, auto&) { h.attributes = 2; }, "snappy data: "},
      {"lz4 garbage", [](Header& h, auto&) { h.attributes = 3; }, "lz4 data: "},
      {"zstd garbage", [](Header& h, auto&) { h.attributes = 4; }, "zstd data: "},
      {"records that are none",
       [](Header&, std::string& b) { b.replace(61, b.size(), b.size() - 61, '\xff'); },
       "record 1 of 1: its length does not decode"},
  };
  // After a close nothing is scanned: readers find it.
  TenRecords d;
  d.Open();
  d.Close();
  d.image = d.Save();
  const std::string whole = d.image.at(kLog);
  for (const Case& c : cases) {
    INFO(c.what);
    std::string bytes = whole;
    bytes.replace(At(2), kBatch, Forged(whole.substr(At(2), kBatch), c.change));
    const auto contents = d.ReadWith(bytes);
    REQUIRE(contents.errors.size() == 1);
    CHECK_THAT(contents.errors[0], Catch::StartsWith("corrupt_log: ") && Contains("t-0") &&
                                       Contains("offsets [2, 3): ") && Contains(c.said));
    CHECK(contents.Has(0, 2));
    CHECK(contents.Lacks(2, 3));
    CHECK(contents.Has(3, 10));
    // Nor is it found by its time.
    Consumer consumer = OrFail(d.client().NewConsumer());
    const Status by_time = consumer.OffsetsForTimes({{{"t", 0}, absl::UnixEpoch()}}).status();
    CHECK((by_time.ok() || Described(by_time).starts_with("corrupt_log: ")));
    // Nor is its time known.
    OrFail(consumer.Assign({{"t", 0}}));
    OrFail(consumer.Seek({"t", 0}, 2));
    CHECK_THAT(Described(consumer.LagTime().status()),
               Catch::StartsWith("corrupt_log: ") && Contains("t-0") && Contains(c.said));
  }
}

}  // namespace millrace
