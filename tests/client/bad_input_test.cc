// Bad inputs of the record API, each with the error that it must have.
#include <stdexcept>

#include <fmt/format.h>

#include "client/fixture.h"

namespace millrace {
namespace {

Status SendError(Producer& producer, ProducerRecord record) {
  const Status from_future = producer.Send(record).Get().status();
  // The callback form says the same at once, and never calls.
  const Status at_once = producer.Send(record, [](const StatusOr<Delivery>&) {
    throw std::logic_error("a record that was not accepted is not answered");
  });
  CHECK(ErrorIdOf(at_once) == ErrorIdOf(from_future));
  std::vector<ProducerRecord> all = {std::move(record)};
  CHECK(ErrorIdOf(producer.SendAll(all).front().status()) == ErrorIdOf(from_future));
  CHECK(producer.buffered_records() == 0);
  CHECK(producer.buffered_bytes() == 0);
  return from_future;
}

std::string Text(const Status& status) { return std::string(status.message()); }

TEST_CASE("topic names that are none are refused before anything is made", "[client][bad]") {
  Embedded m({.auto_create_topics = true, .background_threads = 0});
  Producer producer = OrFail(m.client().NewProducer());
  using namespace std::string_literals;
  for (const std::string& name : {""s, "."s, ".."s, std::string(250, 'x'), "a/b"s, "../escape"s,
                                  "nul\0byte"s, "\xc3\xa4"s, "with space"s}) {
    const Status status = SendError(producer, {.topic = std::string_view(name), .value = "v"});
    CHECK_THAT(Described(status), Catch::StartsWith("invalid_topic: topic name \"") &&
                                      Catch::Contains("allowed: 1 to 249 of a-z, A-Z, 0-9"));
    CHECK(Described(m.admin().CreateTopic(name)) == Described(status));
    CHECK_FALSE(m.admin().DeleteTopic(name).ok());
  }
  CHECK(OrFail(m.admin().ListTopics()).empty());
  // No path was made of any of them.
  CHECK(OrFail(m.files->List("/log")) ==
        std::vector<std::string>{"__cluster_metadata-0", "millrace"});
  CHECK(OrFail(m.files->List("/")) == std::vector<std::string>{"log"});
  OrFail(producer.Send({.topic = std::string(249, 'x'), .value = "v"}).Get());
  OrFail(producer.Send({.topic = "a.b", .value = "v"}).Get());
  // Their folders and metrics would be told apart by nothing but "." and "_".
  CHECK(Described(SendError(producer, {.topic = "a_b", .value = "v"})) ==
        "invalid_topic: topic a_b differs from topic a.b only by '.' and '_', which metrics cannot "
        "tell apart");
}

TEST_CASE("topics and partitions that are not there are named", "[client][bad]") {
  Embedded m;
  m.Topic("t", 3);
  Producer producer = OrFail(m.client().NewProducer());
  const Status topic = SendError(producer, {.topic = "none", .value = "v"});
  CHECK(ErrorIdOf(topic) == ErrorId::kUnknownTopic);
  CHECK(DetailOf(topic)->code == error::kUnknownTopicOrPartition);
  CHECK_THAT(Text(topic), Catch::Contains("none"));
  for (const int32_t bad : {-1, 3, INT32_MAX, INT32_MIN}) {
    const Status status = SendError(producer, {.topic = "t", .partition = bad, .value = "v"});
    CHECK(ErrorIdOf(status) == ErrorId::kUnknownPartition);
    CHECK_THAT(Text(status), Catch::Contains(std::to_string(bad)) && Catch::Contains("0 to 2"));
    CHECK(DetailOf(status)->partition == bad);
  }
}

TEST_CASE("a record of exactly the limit goes through, one byte more does not", "[client][bad]") {
  Embedded m;
  m.Topic("t", 1, {{"max.message.bytes", "1000"}});
  Producer producer = OrFail(m.client().NewProducer());
  // 61 of the batch, 2 of the length, 6 of fixed parts, 2 of the value's length.
  const size_t fits = 1000 - 61 - 2 - 5 - 2;
  size_t largest = 0;
  for (size_t size = fits - 10; size <= fits + 10; ++size)
    if (producer.Send({.topic = "t", .value = std::string(size, 'x')}).Get().ok()) largest = size;
  CHECK(largest == fits);
  const Status status = SendError(producer, {.topic = "t", .value = std::string(fits + 1, 'x')});
  CHECK(ErrorIdOf(status) == ErrorId::kRecordTooLarge);
  CHECK(DetailOf(status)->code == error::kMessageTooLarge);
  CHECK_THAT(Text(status), Catch::Contains("1001 bytes") && Catch::Contains("max.message.bytes") &&
                               Catch::Contains("1000"));
  SECTION("unless the topic says so meanwhile") {
    OrFail(m.admin().SetTopicConfig("t", {{"max.message.bytes", "2000"}}));
    OrFail(producer.Send({.topic = "t", .value = std::string(fits + 1, 'x')}).Get());
  }
}

TEST_CASE("limits that are lowered are not for records that were taken before", "[client][bad]") {
  const std::string config = GENERATE("max.message.bytes", "segment.bytes");
  Embedded m;
  m.Topic("t", 1, {{config, "10000"}});
  Producer producer = OrFail(m.client().NewProducer({.linger = absl::Minutes(1)}));
  std::vector<Future<Delivery>> sent;
  for (int i = 0; i < 8; ++i)
    sent.push_back(producer.Send({.topic = "t", .value = std::string(1000, 'x')}));
  OrFail(m.admin().SetTopicConfig("t", {{config, "2000"}}));
  OrFail(producer.Flush(absl::Seconds(1)));
  for (auto& delivery : sent) OrFail(delivery.Get());
  Consumer consumer = m.Reader("t");
  CHECK(Next(consumer).size() == 8);
  const Status late = SendError(producer, {.topic = "t", .value = std::string(5000, 'x')});
  CHECK(ErrorIdOf(late) == ErrorId::kRecordTooLarge);
}

TEST_CASE("a batch has its place in one segment", "[client][bad]") {
  Embedded m;
  m.Topic("t", 1, {{"segment.bytes", "1000"}});
  Producer producer = OrFail(m.client().NewProducer({.linger = absl::Seconds(1)}));
  const std::string fits(1000 - 61 - 2 - 5 - 2, 'x');
  OrFail(producer.Send({.topic = "t", .value = fits}).Get());
  const Status status = SendError(producer, {.topic = "t", .value = fits + "x"});
  CHECK(Described(status) ==
        "record_too_large: the record makes a batch of 1001 bytes, topic 't' "
        "takes 1000 (segment.bytes)");
  // Nothing was written of it, and batches of many records keep to the same limit.
  std::vector<ProducerRecord> many;
  for (int i = 0; i < 100; ++i) many.push_back({.topic = "t", .value = std::string(50, 'y')});
  for (const auto& answer : producer.SendAll(many)) OrFail(answer);
  Consumer consumer = m.Reader("t");
  CHECK(Next(consumer).size() == 101);
  SECTION("also when it shrinks only by its codec, or does not") {
    Producer zip = OrFail(m.client().NewProducer({.compression = Compression::kZstd}));
    OrFail(zip.Send({.topic = "t", .value = std::string(5000, 'x')}).Get());
    std::string noise;
    for (uint32_t i = 0; i < 5000; ++i) noise += static_cast<char>((i * 2654435761u) >> 24);
    CHECK_THAT(Described(zip.Send({.topic = "t", .value = noise}).Get().status()),
               Catch::StartsWith("record_too_large: ") && Catch::Contains("segment.bytes is 1000"));
    CHECK(Next(consumer).size() == 1);
  }
}

TEST_CASE("no record is a batch of none, and what a record leaves out is legal", "[client][bad]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  CHECK(producer.SendAll({}).empty());
  CHECK(OrFail(m.admin().DescribeTopic("t")).partitions[0].end == 0);
  ProducerRecord nothing{.topic = "t"};
  nothing.headers = {{"", Payload()}, {"", ""}};
  OrFail(producer.Send(nothing).Get());
  Consumer consumer = m.Reader("t");
  const RecordBatch batch = OrFail(consumer.Poll(absl::ZeroDuration()));
  REQUIRE(batch.size() == 1);
  const RecordView& record = *batch.begin();
  CHECK((record.key().is_null() && record.value().is_null()));
  REQUIRE(record.header_count() == 2);
  CHECK((record.header(0).first.empty() && record.header(0).second.is_null()));
  CHECK_FALSE(record.header(1).second.is_null());
}

TEST_CASE("lengths that no memory has are refused unread", "[client][bad]") {
  Embedded m;
  m.Topic("t", 1, {{"max.message.bytes", std::to_string(INT32_MAX)}});
  Producer producer = OrFail(m.client().NewProducer());
  const char byte = 'x';
  for (const size_t size : {size_t{1} << 31, (size_t{1} << 31) + 1, size_t{1} << 62, SIZE_MAX}) {
    const std::string_view huge(&byte, size);
    CHECK(ErrorIdOf(SendError(producer, {.topic = "t", .value = huge})) ==
          ErrorId::kRecordTooLarge);
    CHECK(ErrorIdOf(SendError(producer, {.topic = "t", .key = huge})) == ErrorId::kRecordTooLarge);
    ProducerRecord record{.topic = "t"};
    record.headers = {{"h", huge}, {"i", huge}};
    CHECK(Described(SendError(producer, record)) ==
          "record_too_large: the record, with a key of 0 bytes, a value of 0 and 2 headers, is "
          "larger than the format's 2147483647 bytes");
  }
  // What could be a record, and is more than may be buffered.
  const std::string_view large(&byte, 1 << 29);
  const Status status = SendError(producer, {.topic = "t", .value = large});
  CHECK(ErrorIdOf(status) == ErrorId::kRecordTooLarge);
  CHECK_THAT(Text(status), Catch::Contains("max_buffered_bytes"));
}

TEST_CASE("timestamps out of range are refused with the range", "[client][bad]") {
  Embedded m;
  m.Topic("t");
  m.Topic("free", 1, {{"message.timestamp.after.max.ms", std::to_string(INT64_MAX)}});
  Producer producer = OrFail(m.client().NewProducer());
  const absl::Time year_9999 = absl::FromUnixSeconds(253'370'764'800);
  for (const absl::Time bad :
       {absl::FromUnixMillis(-1), absl::FromUnixMillis(INT64_MAX), year_9999,
        absl::InfiniteFuture(), absl::InfinitePast(), absl::FromUnixMillis(INT64_MIN)}) {
    for (const char* topic : {"t", "free"}) {
      ProducerRecord record{.topic = topic, .value = "v"};
      record.timestamp = bad;
      const Status status = SendError(producer, record);
      CHECK(ErrorIdOf(status) == ErrorId::kInvalidTimestamp);
      CHECK_THAT(Text(status), Catch::Contains(std::to_string(absl::ToUnixMillis(bad)) + " ms") &&
                                   Catch::Contains(fmt::format("topic '{}' takes 0 to ", topic)) &&
                                   Catch::Contains("message.timestamp.after.max.ms"));
    }
  }
  ProducerRecord record{.topic = "t", .value = "v"};
  record.timestamp = m.clock->Now() + absl::Hours(2);  // Kafka's default allows one hour
  CHECK(ErrorIdOf(SendError(producer, record)) == ErrorId::kInvalidTimestamp);
  record.timestamp = m.clock->Now() + absl::Minutes(59);
  OrFail(producer.Send(record).Get());
  record.timestamp = absl::UnixEpoch();
  OrFail(producer.Send(record).Get());
  record.topic = "free";
  record.timestamp = m.clock->Now() + absl::Hours(24 * 365 * 100);
  OrFail(producer.Send(record).Get());
}

TEST_CASE("the number of headers is limited", "[client][bad]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  ProducerRecord record{.topic = "t", .value = "v"};
  record.headers.resize(1'000'000);
  const Status status = SendError(producer, record);
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidArgument);
  CHECK_THAT(Text(status), Catch::Contains("1000000") && Catch::Contains("10000"));
  record.headers.resize(10'000);
  OrFail(producer.Send(record).Get());
}

TEST_CASE("a compacted topic needs keys, and says so of the one record", "[client][bad]") {
  Embedded m;
  OrFail(m.admin().CreateTopic("t", {.cleanup = CleanupPolicy::kCompact}));
  Producer producer = OrFail(m.client().NewProducer({.linger = absl::Seconds(1)}));
  int delivered = 0;
  OrFail(producer.Send({.topic = "t", .key = "k", .value = "v"},
                       [&](const StatusOr<Delivery>& d) { delivered += d.ok(); }));
  const Status status = producer.Send({.topic = "t", .value = "v"}).Get().status();
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidRecord);
  CHECK_THAT(Text(status), Catch::Contains("compacted"));
  OrFail(producer.Flush());
  CHECK(delivered == 1);
}

}  // namespace
}  // namespace millrace
