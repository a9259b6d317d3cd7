// A producer and a consumer stay within the memory that their options state.
#include <algorithm>

#include "client/counting_new.h"
#include "client/delivery_hub.h"
#include "client/fixture.h"
#include "support/temporary_directory.h"

namespace millrace {
namespace {

// What the objects need themselves: open partitions, batches that are kept for reuse, a buffer that
// grows.
constexpr size_t kFixedBytes = 3 << 20;

TEST_CASE("what a producer holds stays within max_buffered_bytes", "[client][memory]") {
  const TemporaryDirectory directory;
  const auto executor = std::make_shared<ManualExecutor>();
  Embedded m({.directory = directory.path(),
              .flush = Flush::kOs,
              .background_threads = 0,
              .client = {.executor = executor}});
  constexpr int kPartitions = 8;
  m.Topic("t", kPartitions);
  const size_t value_size = GENERATE(as<size_t>(), 1, 100, 10'000);
  const absl::Duration linger = GENERATE(absl::ZeroDuration(), absl::Hours(1));
  const std::string value(value_size, 'x');
  constexpr size_t kBuffer = 8 << 20;
  Producer producer = OrFail(m.client().NewProducer(
      {.linger = linger, .max_buffered_bytes = kBuffer, .delivery_timeout = absl::Hours(2)}));
  int accepted = 0, delivered = 0;
  const HeapUse use = HeapUseOf([&] {
    for (;; ++accepted) {
      const Status sent = producer.TrySend(
          {.topic = "t", .partition = accepted % kPartitions, .value = std::string_view(value)},
          [&delivered](const StatusOr<Delivery>&) { ++delivered; });
      if (sent.ok()) continue;
      REQUIRE(DetailOf(sent)->name == "buffer_full");
      return;
    }
  });
  CAPTURE(value_size, linger, accepted, producer.buffered_bytes());
  CHECK(use.peak_bytes <= kBuffer + kFixedBytes);
  // And is of use: with linger, a good part of it holds records.
  if (linger > absl::ZeroDuration())
    CHECK(static_cast<size_t>(accepted) * (value_size + sizeof(client::Completion)) > kBuffer / 3);
  OrFail(producer.Flush());
  executor->RunAll();
  CHECK(delivered == accepted);
}

TEST_CASE("what a consumer's batches hold stays within max_pinned_bytes", "[client][memory]") {
  const TemporaryDirectory directory;
  Embedded m({.directory = directory.path(), .flush = Flush::kOs, .background_threads = 0});
  m.Topic("t");
  const size_t value_size = GENERATE(as<size_t>(), 1, 100, 10'000);
  const Compression compression = GENERATE(Compression::kNone, Compression::kLz4);
  constexpr size_t kPinned = 8 << 20;
  {
    Producer producer = OrFail(m.client().NewProducer({.compression = compression}));
    std::vector<ProducerRecord> records(std::min<size_t>(4 * kPinned / value_size, 400'000));
    for (ProducerRecord& record : records)
      record = {.topic = "t", .value = std::string(value_size, 'x')};
    for (const auto& answer : producer.SendAll(records)) OrFail(answer);
  }
  Consumer consumer = m.Reader("t", 0, {.max_poll_bytes = 1 << 20, .max_pinned_bytes = kPinned});
  std::vector<RecordBatch> held;
  held.reserve(10'000);
  size_t read = 0;
  const HeapUse use = HeapUseOf([&] {
    for (;;) {
      StatusOr<RecordBatch> batch = consumer.Poll(absl::ZeroDuration());
      if (!batch.ok()) {
        REQUIRE(DetailOf(batch.status())->name == "pinned_too_much");
        return;
      }
      if (batch->empty()) return;
      read += batch->size();
      held.push_back(*std::move(batch));
    }
  });
  CAPTURE(value_size, compression, read);
  CHECK(use.peak_bytes <= kPinned + kFixedBytes);
  // Buffers that were used before are not counted: those of compressed batches.
  if (compression == Compression::kNone) CHECK(use.peak_bytes > kPinned / 2);
}

}  // namespace
}  // namespace millrace
