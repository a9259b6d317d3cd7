#include <poll.h>

#include <atomic>
#include <limits>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "client/fixture.h"

namespace millrace {
namespace {

double Metric(const Client& client, std::string_view name) {
  double value = -1;
  client.VisitMetrics([&](const MetricPoint& point) {
    if (point.name == name) value = point.value;
  });
  return value;
}

TEST_CASE("max_poll_records is a hard bound, and nothing is fetched twice", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 1000));
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 300});
  CHECK(Next(consumer) == Numbers(0, 300));
  const double fetched = Metric(m.client(), "millrace_bytes_fetched_total");
  CHECK(fetched > 0);
  CHECK(Next(consumer) == Numbers(300, 600));
  CHECK(Next(consumer) == Numbers(600, 900));
  CHECK(Next(consumer) == Numbers(900, 1000));
  CHECK(Next(consumer).empty());
  CHECK(Metric(m.client(), "millrace_bytes_fetched_total") == fetched);
}

TEST_CASE("max_poll_bytes bounds a batch, but one record always comes", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, {std::string(400, 'a'), std::string(400, 'b'), std::string(5000, 'c'), "d"});
  Consumer consumer = m.Reader("t", 0, {.max_poll_bytes = 1000});
  CHECK(Next(consumer).size() == 2);
  CHECK(Next(consumer) == std::vector<std::string>{std::string(5000, 'c')});
  CHECK(Next(consumer) == std::vector<std::string>{"d"});
}

TEST_CASE("partitions are served in turn", "[client][consumer]") {
  Embedded m;
  m.Topic("t", 3);
  for (int p = 0; p < 3; ++p) m.Produce("t", p, Numbers(0, 100));
  Consumer consumer = OrFail(m.client().NewConsumer({.max_poll_records = 50}));
  OrFail(consumer.Assign({{"t", 0}, {"t", 1}, {"t", 2}}));
  std::vector<int32_t> order;
  for (int i = 0; i < 6; ++i) {
    const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
    REQUIRE(batch.slices().size() == 1);
    order.push_back(batch.slices().front().partition.partition);
  }
  CHECK(order == std::vector<int32_t>{0, 1, 2, 0, 1, 2});
  CHECK(Next(consumer).empty());
}

TEST_CASE("one Poll returns a slice of each partition", "[client][consumer]") {
  Embedded m;
  m.Topic("t", 3);
  for (int p = 0; p < 3; ++p) m.Produce("t", p, Numbers(0, 10));
  Consumer consumer = OrFail(m.client().NewConsumer());
  OrFail(consumer.Assign({{"t", 0}, {"t", 1}, {"t", 2}}));
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  CHECK(batch.size() == 30);
  REQUIRE(batch.slices().size() == 3);
  for (const auto& slice : batch.slices()) {
    Offset next = 0;
    for (const RecordView& record : slice) {
      CHECK(record.partition() == slice.partition.partition);
      CHECK(record.offset() == next++);
    }
    CHECK(slice.next_offset == 10);
  }
}

TEST_CASE("an assignment moves without losing the positions that stay", "[client][consumer]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 0, Numbers(0, 4));
  m.Produce("t", 1, Numbers(10, 12));
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 2});
  CHECK(Next(consumer) == Numbers(0, 2));
  OrFail(consumer.Assign({{"t", 0}, {"t", 1}}));
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"t", 0}, {"t", 1}});
  CHECK(consumer.position({"t", 0}) == 2);
  CHECK_FALSE(consumer.position({"t", 1}).has_value());
  CHECK(Next(consumer) == Numbers(2, 4));
  CHECK(Next(consumer) == Numbers(10, 12));
  OrFail(consumer.Assign({}));
  m.Produce("t", 0, {"x"});
  CHECK(Next(consumer).empty());
}

