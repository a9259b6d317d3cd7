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
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidTopic);
    CHECK(ErrorIdOf(m.admin().CreateTopic(name)) == ErrorId::kInvalidTopic);
  }
  CHECK(OrFail(m.admin().ListTopics()).empty());
  OrFail(producer.Send({.topic = std::string(249, 'x'), .value = "v"}).Get());
  OrFail(producer.Send({.topic = "a.b", .value = "v"}).Get());
  // Their folders and metrics would be told apart by nothing but "." and "_".
  CHECK(ErrorIdOf(SendError(producer, {.topic = "a_b", .value = "v"})) == ErrorId::kInvalidTopic);
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
    CHECK(ErrorIdOf(SendError(producer, record)) == ErrorId::kRecordTooLarge);
  }
  // What could be a record, and is more than may be buffered.
  const std::string_view large(&byte, 1 << 30);
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
      CHECK_THAT(Text(status), Catch::Contains("message.timestamp"));
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

TEST_CASE("what is closed says so, and closing again is no error", "[client][bad]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  Producer other = OrFail(m.client().NewProducer());
  Client client = m.client();
  OrFail(producer.Close(absl::Seconds(1)));
  OrFail(producer.Close(absl::Seconds(1)));
  CHECK(ErrorIdOf(SendError(producer, {.topic = "t"})) == ErrorId::kClosed);
  CHECK(ErrorIdOf(producer.Flush()) == ErrorId::kClosed);
  OrFail(m.broker->Close());
  OrFail(m.broker->Close());
  CHECK(ErrorIdOf(SendError(other, {.topic = "t"})) == ErrorId::kClosed);
  CHECK(ErrorIdOf(client.NewProducer().status()) == ErrorId::kClosed);
  CHECK(ErrorIdOf(client.NewConsumer().status()) == ErrorId::kClosed);
  CHECK(ErrorIdOf(client.admin().CreateTopic("u")) == ErrorId::kClosed);
  CHECK(ErrorIdOf(m.broker->Sync()) == ErrorId::kClosed);
  CHECK(absl::IsFailedPrecondition(m.broker->RunMaintenance()));
}

TEST_CASE("an empty callback and a moved-from producer are misuse", "[client][bad]") {
  Embedded m;
  m.Topic("t");
  Producer producer = OrFail(m.client().NewProducer());
  CHECK(ErrorIdOf(producer.Send({.topic = "t"}, DeliveryCallback())) == ErrorId::kInvalidArgument);
  CHECK(ErrorIdOf(producer.TrySend({.topic = "t"}, DeliveryCallback())) ==
        ErrorId::kInvalidArgument);
  Producer moved = std::move(producer);
  CHECK(ErrorIdOf(producer.Send({.topic = "t"}).Get().status()) == ErrorId::kInvalidArgument);
  CHECK(producer.buffered_bytes() == 0);
  CHECK(ErrorIdOf(Future<Delivery>().Get().status()) == ErrorId::kInvalidArgument);
  CHECK(moved.SendAll({}).empty());
}

TEST_CASE("options that cannot be are told all at once", "[client][bad]") {
  Embedded m;
  const Status producer = m.client()
                              .NewProducer({.linger = absl::Seconds(-1),
                                            .batch_bytes = 0,
                                            .max_buffered_bytes = 0,
                                            .delivery_timeout = absl::ZeroDuration()})
                              .status();
  CHECK(ErrorIdOf(producer) == ErrorId::kInvalidConfig);
  CHECK_THAT(Text(producer), Catch::Contains("linger is -1s") &&
                                 Catch::Contains("batch_bytes is 0") &&
                                 Catch::Contains("max_buffered_bytes is 0"));
  const Status consumer = m.client()
                              .NewConsumer({.topics = {"t"},
                                            .assignor = "sticky",
                                            .max_poll_records = 0,
                                            .max_poll_interval = absl::ZeroDuration()})
                              .status();
  CHECK(ErrorIdOf(consumer) == ErrorId::kInvalidConfig);
  CHECK_THAT(Text(consumer), Catch::Contains("no group") && Catch::Contains("'sticky'") &&
                                 Catch::Contains("max_poll_records is 0"));
}

TEST_CASE("addresses that are none are refused", "[client][bad]") {
  CHECK(ErrorIdOf(Open("").status()) == ErrorId::kInvalidArgument);
  CHECK(ErrorIdOf(Open("file:").status()) == ErrorId::kInvalidArgument);
  CHECK(ErrorIdOf(Open("memory").status()) == ErrorId::kInvalidArgument);
  CHECK(ErrorIdOf(Open("http://x").status()) == ErrorId::kInvalidArgument);
  const Status kafka = Open("kafka://localhost:9092").status();
  CHECK(absl::IsUnimplemented(kafka));
  CHECK_THAT(Text(kafka), Catch::Contains("kafka component"));
  CHECK(OrFail(Open("memory:")).capabilities().in_process);
}

TEST_CASE("the configuration takes Kafka's names and lists what is wrong", "[client][bad]") {
  SECTION("unknown names are warnings with the nearest one") {
    Embedded m({.background_threads = 0, .client = {.config = {{"lingr.ms", "5"}}}});
    CHECK(m.log->Has(LogLevel::kWarning, "'lingr.ms'; the nearest is 'linger.ms'"));
  }
  SECTION("values that do not parse are an error, all of them") {
    const Status status = Open("memory:", {.config = {{"linger.ms", "1e9"},
                                                      {"batch.size", "10mib"},
                                                      {"acks", "two"},
                                                      {"max.poll.records", "-1"},
                                                      {"sasl.password", "secret"}}})
                              .status();
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidConfig);
    CHECK_THAT(Text(status),
               Catch::Contains("linger.ms is '1e9'") && Catch::Contains("batch.size is '10mib'") &&
                   Catch::Contains("all, -1, 1, 0") && Catch::Contains("max.poll.records is '-1'"));
    CHECK_THAT(Text(status), !Catch::Contains("secret"));
  }
  SECTION("what is named there wins") {
    Embedded m({.background_threads = 0,
                .client = {.config = {{"max.poll.records", "2"}, {"group.id", "named"}}}});
    m.Topic("t");
    m.Produce("t", 0, Numbers(0, 5));
    Consumer consumer = m.Reader("t", 0, {.max_poll_records = 100});
    CHECK(Next(consumer).size() == 2);
    OrFail(consumer.Commit());
    CHECK(OrFail(m.admin().ListGroups()) == std::vector<std::string>{"named"});
  }
}

}  // namespace
}  // namespace millrace
