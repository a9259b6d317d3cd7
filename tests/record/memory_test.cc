#include <new>

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "base/no_throw.h"
#include "record/batch_helpers.h"
#include "record/decoder.h"
#include "support/failing_malloc.h"

// A codec that gets no memory says so, whichever allocation it is: never that the data is damaged,
// and with memory back all is well. First of this binary's tests, while the libraries have no
// contexts that are kept.
namespace millrace::record {
namespace {

constexpr size_t kLimit = size_t{32} << 20;

BufferPool& TestPool() {
  static BufferPool pool;
  return pool;
}

std::vector<TestRecord> Records() {
  std::vector<TestRecord> records;
  for (int i = 0; i < 300; ++i)
    records.push_back({.timestamp_ms = i,
                       .key = fmt::format("k{}", i),
                       .value = std::string(400, static_cast<char>('a' + i % 26))});
  return records;
}

// As many at work as are kept, and one more: the next one gets a context that is made for it.
std::vector<std::unique_ptr<Decoder>> Busy(Codec codec, std::span<const std::byte> packed) {
  std::vector<std::unique_ptr<Decoder>> decoders;
  if (codec == Codec::kNone) return decoders;
  for (int i = 0; i < 5; ++i)
    decoders.push_back(OrFail(NewDecoder(codec, packed, kLimit, TestPool())));
  return decoders;
}

// Runs `act` with memory for one allocation more each time, until that is enough.
void Starve(std::string_view what, bool from_then_on, const std::function<Status()>& act,
            Codec busy = Codec::kNone, std::span<const std::byte> packed = {}) {
  for (int64_t n = 0; n < 1000; ++n) {
    const auto decoders = Busy(busy, packed);
    Status status;
    bool starved = false;
    {
      const FailingMalloc failing(n, from_then_on);
      status = NoThrow(act);
      starved = failing.has_failed();
    }
    CAPTURE(what, from_then_on, n, status.ToString());
    if (!starved) {
      REQUIRE(status.ok());
      return;
    }
    // Some libraries do with less.
    REQUIRE((status.ok() || absl::IsResourceExhausted(status)));
  }
  FAIL("no memory is enough");
}

}  // namespace

TEST_CASE("without memory a codec answers that, and nothing else", "[codec][memory]") {
  if (!FailingMalloc::IsAvailable()) {
    WARN("SKIPPED: needs a build without a sanitizer");
    return;
  }
  const std::vector<TestRecord> records = Records();
  const bool from_then_on = GENERATE(false, true);
  for (const Codec codec :
       {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
    // Pools of their own: nothing is kept from one try to the next.
    const std::string plain(200'000, 'x');
    Starve("compress", from_then_on, [&] {
      BufferPool pool(0);
      return Compress(codec, 0, AsBytes(std::string_view(plain)), pool).status();
    });
    Starve("compress hard", from_then_on, [&] {
      BufferPool pool(0);
      return Compress(
                 codec,
                 codec == Codec::kLz4 || codec == Codec::kGzip || codec == Codec::kZstd ? 9 : 0,
                 AsBytes(std::string_view(plain)), pool)
          .status();
    });
    BufferPool pool;
    const auto packed = OrFail(Compress(codec, 0, AsBytes(std::string_view(plain)), pool));
    Starve(
        "decompress", from_then_on,
        [&] {
          BufferPool own(0);
          return Decompress(codec, packed.bytes(), kLimit, own).status();
        },
        codec, packed.bytes());
    const EncodedBatch batch = Encode(pool, records, codec);
    const BatchHeader header = OrFail(ParseHeader(batch.bytes()));
    Starve(
        "validate", from_then_on,
        [&] {
          BufferPool own(0);
          return ValidateRecords(header, batch.bytes(), {}, own);
        },
        codec, packed.bytes());
    const auto again = OrFail(Decompress(codec, packed.bytes(), kLimit, pool));
    CHECK(AsText(again.bytes()) == plain);
  }
}

TEST_CASE("more decoders may be at work than are kept", "[codec][memory]") {
  BufferPool pool;
  const std::string plain(5000, 'x');
  for (const Codec codec : {Codec::kGzip, Codec::kLz4, Codec::kZstd}) {
    const auto packed = OrFail(Compress(codec, 0, AsBytes(std::string_view(plain)), pool));
    for (int round = 0; round < 2; ++round) {
      std::vector<std::unique_ptr<Decoder>> decoders;
      for (int i = 0; i < 8; ++i)
        decoders.push_back(OrFail(NewDecoder(codec, packed.bytes(), kLimit, pool)));
      for (const auto& decoder : decoders) {
        std::string out(6000, '?');
        CHECK(OrFail(decoder->Read(std::as_writable_bytes(std::span(out)))) == plain.size());
      }
    }
  }
}

}  // namespace millrace::record