TEST_CASE("Seek moves to an offset, the ends and a time", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  for (int i = 0; i < 5; ++i) {
    m.Produce("t", 0, {std::to_string(i)});
    m.clock->Advance(absl::Seconds(10));
  }
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 1});
  OrFail(consumer.Seek({"t", 0}, 3));
  CHECK(consumer.position({"t", 0}) == 3);
  CHECK(Next(consumer) == Numbers(3, 4));
  OrFail(consumer.SeekToBeginning());
  CHECK(Next(consumer) == Numbers(0, 1));
  OrFail(consumer.SeekToEnd({{"t", 0}}));
  CHECK(Next(consumer).empty());
  OrFail(consumer.SeekToTime(m.clock->Now() - absl::Seconds(35)));
  CHECK(Next(consumer) == Numbers(2, 3));
  OrFail(consumer.SeekToTime(m.clock->Now() + absl::Hours(1)));
  CHECK(consumer.position({"t", 0}) == 5);

  SECTION("offsets that do not exist are refused, and the position stays") {
    for (const Offset bad : {Offset{-1}, Offset{6}, INT64_MAX}) {
      const Status status = consumer.Seek({"t", 0}, bad);
      CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
      CHECK_THAT(std::string(status.message()),
                 Catch::Contains("t-0") && Catch::Contains("[0, 5]"));
    }
    CHECK(consumer.position({"t", 0}) == 5);
  }
  SECTION("a partition that is not assigned is refused") {
    const Status status = consumer.Seek({"t", 1}, 0);
    CHECK(ErrorIdOf(status) == ErrorId::kNotAssigned);
    CHECK_THAT(std::string(status.message()), Catch::Contains("t-1"));
    CHECK(ErrorIdOf(consumer.Pause({{"u", 0}})) == ErrorId::kNotAssigned);
  }
}

TEST_CASE("paused partitions rest, with what was fetched", "[client][consumer]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 0, Numbers(0, 4));
  m.Produce("t", 1, Numbers(10, 14));
  Consumer consumer = OrFail(m.client().NewConsumer({.max_poll_records = 2}));
  OrFail(consumer.Assign({{"t", 0}, {"t", 1}}));
  CHECK(Next(consumer) == Numbers(0, 2));
  OrFail(consumer.Pause({{"t", 0}}));
  CHECK(Next(consumer) == Numbers(10, 12));
  CHECK(Next(consumer) == Numbers(12, 14));
  CHECK(Next(consumer).empty());
  OrFail(consumer.Resume({{"t", 0}}));
  CHECK(Next(consumer) == Numbers(2, 4));
}

TEST_CASE("offsets and lags are told", "[client][consumer]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 0, Numbers(0, 3));
  m.clock->Advance(absl::Seconds(10));
  m.Produce("t", 0, Numbers(3, 5));
  m.clock->Advance(absl::Seconds(10));
  const TopicPartition p0{"t", 0};
  const TopicPartition p1{"t", 1};
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 3});
  CHECK(OrFail(consumer.Lag()) == std::map<TopicPartition, int64_t>{{p0, 5}});
  CHECK(OrFail(consumer.LagTime()).at(p0) == absl::Seconds(20));
  CHECK(Next(consumer).size() == 3);
  CHECK(OrFail(consumer.Lag()).at(p0) == 2);
  CHECK(OrFail(consumer.LagTime()).at(p0) == absl::Seconds(10));
  CHECK(Next(consumer).size() == 2);
  CHECK(OrFail(consumer.Lag()).at(p0) == 0);
  CHECK(OrFail(consumer.LagTime()).at(p0) == absl::ZeroDuration());

  CHECK(OrFail(consumer.EndOffsets({p0, p1})) == OffsetMap{{p0, 5}, {p1, 0}});
  OrFail(m.admin().DeleteRecords({{p0, 2}}));
  CHECK(OrFail(consumer.BeginningOffsets({p0, p1})) == OffsetMap{{p0, 2}, {p1, 0}});
  CHECK(ErrorIdOf(consumer.EndOffsets({{"t", 2}}).status()) == ErrorId::kUnknownPartition);
  CHECK(ErrorIdOf(consumer.EndOffsets({{"u", 0}}).status()) == ErrorId::kUnknownTopic);
  const auto times = OrFail(consumer.OffsetsForTimes(
      {{p0, m.clock->Now() - absl::Seconds(15)}, {p1, absl::UnixEpoch()}}));
  REQUIRE(times.size() == 1);
  CHECK(times.at(p0).offset == 3);
}

