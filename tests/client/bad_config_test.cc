// Configuration that cannot be, each with what is said of it: options, client properties, topic
// configs.
#include <limits>

#include <fmt/format.h>

#include "client/fixture.h"

namespace millrace {
namespace {

using Catch::Contains;

std::string Text(const Status& status) { return std::string(status.message()); }

std::string ConfigError(const Status& status) {
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidConfig);
  return Text(status);
}

TEST_CASE("options that cannot be are told all at once", "[client][config]") {
  Embedded m;
  const Status producer = m.client()
                              .NewProducer({.linger = absl::Seconds(-1),
                                            .batch_bytes = 0,
                                            .max_buffered_bytes = 0,
                                            .delivery_timeout = absl::ZeroDuration()})
                              .status();
  CHECK(ErrorIdOf(producer) == ErrorId::kInvalidConfig);
  CHECK_THAT(Text(producer), Contains("linger is -1s") && Contains("batch_bytes is 0") &&
                                 Contains("max_buffered_bytes is 0"));
  const Status consumer = m.client()
                              .NewConsumer({.topics = {"t"},
                                            .assignor = "sticky",
                                            .max_poll_records = 0,
                                            .max_poll_interval = absl::ZeroDuration()})
                              .status();
  CHECK(ErrorIdOf(consumer) == ErrorId::kInvalidConfig);
  CHECK_THAT(Text(consumer),
             Contains("no group") && Contains("\"sticky\"") && Contains("max_poll_records is 0"));
}

TEST_CASE("addresses that are none are refused", "[client][config]") {
  CHECK(ErrorIdOf(Open("").status()) == ErrorId::kInvalidArgument);
  CHECK(ErrorIdOf(Open("file:").status()) == ErrorId::kInvalidArgument);
  CHECK(ErrorIdOf(Open("memory").status()) == ErrorId::kInvalidArgument);
  CHECK(ErrorIdOf(Open("http://x").status()) == ErrorId::kInvalidArgument);
  const Status kafka = Open("kafka://localhost:9092").status();
  CHECK(absl::IsUnimplemented(kafka));
  CHECK_THAT(Text(kafka), Contains("kafka component"));
  CHECK(OrFail(Open("memory:")).capabilities().in_process);
}

TEST_CASE("the configuration takes Kafka's names and lists what is wrong", "[client][config]") {
  SECTION("unknown names are warnings with the nearest one") {
    Embedded m({.background_threads = 0, .client = {.config = {{"lingr.ms", "5"}}}});
    CHECK(m.log->Has(LogLevel::kWarning, "\"lingr.ms\"; the nearest is linger.ms"));
  }
  SECTION("values that do not parse are an error, all of them") {
    const Status status = Open("memory:", {.config = {{"linger.ms", "1e9"},
                                                      {"batch.size", "10mib"},
                                                      {"acks", "two"},
                                                      {"max.poll.records", "-1"},
                                                      {"sasl.password", "secret"}}})
                              .status();
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidConfig);
    CHECK_THAT(Text(status), Contains("linger.ms is \"1e9\"") &&
                                 Contains("batch.size is \"10mib\"") && Contains("all, -1, 1, 0") &&
                                 Contains("max.poll.records is \"-1\""));
    CHECK_THAT(Text(status), !Contains("secret"));
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

TEST_CASE("every problem of a broker's options is told at once", "[client][config]") {
  BrokerOptions options;
  options.directory = std::string(5000, 'x');
  options.flush_interval = absl::ZeroDuration();
  options.max_total_bytes = -1;
  options.background_threads = -1;
  options.topic_defaults.partitions = 0;
  options.topic_defaults.config = {{"retension.ms", "1"}, {"segment.bytes", "10mib"}};
  options.client.config = {{"linger.ms", "-1"}, {"acks", "two"}};
  const std::string said = ConfigError(Broker::Open(options).status());
  for (const char* part :
       {"linger.ms is \"-1\", wanted milliseconds, 0 to 2147483647",
        "acks is \"two\", wanted one of all, -1, 1, 0",
        "directory: a path of 5000 bytes; allowed: at most 4000 bytes",
        "flush_interval: 0; allowed: more than 0, and finite",
        "topic_defaults.partitions: 0; allowed: [1, 100000]",
        "max_total_bytes: -1; allowed: 0 (unlimited) and more",
        "background_threads: -1; allowed: [0, 64]",
        "\"retension.ms\": no such topic config; the nearest is retention.ms",
        "segment.bytes: \"10mib\" is not a whole number; allowed: [128, 2147483647]"}) {
    CHECK_THAT(said, Contains(part));
  }
  SECTION("also where a topic default is given twice") {
    options.topic_defaults.segment_bytes = 1000;
    CHECK_THAT(
        ConfigError(Broker::Open(options).status()),
        Contains("segment.bytes twice, in a field and in config") && Contains("linger.ms is"));
  }
}

TEST_CASE("a topic config that is given twice is refused", "[client][config]") {
  Embedded m;
  const Status twice =
      m.admin().CreateTopic("t", {.cleanup = CleanupPolicy::kCompact,
                                  .retention = absl::Hours(1),
                                  .config = {{"retention.ms", "1"}, {"cleanup.policy", "delete"}}});
  CHECK(ConfigError(twice) ==
        "TopicOptions say cleanup.policy, retention.ms twice, in a field and in config");
  CHECK(OrFail(m.admin().ListTopics()).empty());
  INFO("and so is everything else that is wrong");
  CHECK_THAT(
      ConfigError(m.admin().CreateTopic(
          "t", {.retention = absl::Hours(1),
                .config = {{"retention.ms", "1"}, {"no.such", "1"}, {"segment.bytes", "x"}}})),
      Contains("retention.ms twice") && Contains("\"no.such\"") && Contains("segment.bytes"));
}

TEST_CASE("values that no enum has are refused", "[client][config]") {
  Embedded m;
  const auto producer = [&](const ProducerOptions& options) {
    return ConfigError(m.client().NewProducer(options).status());
  };
  CHECK_THAT(producer({.acks = static_cast<Acks>(9)}), Contains("acks is 9"));
  CHECK_THAT(producer({.compression = static_cast<Compression>(-1)}),
             Contains("compression is -1"));
  const auto consumer = [&](const ConsumerOptions& options) {
    return ConfigError(m.client().NewConsumer(options).status());
  };
  CHECK_THAT(consumer({.commits = static_cast<Commits>(3)}), Contains("commits is 3"));
  CHECK_THAT(consumer({.start_from = static_cast<StartFrom>(3)}), Contains("start_from is 3"));
  CHECK_THAT(consumer({.isolation = static_cast<Isolation>(2)}), Contains("isolation is 2"));
  CHECK_THAT(ConfigError(Broker::Open({.flush = static_cast<Flush>(9)}).status()),
             Contains("flush: 9"));
}

TEST_CASE("the config of the broker's own topics is not for others", "[client][config]") {
  Embedded m;
  m.Topic("t");
  OrFail(m.admin().AlterGroupOffsets("g", {{{"t", 0}, 0}}));
  const Status refused =
      m.admin().SetTopicConfig("__consumer_offsets", {{"cleanup.policy", "delete"}});
  CHECK(ErrorIdOf(refused) == ErrorId::kInvalidTopic);
  CHECK_THAT(Text(refused), Contains("holds the broker's own state"));
}

TEST_CASE("a topic with a config that cannot be is not made", "[client][config]") {
  Embedded m;
  const auto refused = [&](const std::string& name, const std::string& value) {
    return ConfigError(m.admin().CreateTopic("t", {.config = {{name, value}}}));
  };
  CHECK(refused("retention.mss", "1") ==
        "topic t: \"retention.mss\": no such topic config; the nearest is retention.ms");
  for (const char* value : {"1e9", "10mib", "", "0x10", "1,000", "12 ", "+5", "NaN", "1.5"}) {
    CHECK(refused("segment.bytes", value) ==
          fmt::format("topic t: segment.bytes: \"{}\" is not a whole number; allowed: "
                      "[128, 2147483647]",
                      value));
  }
  for (const char* value :
       {"-1", "127", "2147483648", "9223372036854775808", "99999999999999999999999"}) {
    CHECK(refused("segment.bytes", value) ==
          fmt::format("topic t: segment.bytes: \"{}\" is outside of [128, 2147483647]", value));
  }
  CHECK(refused("min.insync.replicas", "2") ==
        "topic t: min.insync.replicas: 2 is more than the topic's replicas, 1");
  // What cannot be shown is escaped, and what is long is cut.
  CHECK_THAT(refused("segment.bytes", std::string("1\0\xff", 3)), Contains("\"1\\x00\\xff\""));
  CHECK(refused("segment.bytes", std::string(1 << 20, '9')).size() < 300);
  const std::string both = ConfigError(m.admin().CreateTopic(
      "t", {.config = {{"segment.bytes", "x"}, {"retention.ms", "y"}, {"no.such", "z"}}}));
  CHECK_THAT(both, Contains("segment.bytes: \"x\"") && Contains("retention.ms: \"y\"") &&
                       Contains("\"no.such\""));
  CHECK(OrFail(m.admin().ListTopics()).empty());
}

TEST_CASE("a topic keeps its config where a change is refused", "[client][config]") {
  Embedded m;
  m.Topic("t", 1, {{"max.message.bytes", "1000"}});
  const auto before = OrFail(m.admin().DescribeTopicConfig("t"));
  for (const std::map<std::string, std::optional<std::string>>& change :
       {std::map<std::string, std::optional<std::string>>{{"max.message.bytes", "-5"}},
        {{"max.message.bytes", "2000"}, {"segment.bytes", "10mib"}},
        {{"max.message.bytes", std::nullopt}, {"retension.ms", "1"}},
        {{"max.message.bytes", "2000"},
         {"min.compaction.lag.ms", "9"},
         {"max.compaction.lag.ms", "8"}}}) {
    CHECK_THAT(ConfigError(m.admin().SetTopicConfig("t", change)), Contains("topic t: "));
    const auto after = OrFail(m.admin().DescribeTopicConfig("t"));
    REQUIRE(after.size() == before.size());
    for (size_t i = 0; i < after.size(); ++i) {
      CHECK(after[i].value == before[i].value);
      CHECK(after[i].source == before[i].source);
    }
  }
  Producer producer = OrFail(m.client().NewProducer());
  CHECK(ErrorIdOf(producer.Send({.topic = "t", .value = std::string(1500, 'x')}).Get().status()) ==
        ErrorId::kRecordTooLarge);
  m.Reopen();
  CHECK(OrFail(m.admin().DescribeTopic("t")).config.at("max.message.bytes") == "1000");
}

TEST_CASE("client properties that do not parse are shown as they are", "[client][config]") {
  const auto refused = [](const std::string& name, const std::string& value) {
    return ConfigError(Open("memory:", {.config = {{name, value}}}).status());
  };
  for (const char* value : {"-1", "", "1e9", "10ms", "2147483648", "99999999999999999999"}) {
    CHECK(refused("linger.ms", value) ==
          fmt::format("ClientOptions::config: linger.ms is \"{}\", wanted milliseconds, 0 to "
                      "2147483647",
                      value));
  }
  for (const char* value : {"0", "-1", "10mib", "9223372036854775808"}) {
    CHECK(refused("batch.size", value) ==
          fmt::format("ClientOptions::config: batch.size is \"{}\", wanted a number, 1 to "
                      "2147483647",
                      value));
  }
  CHECK_THAT(refused("enable.idempotence", "yes"), Contains("wanted true or false"));
  CHECK_THAT(refused("auto.offset.reset", "soonest"), Contains("wanted one of earliest, "));
  CHECK_THAT(refused("linger.ms", std::string("1\0\n", 3)), Contains("\"1\\x00\\x0a\""));
  CHECK(refused("linger.ms", std::string(1 << 20, '9')).size() < 300);
}

TEST_CASE("the least may not be more than the most", "[client][config]") {
  Embedded m;
  CHECK_THAT(ConfigError(m.client()
                             .NewProducer({.linger = absl::Seconds(10),
                                           .delivery_timeout = absl::Seconds(5)})
                             .status()),
             Contains("delivery_timeout is 5s, wanted more than linger (10s)"));
  CHECK_THAT(ConfigError(m.admin().CreateTopic("t", {.config = {{"min.compaction.lag.ms", "20"},
                                                                {"max.compaction.lag.ms", "10"}}})),
             Contains("min.compaction.lag.ms: 20 is more than max.compaction.lag.ms, 10"));
}

}  // namespace
}  // namespace millrace
