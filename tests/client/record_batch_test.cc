#include <cstdlib>
#include <optional>
#include <thread>

#include "client/fixture.h"

namespace millrace {
namespace {

TEST_CASE("a record is read as it was written", "[client][record]") {
  Embedded m;
  m.Topic("orders", 3);
  Producer producer = OrFail(m.client().NewProducer());
  const absl::Time at = m.clock->Now() - absl::Milliseconds(123);
  ProducerRecord record{.topic = "orders", .partition = 2, .key = "alice", .value = "2 x tea"};
  record.timestamp = at;
  record.headers = {
      {"trace", "abc"}, {"empty", ""}, {"null", Payload()}, {"trace", "def"}, {"", "x"}};
  OrFail(producer.Send(record).Get());
  OrFail(producer.Send({.topic = "orders", .partition = 2}).Get());

  Consumer consumer = m.Reader("orders", 2);
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  REQUIRE(batch.size() == 2);
  auto it = batch.begin();
  const RecordView& first = *it++;
  CHECK(first.topic() == "orders");
  CHECK(first.partition() == 2);
  CHECK(first.offset() == 0);
  CHECK(first.leader_epoch() == 0);
  CHECK(first.timestamp() == at);
  CHECK_FALSE(first.is_log_append_time());
  CHECK(first.key() == Bytes("alice"));
  CHECK(first.value() == Bytes("2 x tea"));
  REQUIRE(first.header_count() == 5);
  CHECK(first.header(0) == std::pair<std::string_view, Bytes>("trace", "abc"));
  CHECK(first.header(2).second.is_null());
  CHECK(first.header(4).first.empty());
  CHECK(first.header("trace") == std::optional<Bytes>("def"));  // the last of that name
  CHECK(first.header("empty") == std::optional<Bytes>(""));
  CHECK(first.header("null") == std::optional<Bytes>(Bytes()));
  CHECK_FALSE(first.header("nothing").has_value());
  const RecordView& second = *it++;
  CHECK(second.key().is_null());
  CHECK(second.is_tombstone());
  CHECK(second.header_count() == 0);
  CHECK(it == batch.end());

  REQUIRE(batch.slices().size() == 1);
  const RecordBatch::Slice& slice = batch.slices().front();
  CHECK(slice.partition == TopicPartition{"orders", 2});
  CHECK(slice.next_offset == 2);
  CHECK(slice.high_watermark == 2);
  CHECK(slice.at_end);
  CHECK(std::distance(slice.begin(), slice.end()) == 2);
  CHECK(batch.next_offsets() == OffsetMap{{{"orders", 2}, 2}});

  const OwnedRecord copy = Copy(first);
  CHECK(copy.partition == TopicPartition{"orders", 2});
  CHECK(copy.key == "alice");
  CHECK(copy.headers.size() == 5);
  CHECK_FALSE(copy.headers[2].second.has_value());
  CHECK_FALSE(Copy(second).value.has_value());
}

TEST_CASE("a null pointer is null, and no topic's name", "[client][record]") {
  Embedded m;
  m.Topic("t");
  const char* const none = std::getenv("MILLRACE_IS_NOT_SET");
  REQUIRE(none == nullptr);
  CHECK(Bytes(none).is_null());
  CHECK_FALSE(Bytes("").is_null());
  Producer producer = OrFail(m.client().NewProducer());
  OrFail(producer.Send({.topic = "t", .key = none, .value = ""}).Get());
  CHECK(ErrorIdOf(producer.Send({.topic = none}).Get().status()) == ErrorId::kInvalidTopic);
  Consumer consumer = m.Reader("t");
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  CHECK(batch.begin()->key().is_null());
  CHECK_FALSE(batch.begin()->value().is_null());
}

TEST_CASE("null and empty stay apart", "[client][record]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  OrFail(producer.Send({.topic = "t", .key = "", .value = ""}).Get());
  OrFail(producer.Send({.topic = "t", .key = Payload(), .value = std::nullopt}).Get());
  OrFail(producer.Send({.topic = "t", .key = absl::Cord("c"), .value = std::string("s")}).Get());
  Consumer consumer = m.Reader("t");
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  auto it = batch.begin();
  CHECK((it->key() == Bytes("") && it->value() == Bytes("")));
  ++it;
  CHECK((it->key().is_null() && it->value().is_null()));
  ++it;
  CHECK((it->key() == Bytes("c") && it->value() == Bytes("s")));
}

TEST_CASE("log append time is the broker's", "[client][record]") {
  Embedded m;
  m.Topic("t", 1, {{"message.timestamp.type", "LogAppendTime"}});
  Producer producer = OrFail(m.client().NewProducer());
  m.clock->Advance(absl::Seconds(5));
  ProducerRecord record{.topic = "t", .value = "v"};
  record.timestamp = absl::UnixEpoch();
  const Delivery delivery = OrFail(producer.Send(record).Get());
  CHECK(delivery.timestamp == m.clock->Now());
  Consumer consumer = m.Reader("t");
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  CHECK(batch.begin()->timestamp() == m.clock->Now());
  CHECK(batch.begin()->is_log_append_time());
}

TEST_CASE("a batch outlives consumer, client and broker", "[client][record]") {
  std::optional<RecordBatch> batch;
  PinnedRecord pinned;
  {
    Embedded m;
    m.Topic("t");
    m.Produce("t", 0, {"one", "two"});
    Consumer consumer = m.Reader("t");
    batch = OrFail(consumer.Poll(absl::ZeroDuration()));
    pinned = batch->Pin(*batch->begin());
    OrFail(m.broker->Close());
  }
  CHECK(Values(*batch) == std::vector<std::string>{"one", "two"});
  batch.reset();
  CHECK(pinned->value().str() == "one");
  CHECK(pinned->topic() == "t");
}

TEST_CASE("a pin shares the buffer of a large record and copies a small one", "[client][record]") {
  const bool large = GENERATE(true, false);
  Embedded m;
  m.Topic("t");
  m.Produce("t", 0, {std::string(large ? 100'000 : 10, 'x')});
  Consumer consumer = m.Reader("t");
  const auto pinned_bytes = [&] {
    double bytes = -1;
    m.client().VisitMetrics([&](const MetricPoint& point) {
      if (point.name == "millrace_pinned_bytes") bytes = point.value;
    });
    return bytes;
  };
  std::optional<RecordBatch> batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  PinnedRecord pinned = batch->Pin(*batch->begin());
  const std::string value(pinned->value().str());
  CHECK(pinned_bytes() > 0);
  batch.reset();
  CHECK(pinned->value().str() == value);
  if (large) {
    CHECK(pinned_bytes() >= 100'000);
    CHECK(pinned_bytes() <= 4 * 100'100);
  } else {
    CHECK(pinned_bytes() >= 10);  // the copy, and not the buffer
    CHECK(pinned_bytes() <= 500);
  }
  pinned = {};
  CHECK(pinned_bytes() == 0);
}

TEST_CASE("a pinned record keeps its headers", "[client][record]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  ProducerRecord record{.topic = "t", .value = "v"};
  record.headers = {{"a", "1"}, {"b", Payload()}};
  OrFail(producer.Send(record).Get());
  PinnedRecord pinned;
  CHECK_FALSE(pinned);
  {
    Consumer consumer = m.Reader("t");
    const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
    pinned = batch.Pin(*batch.begin());
  }
  REQUIRE(pinned->header_count() == 2);
  CHECK(pinned->header("a") == std::optional<Bytes>("1"));
  CHECK(pinned->key().is_null());
}

TEST_CASE("the empty batch is empty", "[client][record]") {
  const RecordBatch batch;
  CHECK(batch.empty());
  CHECK(batch.begin() == batch.end());
  CHECK(batch.slices().empty());
  CHECK(batch.next_offsets().empty());
  CHECK_FALSE(batch.Pin(RecordView()));
}

TEST_CASE("compressed batches are expanded once and read alike", "[client][record]") {
  const auto codec =
      GENERATE(Compression::kGzip, Compression::kSnappy, Compression::kLz4, Compression::kZstd);
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer({.compression = codec}));
  std::vector<ProducerRecord> records;
  const auto numbers = Numbers(0, 1000);
  for (const auto& number : numbers) records.push_back({.topic = "t", .value = number});
  for (const auto& answer : producer.SendAll(records)) OrFail(answer);
  Consumer consumer = m.Reader("t", 0, {.max_poll_records = 300});
  std::vector<std::string> read;
  while (read.size() < 1000)
    for (const auto& value : Next(consumer)) read.push_back(value);
  CHECK(read == numbers);
}

}  // namespace
}  // namespace millrace
