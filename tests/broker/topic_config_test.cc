// What may be configured, and what a wrong setting is told (reliability.md d2).
#include "broker/topic_config.h"

#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "base/errors.h"
#include "support/or_fail.h"

namespace millrace::broker {
namespace {

using Catch::Contains;

std::string MessageOf(const Status& status) {
  CHECK(ErrorIdOf(status) == ErrorId::kInvalidConfig);
  return std::string(status.message());
}
std::string Refused(const ConfigMap& own) { return MessageOf(ParseTopicConfig(own, {}).status()); }

}  // namespace

TEST_CASE("the built-in values are Kafka's, but for what the page names", "[broker][config]") {
  const TopicConfig config = OrFail(ParseTopicConfig({}, {}));
  CHECK(config.log.segment_bytes == 1073741824);
  CHECK(config.log.retention == absl::Hours(24 * 7));
  CHECK(config.log.retention_bytes == std::nullopt);
  CHECK(config.log.max_message_bytes == 1048588);
  CHECK(config.log.delete_by_retention);
  CHECK_FALSE(config.compact);
  CHECK_FALSE(config.log_append_time);
  CHECK(config.timestamp_after_max_ms == 3600000);
  CHECK(config.compression == std::nullopt);
  CHECK(config.flush_messages == 1);
  CHECK_FALSE(config.flush_messages_given);
  CHECK(config.flush_age == std::nullopt);
}

TEST_CASE("a topic's own value stands over the broker's, and that over the built-in",
          "[broker][config]") {
  const ConfigMap defaults = {{"retention.ms", "1000"}, {"segment.bytes", "2048"}};
  const TopicConfig config = OrFail(ParseTopicConfig({{"retention.ms", "-1"}}, defaults));
  CHECK(config.log.retention == std::nullopt);
  CHECK(config.log.segment_bytes == 2048);

  const auto entries = DescribeTopicConfig({{"retention.ms", "-1"}}, defaults);
  CHECK(entries.size() == TopicConfigTable().size());
  for (const ConfigEntry& entry : entries) {
    if (entry.name == "retention.ms") {
      CHECK(entry.value == "-1");
      CHECK(entry.default_value == "1000");
      CHECK(entry.source == ConfigSource::kTopic);
      CHECK(entry.type == "long");
      CHECK(entry.range == "[-1, 9223372036854775807]");
    } else if (entry.name == "segment.bytes") {
      CHECK(entry.value == "2048");
      CHECK(entry.source == ConfigSource::kBrokerDefault);
    } else {
      CHECK(entry.source == ConfigSource::kBuiltIn);
      CHECK(entry.value == entry.default_value);
    }
    CHECK_FALSE(entry.documentation.empty());
  }
}

TEST_CASE("Kafka's words become typed values", "[broker][config]") {
  const TopicConfig config = OrFail(ParseTopicConfig({{"cleanup.policy", "compact, delete"},
                                                      {"message.timestamp.type", "LogAppendTime"},
                                                      {"compression.type", "zstd"},
                                                      {"compression.zstd.level", "-7"},
                                                      {"flush.messages", "10"},
                                                      {"flush.ms", "250"},
                                                      {"retention.bytes", "4096"},
                                                      {"segment.ms", "9223372036854775807"}},
                                                     {}));
  CHECK(config.compact);
  CHECK(config.log.delete_by_retention);
  CHECK(config.log_append_time);
  CHECK(config.compression == record::Codec::kZstd);
  CHECK(config.compression_level == -7);
  CHECK(config.flush_messages == 10);
  CHECK(config.flush_messages_given);
  CHECK(config.flush_age == absl::Milliseconds(250));
  CHECK(config.log.retention_bytes == 4096);
  CHECK(config.log.segment_age == absl::InfiniteDuration());

  CHECK_FALSE(
      OrFail(ParseTopicConfig({{"cleanup.policy", "compact"}}, {})).log.delete_by_retention);
  CHECK(OrFail(ParseTopicConfig({{"compression.type", "uncompressed"}}, {})).compression ==
        record::Codec::kNone);
}

TEST_CASE("a wrong value is named with what is allowed", "[broker][config]") {
  CHECK(Refused({{"retention.ms", "seven"}}) ==
        "retention.ms: \"seven\" is not a whole number; allowed: [-1, 9223372036854775807]");
  CHECK(Refused({{"retention.ms", "-2"}}) ==
        "retention.ms: \"-2\" is outside of [-1, 9223372036854775807]");
  CHECK(Refused({{"retention.ms", "9223372036854775808"}}) ==
        "retention.ms: \"9223372036854775808\" is outside of [-1, 9223372036854775807]");
  CHECK_THAT(Refused({{"segment.bytes", "1e9"}}), Contains("\"1e9\" is not a whole number"));
  CHECK_THAT(Refused({{"segment.bytes", "10mib"}}), Contains("\"10mib\" is not a whole number"));
  CHECK_THAT(Refused({{"segment.bytes", ""}}), Contains("\"\" is not a whole number"));
  CHECK_THAT(Refused({{"segment.bytes", " 4096"}}), Contains("is not a whole number"));
  CHECK_THAT(Refused({{"segment.bytes", "2147483648"}}), Contains("outside of [128, 2147483647]"));
  CHECK(Refused({{"cleanup.policy", "compact,erase"}}) ==
        "cleanup.policy: \"compact,erase\" is not one or more of compact, delete");
  CHECK(Refused({{"compression.type", "lzma"}}) ==
        "compression.type: \"lzma\" is not one of producer, uncompressed, gzip, snappy, lz4, zstd");
  CHECK_THAT(Refused({{"min.cleanable.dirty.ratio", "1.5"}}), Contains("outside of [0, 1]"));
  CHECK_THAT(Refused({{"min.cleanable.dirty.ratio", "half"}}), Contains("is not a number"));
  CHECK_THAT(Refused({{"preallocate", "yes"}}), Contains("is not one of true, false"));
  CHECK(Refused({{"min.compaction.lag.ms", "20"}, {"max.compaction.lag.ms", "10"}}) ==
        "min.compaction.lag.ms: 20 is more than max.compaction.lag.ms, 10");
}

TEST_CASE("an unknown name is told the nearest one", "[broker][config]") {
  CHECK(Refused({{"retension.ms", "1"}}) ==
        "\"retension.ms\": no such topic config; the nearest is retention.ms");
  CHECK_THAT(Refused({{"segment_bytes", "1"}}), Contains("the nearest is segment.bytes"));
  CHECK_THAT(Refused({{std::string("a\0\n", 3), "1"}}), Contains("\"a\\x00\\x0a\""));
  CHECK(Refused({{std::string(100000, 'x'), std::string(100000, 'y')}}).size() < 300);
}

TEST_CASE("all problems are reported at once", "[broker][config]") {
  const Status status =
      ParseTopicConfig({{"retention.ms", "x"}, {"segment.ms", "0"}}, {{"flush.ms", "-1"}}).status();
  const std::string message = MessageOf(status);
  CHECK_THAT(message, Contains("retention.ms: \"x\"") && Contains("segment.ms: \"0\"") &&
                          Contains("broker default flush.ms: \"-1\""));
}

TEST_CASE("topic names follow Kafka's rules", "[broker][config]") {
  OrFail(CheckTopicName("orders"));
  OrFail(CheckTopicName("a.B_c-9"));
  OrFail(CheckTopicName("..."));
  OrFail(CheckTopicName(std::string(249, 'x')));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string(250, 'x'),
        std::string("a/b"), std::string("../up"), std::string("a\0b", 3),
        std::string("gr\xc3\xbc\xc3\x9f"), std::string("a b"), std::string("a:b")}) {
    const Status status = CheckTopicName(name);
    INFO(name);
    CHECK(ErrorIdOf(status) == ErrorId::kInvalidTopic);
    CHECK_THAT(std::string(status.message()), Contains("allowed: 1 to 249"));
  }
  CHECK_THAT(std::string(CheckTopicName("a/b").message()),
             Contains("topic name \"a/b\": byte 0x2f at position 1"));
}

TEST_CASE("docs/configuration.md shows the table in the code", "[broker][config]") {
  std::ifstream file(MILLRACE_SOURCE_DIR "/docs/configuration.md");
  REQUIRE(file.good());
  std::stringstream page;
  page << file.rdbuf();
  for (const ConfigDefinition& row : TopicConfigTable()) {
    const std::string line = fmt::format("| `{}` | {} | `{}` | {} | {} |", row.name, row.type,
                                         row.default_value, RangeText(row), row.documentation);
    INFO(line);
    CHECK(page.str().find(line + "\n") != std::string::npos);
  }
  size_t rows = 0;
  std::string line;
  page.seekg(0);
  while (std::getline(page, line)) rows += line.starts_with("| `") ? 1 : 0;
  CHECK(rows == TopicConfigTable().size());
}

}  // namespace millrace::broker
