// Callbacks that lag behind, and executors that go away with callbacks in them.
#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

#include "client/embedded_producer.h"
#include "client/fake_broker.h"
#include "support/or_fail.h"

namespace millrace::client {
namespace {

TEST_CASE("what is sent while callbacks lag behind shares an append", "[client][callbacks]") {
  const auto broker = std::make_shared<FakeBroker>();
  const LetGoAtEnd end(broker);
  const auto orders = broker->AddTopic("orders", 1).at(0);
  EmbeddedProducer producer(FakeContext(broker), {});
  std::atomic<bool> go_on{false};
  std::atomic<int> called{0};
  const auto send = [&](bool with_callback = true) {
    ProducerRecord record{.topic = "orders", .value = "v"};
    if (!with_callback) return static_cast<void>(producer.Send(record, {}));
    OrFail(producer.Send(
        record,
        [&](const StatusOr<Delivery>& delivery) {
          if (called == 0) go_on.wait(false);
          if (delivery.ok()) ++called;
        },
        {}, true));
  };
  for (int i = 0; i < 16; ++i) send();
  CHECK(orders->appends() == 16);
  for (int i = 0; i < 5; ++i) send();
  CHECK(orders->appends() == 16);
  SECTION("until the callbacks have caught up") {}
  SECTION("for a millisecond, however long they take") {
    broker->manual_clock().Advance(absl::Milliseconds(1));
    broker->RunTimers();
    CHECK(orders->appends() == 17);
  }
  SECTION("until somebody waits") {
    send(/*with_callback=*/false);
    CHECK(orders->appends() == 17);
    CHECK(orders->log_end() == 22);
  }
  const Offset before = orders->log_end();
  go_on = true;
  go_on.notify_all();
  while (called < 21) std::this_thread::yield();
  CHECK(orders->appends() == 17);
  CHECK(orders->log_end() == std::max<Offset>(before, 21));
}

TEST_CASE("an executor that is dropped runs what waits in it", "[client][callbacks]") {
  auto executor = std::make_shared<ManualExecutor>();
  const std::weak_ptr<ManualExecutor> dropped = executor;
  int called = 0;
  {
    const auto broker = std::make_shared<FakeBroker>();
    broker->AddTopic("orders", 1);
    EmbeddedProducer producer(FakeContext(broker, {.executor = executor}), {});
    ProducerRecord record{.topic = "orders", .value = "v"};
    OrFail(producer.Send(record, [&](const StatusOr<Delivery>& d) { called += d.ok(); }, {}, true));
    producer.Send(record, {}).OnReady([&](const StatusOr<Delivery>& d) { called += d.ok(); });
  }
  CHECK(called == 1);
  executor.reset();
  CHECK(dropped.expired());
  CHECK(called == 2);
}

}  // namespace
}  // namespace millrace::client
