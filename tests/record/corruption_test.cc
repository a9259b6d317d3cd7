// Damage is noticed, wherever it falls, and read without harm.
#include <catch2/catch.hpp>

#include "base/errors.h"
#include "batch_helpers.h"

namespace millrace::record {
namespace {

// Goes on where a reader would stop at the CRC: what follows must be safe with any bytes.
void ReadRegardlessOfCrc(std::span<const std::byte> batch, BufferPool& pool) {
  const StatusOr<BatchHeader> header = ParseHeader(batch);
  if (!header.ok() || header->size_bytes() != batch.size()) return;
  const StatusOr<Payload> payload = ExpandedPayload(*header, batch, 1 << 20, pool);
  bool reads = payload.ok();
  if (payload.ok()) {
    RecordReader reader(*header, payload->records);
    for (RecordFields fields; reader.Next(&fields);) Owned(fields);
    reads = reader.status().ok();
  }
  const Status valid = ValidateRecords(*header, batch, {.max_uncompressed_bytes = 1 << 20}, pool);
  // A leader takes nothing that a reader would stumble over.
  if (valid.ok()) CHECK(reads);
}

}  // namespace

TEST_CASE("no truncation of a batch reads as a batch", "[record][corruption]") {
  BufferPool pool;
  const uint64_t seed = GENERATE(take(10, random(uint64_t{1}, uint64_t{1} << 40)));
  const Codec codec = static_cast<Codec>(seed % 5);
  CAPTURE(seed, Name(codec));
  const auto batch = Copy(Encode(pool, RandomRecords(seed).Some(5), codec).bytes());
  for (size_t size = 0; size < batch.size(); ++size) {
    const std::vector<std::byte> cut(batch.begin(), batch.begin() + static_cast<ptrdiff_t>(size));
    if (ErrorIdOf(Decode(cut, pool).status()) != ErrorId::kCorruptMessage) FAIL("cut at " << size);
  }
}

TEST_CASE("no change of a byte is read as if nothing were", "[record][corruption]") {
  BufferPool pool;
  const uint64_t seed = GENERATE(take(10, random(uint64_t{1}, uint64_t{1} << 40)));
  const Codec codec = static_cast<Codec>(seed % 5);
  CAPTURE(seed, Name(codec));
  RandomRecords random(seed);
  const auto records = random.Some(4);
  const auto batch = Copy(Encode(pool, records, codec).bytes());
  const auto bad = [&](size_t at, std::byte flip) {
    auto changed = batch;
    changed[at] ^= flip;
    const StatusOr<std::vector<TestRecord>> read = Decode(changed, pool);
    ReadRegardlessOfCrc(changed, pool);
    // The base offset and the leader epoch lie outside of the CRC: the log checks that they
    // continue what came before. Length and magic lie outside too, and are noticed all the same.
    const bool is_covered = !(at < 8 || (at >= 12 && at < 16));
    if (is_covered && read.ok()) FAIL("byte " << at);
    if (!is_covered && read.ok() && *read != records) FAIL("other records, byte " << at);
  };
  for (size_t at = 0; at < batch.size(); ++at) {
    bad(at, std::byte{0xff});
    bad(at, static_cast<std::byte>(1u << random.Below(8)));
  }
}

TEST_CASE("random bytes as a batch are refused without harm", "[record][corruption]") {
  BufferPool pool;
  const uint64_t seed = GENERATE(take(300, random(uint64_t{1}, uint64_t{1} << 40)));
  CAPTURE(seed);
  RandomRecords random(seed);
  auto batch = Copy(Encode(pool, random.Some(3), static_cast<Codec>(seed % 5)).bytes());
  // A good header, so that the records are reached, and noise after it.
  for (size_t i = 0; i < 1 + random.Below(20); ++i)
    batch[kHeaderBytes + random.Below(batch.size() - kHeaderBytes)] =
        static_cast<std::byte>(random.Below(256));
  ReadRegardlessOfCrc(batch, pool);
}

}  // namespace millrace::record
