#include <atomic>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

#include "client/producer_fixture.h"
#include "record/codec.h"

namespace millrace::client {
namespace {

TEST_CASE("without linger a send is an append, answered on the executor", "[client][producer]") {
  ProducerFixture f;
  Outcomes outcomes;
  OrFail(f.Send({.topic = "orders", .key = "k", .value = "v"}, outcomes.Callback()));
  CHECK(f.Values() == std::vector<std::string>{"v"});
  CHECK(outcomes.size() == 0);
  CHECK(f.executor->RunAll() == 1);
  REQUIRE(outcomes.size() == 1);
  const Delivery delivery = OrFail(outcomes.at(0));
  CHECK(delivery.partition == TopicPartition{"orders", 0});
  CHECK(delivery.offset == 0);
  CHECK(delivery.timestamp == absl::FromUnixMillis(1'700'000'000'000));
  CHECK(f.producer->buffered_records() == 0);
  CHECK(f.producer->buffered_bytes() == 0);
}

TEST_CASE("records that come while a batch is appended share the next one, in order",
          "[client][producer]") {
  ProducerFixture f;
  Outcomes outcomes;
  bool first = true;
  f.orders[0]->on_append = [&] {
    if (!std::exchange(first, false)) return;
    for (const char* value : {"2", "3", "4"})
      OrFail(f.Send({.topic = "orders", .value = value}, outcomes.Callback()));
  };
  OrFail(f.Send({.topic = "orders", .value = "1"}, outcomes.Callback()));
  CHECK(f.Values() == std::vector<std::string>{"1", "2", "3", "4"});
  CHECK(f.orders[0]->appends() == 2);
  f.executor->RunAll();
  REQUIRE(outcomes.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(OrFail(outcomes.at(i)).offset == static_cast<Offset>(i));
}

TEST_CASE("with linger a batch is closed by size, by time and by Flush", "[client][producer]") {
  ProducerFixture f({.linger = absl::Milliseconds(5), .batch_bytes = 1000});
  Outcomes outcomes;
  const auto send = [&](std::string value) {
    OrFail(f.Send({.topic = "orders", .value = std::move(value)}, outcomes.Callback()));
  };
  send("a");
  CHECK(f.orders[0]->appends() == 0);
  SECTION("by time") {
    f.broker->manual_clock().Advance(absl::Milliseconds(4));
    f.broker->RunTimers();
    CHECK(f.orders[0]->appends() == 0);
    send("b");
    f.broker->manual_clock().Advance(absl::Milliseconds(1));
    f.broker->RunTimers();
    CHECK(f.orders[0]->appends() == 1);
    CHECK(f.Values() == std::vector<std::string>{"a", "b"});
    SECTION("and the next batch has its own time") {
      send("c");
      f.broker->RunTimers();
      CHECK(f.orders[0]->appends() == 1);
      f.broker->manual_clock().Advance(absl::Milliseconds(5));
      f.broker->RunTimers();
      CHECK(f.orders[0]->appends() == 2);
    }
  }
  SECTION("by size") {
    send(std::string(600, 'b'));
    CHECK(f.orders[0]->appends() == 0);
    send(std::string(600, 'c'));
    CHECK(f.orders[0]->appends() == 1);
    send(std::string(600, 'd'));
    CHECK(f.orders[0]->appends() == 2);
    f.broker->manual_clock().Advance(absl::Milliseconds(5));
    f.broker->RunTimers();
    CHECK(f.orders[0]->appends() == 3);
    CHECK(f.Values().size() == 4);
  }
  SECTION("by Flush") {
    OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
    CHECK(f.orders[0]->appends() == 1);
  }
  SECTION("by Close, and then no more is taken") {
    OrFail(f.producer->Close(absl::Seconds(1)));
    CHECK(f.Values() == std::vector<std::string>{"a"});
    const Status status = f.Send({.topic = "orders", .value = "x"}, outcomes.Callback());
    CHECK(ErrorIdOf(status) == ErrorId::kClosed);
    OrFail(f.producer->Close(absl::Seconds(1)));
  }
  f.executor->RunAll();
}

TEST_CASE("without a delivery timeout a batch lingers no longer", "[client][producer]") {
  ProducerFixture f(
      {.linger = absl::Milliseconds(5), .delivery_timeout = absl::InfiniteDuration()});
  const Future<Delivery> future = f.Send({.topic = "orders", .value = "v"});
  CHECK(f.orders[0]->appends() == 0);
  f.broker->manual_clock().Advance(absl::Milliseconds(5));
  f.broker->RunTimers();
  CHECK(f.orders[0]->appends() == 1);
  CHECK(future.ready());
}

TEST_CASE("a key goes to Java's partition, a null key stays until its batch is closed",
          "[client][producer]") {
  ProducerFixture f({.linger = absl::Milliseconds(5)}, 7);
  f.Send({.topic = "orders", .key = "foobar", .value = "keyed"}).OnReady([](const auto&) {});
  for (int i = 0; i < 10; ++i) f.Send({.topic = "orders", .value = "loose"}).OnReady([](auto&) {});
  OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
  const auto keyed = static_cast<size_t>((-790332482 & 0x7fffffff) % 7);
  CHECK(f.Values(keyed).front() == "keyed");
  std::set<size_t> used;
  for (size_t i = 0; i < 7; ++i)
    if (std::ranges::count(f.Values(i), "loose") > 0) used.insert(i);
  CHECK(used.size() == 1);
  for (int round = 0; round < 20; ++round) {
    f.Send({.topic = "orders", .value = "loose"}).OnReady([](auto&) {});
    OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
  }
  for (size_t i = 0; i < 7; ++i)
    if (std::ranges::count(f.Values(i), "loose") > 0) used.insert(i);
  CHECK(used.size() > 3);
}

TEST_CASE("Get syncs on the caller's thread when it waits without a bound", "[client][producer]") {
  ProducerFixture f;
  f.orders[0]->Hold(true);
  const Future<Delivery> future = f.Send({.topic = "orders", .value = "v"});
  CHECK_FALSE(future.ready());
  CHECK(OrFail(future.Get()).offset == 0);
  CHECK(f.orders[0]->syncs() == 1);
  CHECK(f.producer->buffered_records() == 0);
}

TEST_CASE("Get ends with its deadline or its stop token, the send goes on", "[client][producer]") {
  ProducerFixture f;
  f.orders[0]->Hold(true);
  const Future<Delivery> future = f.Send({.topic = "orders", .value = "v"});
  const auto late = future.Get(absl::ZeroDuration());
  CHECK(absl::IsDeadlineExceeded(late.status()));
  CHECK(DetailOf(late.status())->persistence == Persistence::kPossiblyPersisted);
  std::stop_source stop;
  stop.request_stop();
  CHECK(absl::IsCancelled(future.Get(absl::Hours(1), stop.get_token()).status()));
  f.orders[0]->Answer();
  CHECK(future.ready());
  CHECK(OrFail(future.Get(absl::ZeroDuration())).offset == 0);
}

TEST_CASE("who may be stopped leaves the sync to others", "[client][producer]") {
  ProducerFixture f;
  f.orders[0]->Hold(true);
  const Future<Delivery> future = f.Send({.topic = "orders", .value = "v"});
  std::stop_source stop;
  std::thread stopper([&] { stop.request_stop(); });
  CHECK(absl::IsCancelled(future.Get(absl::InfiniteDuration(), stop.get_token()).status()));
  stopper.join();
  CHECK(absl::IsCancelled(f.producer->Flush(absl::InfiniteDuration(), stop.get_token())));
  CHECK(f.orders[0]->syncs() == 0);
  f.orders[0]->Answer();
}

TEST_CASE("an executor that takes no task costs no callback", "[client][producer]") {
  class Starved : public Executor {
   public:
    void Post(absl::AnyInvocable<void()>) override { throw std::bad_alloc(); }
  };
  class Ended : public Executor {
   public:
    void Post(absl::AnyInvocable<void()>) override { throw std::runtime_error("the loop ended"); }
  };
  std::shared_ptr<Executor> executor = std::make_shared<Starved>();
  if (GENERATE(false, true)) executor = std::make_shared<Ended>();
  ProducerFixture f({}, 1, {}, {.executor = executor});
  f.orders[0]->Hold(true);
  int called = 0;
  OrFail(f.Send({.topic = "orders", .value = "1"},
                [&](const StatusOr<Delivery>& d) { called += d.ok(); }));
  const Future<Delivery> future = f.Send({.topic = "orders", .value = "2"});
  future.OnReady([&](const StatusOr<Delivery>& d) { called += d.ok(); });
  CHECK(called == 0);
  f.orders[0]->Answer();
  f.orders[0]->Answer();
  CHECK(called == 2);
}

TEST_CASE("OnReady runs on the executor, or at once when the result is there",
          "[client][producer]") {
  ProducerFixture f;
  f.orders[0]->Hold(true);
  const Future<Delivery> future = f.Send({.topic = "orders", .value = "v"});
  int calls = 0;
  future.OnReady([&](const StatusOr<Delivery>& d) { calls += d.ok(); });
  f.orders[0]->Answer();
  CHECK(calls == 0);
  f.executor->RunAll();
  CHECK(calls == 1);
  future.OnReady([&](const StatusOr<Delivery>& d) { calls += d.ok(); });
  CHECK(calls == 2);
}

TEST_CASE("a record that is not answered in time is answered timed_out, once",
          "[client][producer]") {
  ProducerFixture f({.delivery_timeout = absl::Minutes(2)});
  Outcomes outcomes;
  f.orders[0]->Hold(true);
  OrFail(f.Send({.topic = "orders", .value = "v"}, outcomes.Callback()));
  f.broker->manual_clock().Advance(absl::Minutes(1));
  OrFail(f.Send({.topic = "orders", .value = "w"}, outcomes.Callback()));
  f.broker->manual_clock().Advance(absl::Minutes(1));
  f.broker->RunTimers();
  f.executor->RunAll();
  REQUIRE(outcomes.size() == 1);
  const Status status = outcomes.at(0).status();
  CHECK(ErrorIdOf(status) == ErrorId::kTimedOut);
  CHECK(DetailOf(status)->persistence == Persistence::kPossiblyPersisted);
  CHECK_THAT(std::string(status.message()),
             Catch::Contains("orders-0") && Catch::Contains("delivery_timeout"));
  f.orders[0]->Answer();  // too late for the first, in time for the second
  f.executor->RunAll();
  REQUIRE(outcomes.size() == 2);
  CHECK(OrFail(outcomes.at(1)).offset == 1);
  f.broker->manual_clock().Advance(absl::Minutes(5));
  f.broker->RunTimers();
  f.executor->RunAll();
  CHECK(outcomes.size() == 2);
  CHECK(f.broker->timers() == 0);  // an idle producer keeps no timer
  CHECK(f.producer->buffered_bytes() == 0);
}

TEST_CASE("a record that timed out before it was appended is not appended", "[client][producer]") {
  ProducerFixture f({.linger = absl::Minutes(1), .delivery_timeout = absl::Minutes(2)});
  Outcomes outcomes;
  // The thread that appends hangs; what comes meanwhile waits behind it.
  f.orders[0]->on_append = [&] {
    f.orders[0]->on_append = nullptr;
    OrFail(f.Send({.topic = "orders", .value = "behind"}, outcomes.Callback()));
    f.broker->manual_clock().Advance(absl::Minutes(3));
    f.broker->RunTimers();
  };
  OrFail(f.Send({.topic = "orders", .value = "first"}, outcomes.Callback()));
  OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
  f.executor->RunAll();
  CHECK(f.Values() == std::vector<std::string>{"first"});
  REQUIRE(outcomes.size() == 2);
  CHECK(DetailOf(outcomes.at(0).status())->persistence == Persistence::kPossiblyPersisted);
  CHECK(DetailOf(outcomes.at(1).status())->persistence == Persistence::kNotPersisted);
  OrFail(f.Send({.topic = "orders", .value = "third"}, outcomes.Callback()));
  OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
  CHECK(f.Values() == std::vector<std::string>{"first", "third"});
  f.executor->RunAll();
  CHECK(outcomes.size() == 3);
}

TEST_CASE("Close answers what is left, and what comes late is dropped", "[client][producer]") {
  ProducerFixture f;
  Outcomes outcomes;
  f.orders[0]->Hold(true);
  OrFail(f.Send({.topic = "orders", .value = "v"}, outcomes.Callback()));
  const Future<Delivery> future = f.Send({.topic = "orders", .value = "w"});
  CHECK(absl::IsDeadlineExceeded(f.producer->Close(absl::ZeroDuration())));
  f.executor->RunAll();
  REQUIRE(outcomes.size() == 1);
  CHECK(absl::IsAborted(outcomes.at(0).status()));
  CHECK(DetailOf(outcomes.at(0).status())->persistence == Persistence::kPossiblyPersisted);
  CHECK(absl::IsAborted(future.Get().status()));
  f.producer.reset();
  f.orders[0]->Answer();
  f.executor->RunAll();
  CHECK(outcomes.size() == 1);
}

TEST_CASE("an append that is refused is answered with its error", "[client][producer]") {
  ProducerFixture f;
  Outcomes outcomes;
  f.orders[0]->Refuse(MakeError(ErrorId::kNoSpace, "the disk is full"));
  OrFail(f.Send({.topic = "orders", .value = "v"}, outcomes.Callback()));
  f.orders[0]->Refuse(absl::OkStatus());
  OrFail(f.Send({.topic = "orders", .value = "w"}, outcomes.Callback()));
  f.executor->RunAll();
  CHECK(ErrorIdOf(outcomes.at(0).status()) == ErrorId::kNoSpace);
  CHECK(OrFail(outcomes.at(1)).offset == 0);
  CHECK(f.context->metrics->records_failed == 1);
  CHECK(f.context->metrics->records_delivered == 1);
}

TEST_CASE("a callback that throws hurts nobody else", "[client][producer]") {
  ProducerFixture f({.linger = absl::Seconds(1)});
  Outcomes outcomes;
  OrFail(f.Send({.topic = "orders", .value = "v"},
                [](const StatusOr<Delivery>&) { throw std::runtime_error("bang"); }));
  OrFail(f.Send({.topic = "orders", .value = "w"}, outcomes.Callback()));
  OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
  f.executor->RunAll();
  CHECK(outcomes.size() == 1);
  CHECK(f.context->metrics->callbacks_threw == 1);
  CHECK(f.producer->buffered_bytes() == 0);
}

TEST_CASE("a producer may be destroyed in one of its callbacks", "[client][producer]") {
  ProducerFixture f({.linger = absl::Seconds(1)});
  Outcomes outcomes;
  OrFail(f.Send({.topic = "orders", .value = "v"},
                [&](const StatusOr<Delivery>&) { f.producer.reset(); }));
  OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
  OrFail(f.Send({.topic = "orders", .value = "lingers"}, outcomes.Callback()));
  f.executor->RunAll();
  CHECK(f.producer == nullptr);
  f.executor->RunAll();
  CHECK(outcomes.size() == 1);
  CHECK(f.Values() == std::vector<std::string>{"v", "lingers"});
}

TEST_CASE("SendAll appends one batch a partition and answers in order", "[client][producer]") {
  ProducerFixture f({}, 3);
  for (auto& partition : f.orders) partition->Hold(true);
  std::vector<ProducerRecord> records;
  for (int i = 0; i < 30; ++i)
    records.push_back({.topic = "orders", .partition = i % 3, .value = std::to_string(i)});
  records[7].partition = 9;
  const auto answers = f.producer->SendAll(records, {});
  REQUIRE(answers.size() == 30);
  for (int i = 0; i < 30; ++i) {
    if (i == 7) continue;
    const Delivery delivery = OrFail(answers[static_cast<size_t>(i)]);
    CHECK(delivery.partition.partition == i % 3);
    const Offset before = i % 3 == 1 && i > 7 ? 1 : 0;  // the one that went nowhere
    CHECK(delivery.offset == i / 3 - before);
  }
  CHECK(ErrorIdOf(answers[7].status()) == ErrorId::kUnknownPartition);
  for (auto& partition : f.orders) {
    CHECK(partition->appends() == 1);
    CHECK(partition->syncs() == 1);
    INFO("the lane syncs the others meanwhile");
    CHECK(partition->last_options().caller_syncs == (partition == f.orders[0]));
  }
  CHECK(f.producer->buffered_bytes() == 0);
  CHECK(f.producer->buffered_records() == 0);
}

TEST_CASE("SendAll comes after what was sent before, and splits at batch_bytes",
          "[client][producer]") {
  ProducerFixture f({.linger = absl::Seconds(1), .batch_bytes = 1000});
  Outcomes outcomes;
  OrFail(f.Send({.topic = "orders", .value = "earlier"}, outcomes.Callback()));
  std::vector<ProducerRecord> records;
  for (char c = 'a'; c <= 'e'; ++c)
    records.push_back({.topic = "orders", .value = std::string(300, c)});
  for (const auto& answer : f.producer->SendAll(records, {})) OrFail(answer);
  const auto values = f.Values();
  REQUIRE(values.size() == 6);
  CHECK(values[0] == "earlier");
  CHECK(values[5] == std::string(300, 'e'));
  CHECK(f.orders[0]->appends() == 4);  // two records fit
  f.executor->RunAll();
  CHECK(outcomes.size() == 1);
}

TEST_CASE("SendAll into thousands of partitions finds each of them", "[client][producer]") {
  ProducerFixture f({}, 300);
  std::vector<ProducerRecord> records;
  for (int i = 0; i < 900; ++i)
    records.push_back({.topic = "orders", .partition = i % 300, .value = "x"});
  for (const auto& answer : f.producer->SendAll(records, {})) OrFail(answer);
  for (const auto& partition : f.orders) CHECK(partition->appends() == 1);
}

TEST_CASE("a topic is looked up again when metadata changes, and only then", "[client][producer]") {
  ProducerFixture f({}, 1);
  for (int i = 0; i < 10; ++i) OrFail(f.Send({.topic = "orders", .value = "v"}).Get());
  const int lookups = f.broker->lookups();
  for (int i = 0; i < 10; ++i) OrFail(f.Send({.topic = "orders", .value = "v"}).Get());
  CHECK(f.broker->lookups() == lookups);
  CHECK(ErrorIdOf(f.Send({.topic = "orders", .partition = 1}).Get().status()) ==
        ErrorId::kUnknownPartition);
  f.broker->GrowTopic("orders", 2);
  CHECK(OrFail(f.Send({.topic = "orders", .partition = 1}).Get()).partition.partition == 1);
  CHECK(f.Values().size() == 20);
}

TEST_CASE("a topic that was made anew gets its own records", "[client][producer]") {
  ProducerFixture f({.linger = absl::Seconds(1)}, 1);
  Outcomes outcomes;
  OrFail(f.Send({.topic = "orders", .value = "old"}, outcomes.Callback()));
  const auto old = f.orders;
  f.orders = f.broker->AddTopic("orders", 1);
  OrFail(f.Send({.topic = "orders", .value = "new"}, outcomes.Callback()));
  OrFail(f.producer->Flush(absl::InfiniteDuration(), {}));
  CHECK(f.Values() == std::vector<std::string>{"new"});
  CHECK(old[0]->appends() == 1);
  f.executor->RunAll();
  CHECK(outcomes.size() == 2);
}

TEST_CASE("a partitioner of one's own is asked, and checked", "[client][producer]") {
  struct Fixed : Partitioner {
    int32_t Pick(std::string_view topic, Bytes key, Bytes, int32_t count) override {
      CHECK(topic == "orders");
      CHECK(count == 3);
      if (key == "throw") throw std::runtime_error("bang");
      return key == "far" ? 3 : 2;
    }
  };
  ProducerFixture f({.partitioner = std::make_shared<Fixed>()}, 3);
  CHECK(OrFail(f.Send({.topic = "orders", .key = "k"}).Get()).partition.partition == 2);
  const Status far = f.Send({.topic = "orders", .key = "far"}).Get().status();
  CHECK(ErrorIdOf(far) == ErrorId::kUnknownPartition);
  CHECK_THAT(std::string(far.message()),
             Catch::Contains("partitioner") && Catch::Contains("0 to 2"));
  const Status threw = f.Send({.topic = "orders", .key = "throw"}).Get().status();
  CHECK(ErrorIdOf(threw) == ErrorId::kCallbackThrew);
  CHECK_THAT(std::string(threw.message()), Catch::Contains("bang"));
}

TEST_CASE("compression of the topic wins over the producer's", "[client][producer]") {
  ProducerFixture f({.compression = Compression::kLz4}, 1, {{"compression.type", "zstd"}});
  OrFail(f.Send({.topic = "orders", .value = std::string(1000, 'x')}).Get());
  const auto bytes = f.orders[0]->log_bytes();
  CHECK(OrFail(record::ParseHeader(bytes)).codec() == record::Codec::kZstd);
  CHECK(f.Values() == std::vector<std::string>{std::string(1000, 'x')});
}

TEST_CASE("with nobody to do it, waiting threads drive the broker and the callbacks",
          "[client][producer]") {
  const auto broker = std::make_shared<FakeBroker>(/*background_threads=*/0);
  const LetGoAtEnd end(broker);
  const auto partition = broker->AddTopic("orders", 1)[0];
  partition->Hold(true);
  const auto context = FakeContext(broker);
  EmbeddedProducer producer(context, {.linger = absl::Milliseconds(1)});
  Outcomes outcomes;
  ProducerRecord record{.topic = "orders", .value = "v"};
  OrFail(producer.Send(record, outcomes.Callback(), {}, true));
  CHECK(outcomes.size() == 0);
  OrFail(producer.Flush(absl::InfiniteDuration(), {}));
  CHECK(outcomes.size() == 1);
  OrFail(producer.Send(record, outcomes.Callback(), {}, true));
  const Future<Delivery> future = producer.Send(record, {});
  std::thread advance([&] {
    while (partition->appends() < 2) {
      broker->manual_clock().Advance(absl::Milliseconds(1));
      std::this_thread::yield();
    }
  });
  CHECK(OrFail(future.Get()).offset == 2);
  advance.join();
  CHECK(outcomes.size() == 2);
}

}  // namespace
}  // namespace millrace::client