TEST_CASE("where reading begins is a policy", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 3));
  SECTION("earliest") {
    Consumer consumer = m.Reader("t");
    CHECK(Next(consumer) == Numbers(0, 3));
  }
  SECTION("latest") {
    Consumer consumer = m.Reader("t", 0, {.start_from = StartFrom::kLatest});
    CHECK(Next(consumer).empty());
    m.Produce("t", 0, {"new"});
    CHECK(Next(consumer) == std::vector<std::string>{"new"});
  }
  SECTION("fail, once, until Seek says where") {
    Consumer consumer = m.Reader("t", 0, {.start_from = StartFrom::kFail});
    const Status status = consumer.Poll(absl::ZeroDuration()).status();
    CHECK(ErrorIdOf(status) == ErrorId::kNoOffset);
    CHECK_THAT(std::string(status.message()), Catch::Contains("t-0"));
    CHECK(DetailOf(status)->topic == "t");
    CHECK(Next(consumer).empty());
    OrFail(consumer.Seek({"t", 0}, 1));
    CHECK(Next(consumer) == Numbers(1, 3));
  }
}

TEST_CASE("a reader that retention overtook goes on by its policy", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 5));
  const auto policy = GENERATE(StartFrom::kEarliest, StartFrom::kLatest, StartFrom::kFail);
  Consumer consumer = m.Reader("t", 0, {.start_from = policy, .max_poll_records = 1});
  OrFail(consumer.Seek({"t", 0}, 0));
  OrFail(m.admin().DeleteRecords({{{"t", 0}, 3}}));
  if (policy == StartFrom::kFail) {
    const Status status = consumer.Poll(absl::ZeroDuration()).status();
    CHECK(ErrorIdOf(status) == ErrorId::kOffsetOutOfRange);
    CHECK(Next(consumer).empty());
    OrFail(consumer.SeekToBeginning());
    CHECK(Next(consumer) == Numbers(3, 4));
  } else {
    const bool earliest = policy == StartFrom::kEarliest;
    CHECK(Next(consumer) == (earliest ? Numbers(3, 4) : std::vector<std::string>{}));
    CHECK(consumer.position({"t", 0}) == (earliest ? 4 : 5));
    CHECK(Metric(m.client(), "millrace_positions_reset_total") == 1);
    CHECK(m.log->Has(LogLevel::kWarning, "position 0 is not in the log any more"));
  }
}

TEST_CASE("one partition's failure holds up no other", "[client][consumer]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 1, Numbers(0, 3));
  Consumer consumer = OrFail(m.client().NewConsumer({.start_from = StartFrom::kFail}));
  OrFail(consumer.Assign({{"t", 0}, {"t", 1}}));
  OrFail(consumer.Seek({"t", 1}, 0));
  CHECK(ErrorIdOf(consumer.Poll(absl::ZeroDuration()).status()) == ErrorId::kNoOffset);
  CHECK(Next(consumer) == Numbers(0, 3));
}

TEST_CASE("Poll waits for a record and is woken by it", "[client][consumer]") {
  Embedded m({.background_threads = 3});
  m.Topic("t");
  Consumer consumer = m.Reader("t");
  std::thread producer([&] { m.Produce("t", 0, {"v"}); });
  CHECK(Values(OrFail(consumer.Poll(absl::InfiniteDuration()))) == std::vector<std::string>{"v"});
  producer.join();
}

