// Objects go in any order, on any thread, inside callbacks; and a forked child gets clear errors.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>

#include "client/fixture.h"

namespace millrace {
namespace {

TEST_CASE("destruction in any order", "[client][lifetime]") {
  const int order = GENERATE(0, 1, 2, 3, 4, 5);
  auto client = std::make_unique<Client>(OrFail(Open("memory:")));
  OrFail(client->admin().CreateTopic("t"));
  auto producer = std::make_unique<Producer>(OrFail(client->NewProducer()));
  auto consumer =
      std::make_unique<Consumer>(OrFail(client->NewConsumer({.group = "g", .topics = {"t"}})));
  std::atomic<int> answered{0};
  for (int i = 0; i < 10; ++i)
    OrFail(producer->Send({.topic = "t", .value = "v"},
                          [&](const StatusOr<Delivery>& d) { answered += d.ok(); }));
  size_t read = 0;
  while (read == 0) read += OrFail(consumer->Poll(absl::Seconds(10))).size();
  const std::array<std::function<void()>, 3> drops = {
      [&] { client.reset(); }, [&] { producer.reset(); }, [&] { consumer.reset(); }};
  constexpr int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const int which : kOrders[order]) drops[static_cast<size_t>(which)]();
  CHECK(answered == 10);  // accepted means called
}

TEST_CASE("the broker may go first", "[client][lifetime]") {
  std::optional<Broker> broker = OrFail(Broker::Open({}));
  Client client = broker->client();
  OrFail(client.admin().CreateTopic("t"));
  Producer producer =
      OrFail(client.NewProducer({.linger = absl::Hours(1), .delivery_timeout = absl::Hours(2)}));
  Consumer consumer = OrFail(client.NewConsumer({.group = "g", .topics = {"t"}}));
  const Future<Delivery> lingers = producer.Send({.topic = "t", .value = "v"});
  broker.reset();
  CHECK(OrFail(lingers.Get()).offset == 0);  // closing sends what lingers
  CHECK(ErrorIdOf(producer.Send({.topic = "t"}).Get().status()) == ErrorId::kClosed);
  CHECK(ErrorIdOf(consumer.Poll(absl::InfiniteDuration()).status()) == ErrorId::kClosed);
  OrFail(consumer.Close(absl::Seconds(1)));
}

TEST_CASE("the last reference may go in a callback", "[client][lifetime]") {
  std::atomic<bool> called{false};
  {
    auto client = std::make_shared<Client>(OrFail(Open("memory:")));
    OrFail(client->admin().CreateTopic("t"));
    auto producer = std::make_shared<Producer>(OrFail(client->NewProducer()));
    std::atomic<bool> may_go{false};
    OrFail(producer->Send({.topic = "t", .value = "v"},
                          [&called, &may_go, client, producer](const StatusOr<Delivery>&) mutable {
                            while (!may_go) std::this_thread::yield();
                            client.reset();
                            producer.reset();
                            called = true;
                          }));
    producer.reset();
    client.reset();
    may_go = true;
    while (!called) std::this_thread::yield();
  }
}

TEST_CASE("Close inside a callback is refused, and deadlocks nothing", "[client][lifetime]") {
  Broker broker = OrFail(Broker::Open({}));
  OrFail(broker.client().admin().CreateTopic("t"));
  Producer producer = OrFail(broker.client().NewProducer());
  std::atomic<int> id{-1};
  OrFail(producer.Send({.topic = "t", .value = "v"}, [&](const StatusOr<Delivery>&) {
    id = static_cast<int>(ErrorIdOf(producer.Close(absl::Seconds(1))));
  }));
  OrFail(producer.Flush());
  CHECK(id == static_cast<int>(ErrorId::kReentrant));
}

TEST_CASE("the broker may be closed in a callback", "[client][lifetime]") {
  Broker broker = OrFail(Broker::Open({}));
  OrFail(broker.client().admin().CreateTopic("t"));
  Producer producer = OrFail(broker.client().NewProducer());
  std::atomic<bool> closed{false};
  OrFail(producer.Send({.topic = "t", .value = "v"},
                       [&](const StatusOr<Delivery>&) { closed = broker.Close().ok(); }));
  while (!closed) std::this_thread::yield();
  CHECK(ErrorIdOf(producer.Send({.topic = "t"}).Get().status()) == ErrorId::kClosed);
}

TEST_CASE("a callback may destroy its producer while the broker waits for both",
          "[client][lifetime]") {
  for (int i = 0; i < 10; ++i) {
    Broker broker = OrFail(Broker::Open({}));
    OrFail(broker.client().admin().CreateTopic("t"));
    auto producer = std::make_unique<Producer>(
        OrFail(broker.client().NewProducer({.linger = absl::Minutes(1)})));
    std::atomic<bool> answered{false};
    OrFail(producer->Send({.topic = "t", .value = "v"}, [&](const StatusOr<Delivery>& d) {
      producer.reset();
      answered = d.ok();
    }));
    OrFail(broker.Close());
    CHECK(answered);
  }
}

TEST_CASE("a callback may send, and what it sends is answered", "[client][lifetime]") {
  Client client = OrFail(Open("memory:"));
  OrFail(client.admin().CreateTopic("t"));
  Producer producer = OrFail(client.NewProducer());
  std::atomic<int> answered{0};
  std::function<void(int)> chain = [&](int left) {
    OrFail(producer.Send({.topic = "t", .value = "v"}, [&, left](const StatusOr<Delivery>& d) {
      OrFail(d.status());
      ++answered;
      if (left > 0) chain(left - 1);
    }));
  };
  chain(50);
  while (answered < 51) OrFail(producer.Flush());
}

// The child only tries the calls and tells by its exit code how many did not say `forked`.
TEST_CASE("after a fork the child gets errors, and its destructors do nothing",
          "[client][lifetime]") {
  auto client = std::make_unique<Client>(OrFail(Open("memory:")));
  OrFail(client->admin().CreateTopic("t"));
  auto producer = std::make_unique<Producer>(OrFail(client->NewProducer()));
  auto consumer =
      std::make_unique<Consumer>(OrFail(client->NewConsumer({.group = "g", .topics = {"t"}})));
  OrFail(producer->Send({.topic = "t", .value = "v"}).Get());
  Producer lingering = OrFail(client->NewProducer({.linger = absl::Minutes(1)}));
  const Future<Delivery> sent_before = lingering.Send({.topic = "t", .value = "v"});
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(20);  // ends it where a call waits for ever
    int wrong = 0;
    const auto expect = [&](const Status& status) {
      wrong += ErrorIdOf(status) != ErrorId::kForked;
    };
    expect(sent_before.Get().status());
    expect(producer->Send({.topic = "t", .value = "v"}).Get().status());
    expect(producer->Flush());
    expect(producer->Close(absl::Seconds(1)));
    expect(consumer->Poll(absl::InfiniteDuration()).status());
    expect(consumer->Commit());
    expect(consumer->Close(absl::Seconds(1)));
    expect(client->admin().CreateTopic("u"));
    expect(client->NewProducer().status());
    consumer.reset();
    producer.reset();
    client.reset();
    ::_exit(wrong);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  OrFail(producer->Send({.topic = "t", .value = "v"}).Get());  // the parent goes on
  OrFail(lingering.Flush());
  OrFail(sent_before.Get());
}

TEST_CASE("moved-to objects close what they held", "[client][lifetime]") {
  Client client = OrFail(Open("memory:"));
  OrFail(client.admin().CreateTopic("t", {.partitions = 2}));
  Consumer consumer = OrFail(client.NewConsumer({.group = "g", .topics = {"t"}}));
  while (consumer.assignment().empty()) OrFail(consumer.Poll(absl::Milliseconds(1)));
  consumer = OrFail(client.NewConsumer({.group = "g", .topics = {"t"}}));
  while (consumer.assignment().size() < 2) OrFail(consumer.Poll(absl::Milliseconds(1)));
  CHECK(OrFail(client.admin().DescribeGroup("g")).members.size() == 1);
  Producer producer = OrFail(client.NewProducer());
  producer = OrFail(client.NewProducer());
  OrFail(producer.Send({.topic = "t"}).Get());
  Broker broker = OrFail(Broker::Open({}));
  Client old = broker.client();
  broker = OrFail(Broker::Open({}));
  CHECK(ErrorIdOf(old.admin().CreateTopic("x")) == ErrorId::kClosed);
  OrFail(broker.client().admin().CreateTopic("x"));
}

}  // namespace
}  // namespace millrace
