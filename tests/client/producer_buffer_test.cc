// What a producer holds of records that have no answer, and its bound.
#include <thread>

#include "client/producer_fixture.h"

namespace millrace::client {
namespace {

TEST_CASE("the buffer bounds what has no answer", "[client][producer]") {
  ProducerFixture f({.max_buffered_bytes = 65536, .max_block = absl::Seconds(60)});
  Outcomes outcomes;
  f.orders[0]->Hold(true);
  const ProducerRecord record{.topic = "orders", .value = std::string_view("x")};
  int accepted = 0;
  Status full;
  while ((full = f.Send(record, outcomes.Callback(), false)).ok()) ++accepted;
  CHECK(absl::IsResourceExhausted(full));
  CHECK(ErrorIdOf(full) == ErrorId::kBufferFull);
  CHECK_THAT(std::string(full.message()), Catch::Contains("max_buffered_bytes (65536)"));
  CHECK(accepted > 10);
  CHECK(f.producer->buffered_bytes() <= 65536);
  CHECK(f.producer->buffered_records() == static_cast<size_t>(accepted));

  SECTION("a send waits for space until max_block is over") {
    std::thread advance([&] {
      while (f.context->metrics->sends_throttled.load() == 0) std::this_thread::yield();
      f.broker->manual_clock().Advance(absl::Seconds(60));
    });
    const Status late = f.Send(record, outcomes.Callback());
    advance.join();
    CHECK(ErrorIdOf(late) == ErrorId::kBufferFull);
    CHECK_THAT(std::string(late.message()), Catch::Contains("max_block"));
  }
  SECTION("a send waits for space until it is stopped") {
    std::stop_source stop;
    std::thread stopper([&] {
      while (f.context->metrics->sends_throttled.load() == 0) std::this_thread::yield();
      stop.request_stop();
    });
    ProducerRecord r = record;
    const Status stopped =
        f.producer->Send(r, outcomes.Callback(), {.stop = stop.get_token()}, true);
    stopper.join();
    CHECK(absl::IsCancelled(stopped));
  }
  SECTION("a send waits for space and gets it") {
    std::thread answer([&] {
      while (f.context->metrics->sends_throttled.load() == 0) std::this_thread::yield();
      f.orders[0]->Hold(false);
      f.orders[0]->Answer();
      f.executor->RunAll();
    });
    OrFail(f.Send(record, outcomes.Callback()));
    answer.join();
    ++accepted;
  }
  SECTION("inside a callback a send does not wait") {
    CallbackScope scope(f.executor.get());
    CHECK(ErrorIdOf(f.Send(record, outcomes.Callback())) == ErrorId::kBufferFull);
    CHECK(ErrorIdOf(f.producer->Flush(absl::Seconds(1), {})) == ErrorId::kReentrant);
    CHECK(ErrorIdOf(f.producer->Close(absl::Seconds(1))) == ErrorId::kReentrant);
  }
  f.orders[0]->Hold(false);
  f.orders[0]->Answer();
  f.executor->RunAll();
  CHECK(outcomes.size() == static_cast<size_t>(accepted));
  CHECK(f.producer->buffered_bytes() == 0);
}

TEST_CASE("what a producer holds never passes the bound, and a small bound takes a record",
          "[client][producer]") {
  const size_t bound = GENERATE(as<size_t>(), 1024, 4096, 5000, 65536);
  const absl::Duration linger = GENERATE(absl::ZeroDuration(), absl::Hours(1));
  ProducerFixture f(
      {.linger = linger, .max_buffered_bytes = bound, .delivery_timeout = absl::Hours(2)}, 3);
  Outcomes outcomes;
  for (const auto& partition : f.orders) partition->Hold(true);
  size_t accepted = 0;
  Status full;
  while (true) {
    const auto partition = static_cast<int32_t>(accepted % 3);
    full = f.Send({.topic = "orders", .partition = partition, .value = "x"}, outcomes.Callback(),
                  false);
    CHECK(f.producer->buffered_bytes() <= bound);
    if (!full.ok()) break;
    ++accepted;
  }
  CAPTURE(bound, linger, accepted);
  CHECK(ErrorIdOf(full) == ErrorId::kBufferFull);
  CHECK(accepted >= 1);
  CHECK(f.producer->buffered_records() == accepted);
  for (const auto& partition : f.orders) partition->Hold(false);
  f.broker->manual_clock().Advance(absl::Hours(1));
  f.broker->RunTimers();
  for (const auto& partition : f.orders) partition->Answer();
  f.executor->RunAll();
  CHECK(outcomes.size() == accepted);
  CHECK(f.producer->buffered_bytes() == 0);
  CHECK(f.producer->buffered_records() == 0);
}

TEST_CASE("SendAll of more than the buffer holds goes in rounds", "[client][producer]") {
  // Of the smaller bound one batch of one record takes all.
  const size_t bound = GENERATE(as<size_t>(), 4096, 16384);
  ProducerFixture f({.max_buffered_bytes = bound});
  std::vector<ProducerRecord> records;
  for (int i = 0; i < 100; ++i)
    records.push_back({.topic = "orders", .value = std::string(200, 'x')});
  for (const auto& answer : f.producer->SendAll(records, {})) OrFail(answer);
  CHECK(f.Values().size() == 100);
  CHECK(f.orders[0]->appends() > 5);
  CHECK((f.orders[0]->appends() == 100) == (bound == 4096));
  CHECK(f.producer->buffered_bytes() == 0);
}

TEST_CASE("a bound that one record fills takes that record", "[client][producer]") {
  const std::string value(500, 'x');
  const size_t charge = Batch::ChargeOf(record::BatchBuilder::MaxRecordBytes({}, Bytes(value), {}));
  ProducerFixture f({.max_buffered_bytes = charge});
  std::vector<ProducerRecord> records(3, {.topic = "orders", .value = value});
  for (const auto& answer : f.producer->SendAll(records, {})) OrFail(answer);
  OrFail(f.Send({.topic = "orders", .value = value}).Get());
  CHECK(f.Values().size() == 4);
  CHECK(f.producer->buffered_bytes() == 0);
  ProducerFixture smaller({.max_buffered_bytes = charge - 1});
  CHECK(ErrorIdOf(smaller.Send({.topic = "orders", .value = value}).Get().status()) ==
        ErrorId::kRecordTooLarge);
}

}  // namespace
}  // namespace millrace::client