TEST_CASE("a wait ends by time, by stop, by Wake and by the broker's end", "[client][consumer]") {
  Embedded m({.background_threads = 3});
  m.Topic("t");
  Consumer consumer = m.Reader("t");
  std::atomic<bool> done{false};
  std::thread other;
  SECTION("by time, with an empty batch") {
    other = std::thread([&] {
      while (!done) {
        m.clock->Advance(absl::Seconds(1));
        std::this_thread::yield();
      }
    });
    CHECK(OrFail(consumer.Poll(absl::Seconds(5))).empty());
  }
  SECTION("by stop") {
    std::stop_source stop;
    other = std::thread([&] { stop.request_stop(); });
    CHECK(absl::IsCancelled(consumer.Poll(absl::InfiniteDuration(), stop.get_token()).status()));
    CHECK(absl::IsCancelled(consumer.Poll(absl::ZeroDuration(), stop.get_token()).status()));
  }
  SECTION("by Wake, once") {
    other = std::thread([&] { consumer.Wake(); });
    CHECK(absl::IsCancelled(consumer.Poll(absl::InfiniteDuration()).status()));
    CHECK(OrFail(consumer.Poll(absl::ZeroDuration())).empty());
  }
  SECTION("by a Wake that came before") {
    consumer.Wake();
    CHECK(absl::IsCancelled(consumer.Poll(absl::InfiniteDuration()).status()));
  }
  SECTION("by the broker's end") {
    other = std::thread([&] { OrFail(m.broker->Close()); });
    const Status status = consumer.Poll(absl::InfiniteDuration()).status();
    CHECK(ErrorIdOf(status) == ErrorId::kClosed);
  }
  done = true;
  if (other.joinable()) other.join();
}

TEST_CASE("the event descriptor is readable while Poll would return something",
          "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 2});
  const auto readable = [&] {
    pollfd fd{.fd = consumer.event_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&fd, 1, 0) == 1;
  };
  CHECK(readable());  // not polled yet
  CHECK(Next(consumer).empty());
  CHECK_FALSE(readable());
  m.Produce("t", 0, Numbers(0, 4));
  CHECK(readable());
  CHECK(Next(consumer).size() == 2);
  CHECK(readable());
  CHECK(Next(consumer).size() == 2);
  CHECK(Next(consumer).empty());
  CHECK_FALSE(readable());
  consumer.Wake();
  CHECK(readable());
}

TEST_CASE("the event descriptor stays readable where a Poll ended early", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, {"a"});
  Consumer consumer = OrFail(m.client().NewConsumer({.group = "g", .topics = {"t"}}));
  const auto readable = [&] {
    pollfd fd{.fd = consumer.event_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&fd, 1, 0) == 1;
  };
  CHECK(readable());
  consumer.Wake();  // before it has joined its group
  CHECK(absl::IsCancelled(consumer.Poll(absl::ZeroDuration()).status()));
  CHECK(readable());
  CHECK(Next(consumer) == std::vector<std::string>{"a"});
}

TEST_CASE("the event descriptor tells of records that Resume, Seek or Assign brings within reach",
          "[client][consumer]") {
  Embedded m;
  m.Topic("t", 2);
  m.Produce("t", 0, Numbers(0, 4));
  m.Produce("t", 1, Numbers(0, 4));
  const TopicPartition tp{"t", 0};
  Consumer consumer = m.Reader("t", 0);
  const auto readable = [&] {
    pollfd fd{.fd = consumer.event_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&fd, 1, 0) == 1;
  };
  CHECK(readable());
  OrFail(consumer.Pause({tp}));
  CHECK(Next(consumer).empty());
  CHECK_FALSE(readable());
  OrFail(consumer.Resume({tp}));
  CHECK(readable());
  CHECK(Next(consumer).size() == 4);
  CHECK_FALSE(readable());

  const auto found = [&](const Status& moved) {
    OrFail(moved);
    const bool told = readable();
    return !Next(consumer).empty() && told && !readable();
  };
  CHECK(found(consumer.Seek(tp, 2)));
  CHECK(found(consumer.SeekToBeginning()));
  CHECK(found(consumer.SeekToTime(absl::InfinitePast())));
  CHECK(found(consumer.Assign({{"t", 1}})));
}

