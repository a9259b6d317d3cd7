#include <array>
#include <functional>

#include <catch2/catch.hpp>

#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "base/errors.h"
#include "log/close_manifest.h"
#include "log/durable_marks.h"
#include "log/log_fixture.h"
#include "log/producer_state.h"

// Side files whose CRC is right and whose content no writer makes: whoever has rewritten them, they
// are refused and nothing is computed with what they say.
namespace millrace::log {
namespace {

using Bytes = std::vector<std::byte>;

// A producer snapshot: version (2), CRC (4), count (4), entries of 46 bytes, then the older
// batches.
constexpr size_t kCountAt = 6;
constexpr size_t kEntryAt = 10;
constexpr size_t kEntryBytes = 46;
constexpr size_t kOlderAt = kEntryAt + 2 * kEntryBytes;

ProducerState TwoProducers() {
  ProducerState state;
  for (int i = 0; i < 3; ++i) {
    state.Update({.base_offset = i, .producer_id = 7, .producer_epoch = 0, .base_sequence = i});
  }
  state.Update({.base_offset = 3, .producer_id = 8, .producer_epoch = 0, .base_sequence = 0});
  return state;
}

StatusOr<ProducerState> Crafted(const std::function<void(Bytes&)>& change) {
  Bytes bytes = TwoProducers().Snapshot();
  change(bytes);
  StoreBigEndian(bytes.data() + 2, Crc32c(std::span(bytes).subspan(kCountAt)));
  return ProducerState::FromSnapshot(bytes);
}

template <typename T>
std::function<void(Bytes&)> Store(size_t at, T value) {
  return [=](Bytes& bytes) { StoreBigEndian(bytes.data() + at, value); };
}

}  // namespace

TEST_CASE("a producer snapshot that does not add up is refused", "[side-files]") {
  OrFail(Crafted([](Bytes&) {}));
  const std::pair<const char*, std::function<void(Bytes&)>> cases[] = {
      {"a negative count", Store(kCountAt, int32_t{-1})},
      {"a count beyond its bytes", Store(kCountAt, int32_t{50'000'000})},
      {"a negative id", Store(kEntryAt, int64_t{-1})},
      {"an id that is there twice", Store(kEntryAt + kEntryBytes, int64_t{7})},
      {"a negative count of older batches", Store(kOlderAt, int8_t{-1})},
      {"more older batches than are kept", Store(kOlderAt, int8_t{5})},
      {"more older batches than there are bytes", Store(kOlderAt, int8_t{4})},
      {"older batches that are cut off", [](Bytes& b) { b.resize(kOlderAt + 1); }},
      {"older batches of one producer only", [](Bytes& b) { b.pop_back(); }},
      {"bytes after its end", [](Bytes& b) { b.push_back({}); }},
  };
  for (const auto& [what, change] : cases) {
    INFO(what);
    CHECK(ErrorIdOf(Crafted(change).status()) == ErrorId::kCorruptLog);
  }
}

TEST_CASE("a producer without a batch is known by its epoch alone", "[side-files]") {
  constexpr size_t kLastSequenceAt = kEntryAt + 10;
  constexpr size_t kOffsetDeltaAt = kEntryAt + 22;
  for (const size_t at : {kLastSequenceAt, kOffsetDeltaAt}) {
    const auto state = OrFail(Crafted(Store(at, int32_t{-1})));
    // Its older batches have no place without the newest one.
    CHECK(OrFail(ProducerState::FromSnapshot(state.Snapshot())).Snapshot() == state.Snapshot());
    CHECK(state.Snapshot().size() == kOlderAt);
  }
}

TEST_CASE("a durable mark that contradicts itself is no mark", "[side-files]") {
  const DurableMarks::Key key{kTopic, 3};
  const auto load = [&](const Mark& mark) {
    std::array<std::byte, DurableMarks::kSlotBytes> slot{};
    DurableMarks::StoreSlot(key, mark, 1, slot.data());
    return DurableMarks::LoadSlot(slot.data());
  };
  const Mark good = {.log_start = 1,
                     .segment_base = 2,
                     .synced_end = 9,
                     .position = 700,
                     .checkpoint = {.offset = 8, .position = 600}};
  REQUIRE(load(good).has_value());
  CHECK(load(good)->mark == good);
  const std::pair<const char*, std::function<void(Mark&)>> cases[] = {
      {"a negative log start", [](Mark& m) { m.log_start = -1; }},
      {"a negative segment",
       [](Mark& m) {
         m.segment_base = -2;
         m.checkpoint.offset = m.synced_end = -1;
       }},
      {"a checkpoint beyond the end", [](Mark& m) { m.checkpoint.offset = 10; }},
      {"a checkpoint beyond the position", [](Mark& m) { m.checkpoint.position = 701; }},
      {"offsets beyond the last one",
       [](Mark& m) { m.segment_base = m.checkpoint.offset = m.synced_end = INT64_MAX; }},
  };
  for (const auto& [what, change] : cases) {
    INFO(what);
    Mark mark = good;
    change(mark);
    CHECK_FALSE(load(mark).has_value());
  }
  std::array<std::byte, DurableMarks::kSlotBytes> slot{};
  DurableMarks::StoreSlot(key, good, 1, slot.data());
  slot[0] ^= std::byte{1};
  StoreBigEndian(slot.data() + slot.size() - 4, Crc32c(std::span(slot).first(slot.size() - 4)));
  CHECK_FALSE(DurableMarks::LoadSlot(slot.data()).has_value());
}

TEST_CASE("a close manifest that does not decode vouches for nothing", "[side-files]") {
  CloseManifest manifest;
  PartitionRecord record{.name = "orders-0", .topic_id = kTopic};
  record.epochs = {{0, 0}};
  record.segments = {{.base = 0, .end_offset = 5, .size_bytes = 100}};
  CHECK(record.log_end() == 5);
  manifest.partitions[{kTopic, 0}] = record;
  const auto crafted = [](Bytes bytes, const std::function<void(Bytes&)>& change) {
    bytes.resize(bytes.size() - 4);
    change(bytes);
    const uint32_t crc = Crc32c(bytes);
    bytes.resize(bytes.size() + 4);
    StoreBigEndian(bytes.data() + bytes.size() - 4, crc);
    return CloseManifest::Parse(bytes);
  };
  const Bytes good = manifest.Format();
  CHECK(OrFail(crafted(good, [](Bytes&) {})).Format() == good);

  constexpr size_t kPartitionsAt = 8 + 16 + 1;
  constexpr size_t kEpochsAt = kPartitionsAt + 4 + 2 + 8 + 16 + 4 + 8 + 4 + 1;
  const std::pair<const char*, std::function<void(Bytes&)>> cases[] = {
      {"another file's magic", Store(0, uint64_t{1})},
      {"partitions that are not there", Store(kPartitionsAt, uint32_t{2})},
      {"fewer partitions than there are", Store(kPartitionsAt, uint32_t{0})},
      {"more epochs than bytes", Store(kEpochsAt, uint32_t{1'000'000'000})},
      {"nothing behind its magic", [](Bytes& b) { b.resize(8); }},
      {"a segment that is cut off", [](Bytes& b) { b.pop_back(); }},
  };
  for (const auto& [what, change] : cases) {
    INFO(what);
    CHECK(ErrorIdOf(crafted(good, change).status()) == ErrorId::kCorruptLog);
  }
  manifest.partitions[{kTopic, 0}].segments.clear();
  manifest.partitions[{kTopic, 0}].log_start = 3;
  CHECK(manifest.partitions[{kTopic, 0}].log_end() == 3);
  CHECK_THAT(crafted(manifest.Format(), [](Bytes&) {}).status().ToString(),
             Catch::Contains("without a segment"));
}

}  // namespace millrace::log
