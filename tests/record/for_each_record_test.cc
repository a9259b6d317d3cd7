#include "record/for_each_record.h"

#include <catch2/catch.hpp>

#include "base/errors.h"
#include "batch_helpers.h"

namespace millrace::record {
namespace {

// Two batches, a control batch between them, one behind the other as a log has them.
std::vector<std::byte> Batches(BufferPool& pool, Codec codec) {
  std::vector<std::byte> all;
  int64_t next = 0;
  for (const bool is_control : {false, true, false}) {
    const TestRecord records[] = {{.value = std::to_string(next)},
                                  {.value = std::to_string(next + 1)}};
    const EncodedBatch batch = Encode(pool, records, is_control ? Codec::kNone : codec);
    AssignOffset(batch.buffer.data(), next, 0);
    if (is_control) {
      BatchHeader header = OrFail(ParseHeader(batch.bytes()));
      header.attributes |= 0x20;
      StoreHeader(header, batch.buffer.data());
    }
    all.insert(all.end(), batch.bytes().begin(), batch.bytes().end());
    next += 2;
  }
  return all;
}

TEST_CASE("a walk over batches sees each record, and no marker", "[record][reader]") {
  BufferPool pool;
  const auto batches = Batches(pool, GENERATE(Codec::kNone, Codec::kZstd));
  std::string seen;
  const auto note = [&](const RecordFields& fields) {
    seen += std::to_string(fields.offset) + "=" + std::string(fields.value.str()) + " ";
    return absl::OkStatus();
  };
  OrFail(ForEachRecord(batches, 1 << 20, pool, note));
  CHECK(seen == "0=0 1=1 4=4 5=5 ");
  OrFail(ForEachRecord({}, 1 << 20, pool, note));
  SECTION("up to the first that is not wanted") {
    int calls = 0;
    const Status status = ForEachRecord(batches, 1 << 20, pool, [&](const RecordFields&) -> Status {
      return ++calls == 2 ? absl::AbortedError("enough") : absl::OkStatus();
    });
    CHECK(status.message() == "enough");
    CHECK(calls == 2);
  }
  SECTION("up to what is cut off") {
    CHECK_FALSE(ForEachRecord(std::span(batches).first(40), 1 << 20, pool, note).ok());
  }
}

TEST_CASE("a walk over batches ends where one does not decode", "[record][reader]") {
  BufferPool pool;
  auto batches = Batches(pool, Codec::kNone);
  const auto none = [](const RecordFields&) { return absl::OkStatus(); };
  SECTION("its records") { batches[kHeaderBytes] = std::byte{0x7e}; }
  SECTION("its codec") { batches[22] = std::byte{4}; }
  CHECK(ErrorIdOf(ForEachRecord(batches, 1 << 20, pool, none)) == ErrorId::kCorruptMessage);
}

}  // namespace
}  // namespace millrace::record