TEST_CASE("buffers held by batches are bounded", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  for (int i = 0; i < 20; ++i) m.Produce("t", 0, {std::string(10'000, 'x')});
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 1, .max_pinned_bytes = 64 << 10});
  std::vector<RecordBatch> held;
  Status status;
  for (;;) {
    StatusOr<RecordBatch> batch = consumer.Poll(absl::ZeroDuration());
    if (!batch.ok()) {
      status = batch.status();
      break;
    }
    if (batch->empty()) break;
    held.push_back(*std::move(batch));
    // What is left in the buffer counts with it: drop it by seeking on.
    OrFail(consumer.Seek({"t", 0}, static_cast<Offset>(held.size())));
  }
  CHECK(ErrorIdOf(status) == ErrorId::kPinnedTooMuch);
  CHECK_THAT(std::string(status.message()), Catch::Contains("max_pinned_bytes is 65536"));
  const auto next = static_cast<Offset>(held.size());
  held.clear();
  CHECK(OrFail(consumer.Poll(absl::ZeroDuration())).begin()->offset() == next);
}

TEST_CASE("bounds as large as can be are none", "[client][consumer]") {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 20));
  Consumer consumer = m.Reader(
      "t", 0, {.max_poll_records = 10, .max_poll_bytes = kMost, .max_pinned_bytes = kMost});
  CHECK(Next(consumer) == Numbers(0, 10));
  CHECK(Next(consumer) == Numbers(10, 20));
}

TEST_CASE("pins are bounded as batches are", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, std::vector<std::string>(2000, std::string(100, 'x')));
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 10, .max_pinned_bytes = 64 << 10});
  std::vector<PinnedRecord> held;
  StatusOr<RecordBatch> batch = RecordBatch();
  do {
    batch = RecordBatch();
    batch = consumer.Poll(absl::ZeroDuration());
    if (batch.ok())
      for (const RecordView& record : *batch) held.push_back(batch->Pin(record));
  } while (batch.ok() && !batch->empty());
  CHECK(ErrorIdOf(batch.status()) == ErrorId::kPinnedTooMuch);
  CHECK(held.size() * 100 < 64 << 10);
  held.clear();
  CHECK(OrFail(consumer.Poll(absl::ZeroDuration())).size() == 10);
}

TEST_CASE("a second thread in a consumer is refused", "[client][consumer]") {
  Embedded m({.background_threads = 3});
  m.Topic("t");
  Consumer consumer = m.Reader("t");
  std::atomic<bool> polled{false};
  Status answer;
  std::thread poller([&] {
    polled = true;
    // Until then it may be this thread that is refused.
    do answer = consumer.Poll(absl::InfiniteDuration()).status();
    while (ErrorIdOf(answer) == ErrorId::kConcurrentUse);
  });
  Status status;
  while (!polled) std::this_thread::yield();
  // Once the poller is inside, every other call is refused.
  do status = consumer.SeekToBeginning();
  while (status.ok());
  CHECK(ErrorIdOf(status) == ErrorId::kConcurrentUse);
  CHECK(consumer.assignment().size() == 1);  // these are allowed
  // So is this; it answers once the poller has found the beginning.
  while (!consumer.position({"t", 0}).has_value()) std::this_thread::yield();
  consumer.Wake();
  poller.join();
  CHECK(absl::IsCancelled(answer));
}

TEST_CASE("misuse has an error of its own", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  Consumer consumer = OrFail(m.client().NewConsumer());
  CHECK(ErrorIdOf(consumer.Poll(absl::ZeroDuration()).status()) == ErrorId::kNotAssigned);
  CHECK(ErrorIdOf(consumer.Subscribe({"t"})) == ErrorId::kInvalidGroup);
  CHECK(ErrorIdOf(consumer.Commit()) == ErrorId::kInvalidGroup);
  CHECK(ErrorIdOf(consumer.CommitAsync().Get().status()) == ErrorId::kInvalidGroup);
  CHECK(ErrorIdOf(consumer.Committed({{"t", 0}}).status()) == ErrorId::kInvalidGroup);
  CHECK(ErrorIdOf(consumer.Assign({{"t", 1}})) == ErrorId::kUnknownPartition);
  CHECK(ErrorIdOf(consumer.Assign({{"t", -1}})) == ErrorId::kUnknownPartition);
  CHECK(ErrorIdOf(consumer.Assign({{"none", 0}})) == ErrorId::kUnknownTopic);
  OrFail(consumer.Close(absl::Seconds(1)));
  OrFail(consumer.Close(absl::Seconds(1)));
  CHECK(ErrorIdOf(consumer.Poll(absl::ZeroDuration()).status()) == ErrorId::kClosed);
  Consumer moved = std::move(consumer);
  CHECK(ErrorIdOf(consumer.Poll(absl::ZeroDuration()).status()) == ErrorId::kInvalidArgument);
}

TEST_CASE("a topic that is deleted under a reader is told once", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, Numbers(0, 3));
  Consumer consumer = m.Reader("t");
  CHECK(Next(consumer).size() == 3);
  OrFail(m.admin().DeleteTopic("t"));
  SECTION("as an error") {
    const Status status = consumer.Poll(absl::ZeroDuration()).status();
    CHECK(ErrorIdOf(status) == ErrorId::kUnknownTopic);
    CHECK(Next(consumer).empty());
    m.Topic("t");
    m.Produce("t", 0, {"again"});
    if (GENERATE(false, true))
      OrFail(consumer.Resume({{"t", 0}}));
    else
      OrFail(consumer.Assign({{"t", 0}}));
    CHECK(Next(consumer) == std::vector<std::string>{"again"});
  }
  SECTION("or not at all, where it was made again before") {
    m.Topic("t");
    m.Produce("t", 0, {"new"});
    std::vector<std::string> read;
    for (int i = 0; i < 3; ++i)
      for (const auto& value : Next(consumer)) read.push_back(value);
    CHECK(read == std::vector<std::string>{"new"});
  }
}

TEST_CASE("whatever the bounds, every record comes once and in order", "[client][consumer]") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  Embedded m;
  m.Topic("t", 4);
  std::map<int32_t, std::vector<std::string>> wrote;
  for (int i = 0; i < 60; ++i) {
    const auto p = static_cast<int32_t>(random() % 4);
    std::vector<std::string> values;
    for (size_t n = random() % 20 + 1; n > 0; --n)
      values.push_back(fmt::format("{}-{}{}", i, n, std::string(random() % 300, 'x')));
    Producer producer =
        OrFail(m.client().NewProducer({.batch_bytes = 100 + random() % 4000,
                                       .compression = static_cast<Compression>(random() % 5)}));
    std::vector<ProducerRecord> records;
    for (const auto& value : values)
      records.push_back({.topic = "t", .partition = p, .value = value});
    for (const auto& answer : producer.SendAll(records)) OrFail(answer);
    wrote[p].insert(wrote[p].end(), values.begin(), values.end());
  }
  Consumer consumer = OrFail(m.client().NewConsumer(
      {.max_poll_records = 1 + random() % 50, .max_poll_bytes = 1 + random() % 5000}));
  OrFail(consumer.Assign({{"t", 0}, {"t", 1}, {"t", 2}, {"t", 3}}));
  std::map<int32_t, std::vector<std::string>> read;
  for (;;) {
    const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
    if (batch.empty()) break;
    for (const RecordView& record : batch) {
      REQUIRE(record.offset() == static_cast<Offset>(read[record.partition()].size()));
      read[record.partition()].emplace_back(record.value().str());
    }
  }
  CHECK(read == wrote);
}

TEST_CASE("a batch that is held for long is logged, now and then", "[client][consumer]") {
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, {"a", "b", "c"});
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 1});
  const auto lines = [&] { return m.log->size(); };
  std::optional<RecordBatch> held = OrFail(consumer.Poll(absl::ZeroDuration()));
  m.clock->Advance(absl::Seconds(59));
  CHECK(Next(consumer) == std::vector<std::string>{"b"});
  CHECK(lines() == 0);
  m.clock->Advance(absl::Seconds(2));
  CHECK(Next(consumer) == std::vector<std::string>{"c"});
  CHECK(m.log->Has(LogLevel::kWarning, "has been held for 1m1s"));
  CHECK(Next(consumer).empty());
  CHECK(lines() == 1);
  m.clock->Advance(absl::Minutes(2));
  CHECK(Next(consumer).empty());
  CHECK(lines() == 2);
  held.reset();
  m.clock->Advance(absl::Minutes(2));
  CHECK(Next(consumer).empty());
  CHECK(lines() == 2);
}

}  // namespace
}  // namespace millrace
