#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "log/log_config.h"
#include "millrace/status.h"
#include "record/batch.h"

namespace millrace::broker {

enum class ConfigSource { kTopic, kBrokerDefault, kBuiltIn };
std::string_view Name(ConfigSource source);  // "topic", "broker default", "built-in"

struct ConfigEntry {
  std::string name, value;
  std::string default_value;  // what the topic goes back to when its own value is removed
  std::string documentation;
  ConfigSource source = ConfigSource::kBuiltIn;
  std::string type;   // "long", "list"... as Kafka's describe prints
  std::string range;  // "[0, 9223372036854775807]", "one of ..."
};

// A topic's configuration, typed. Made from Kafka's names by ParseTopicConfig.
struct TopicConfig {
  log::LogConfig log;
  bool compact = false;                         // [cleanup.policy]
  bool log_append_time = false;                 // [message.timestamp.type]
  int64_t timestamp_before_max_ms = INT64_MAX;  // [message.timestamp.before.max.ms]
  int64_t timestamp_after_max_ms = 3600000;     // [message.timestamp.after.max.ms]
  std::optional<record::Codec> compression;     // [compression.type]; unset: "producer"
  int compression_level = 0;                // [compression.<codec>.level]; 0: the codec's default
  int64_t flush_messages = 1;               // [flush.messages]; 1 here, a deviation
  bool flush_messages_given = false;        // by the topic or the broker's defaults
  std::optional<absl::Duration> flush_age;  // [flush.ms]
  int32_t min_insync_replicas = 1;          // [min.insync.replicas]
};

// One row of the table of topic configs; docs/configuration.md shows the same rows.
struct ConfigDefinition {
  std::string_view name;
  std::string_view type;  // "long", "int", "double", "boolean", "string", "list"
  std::string_view default_value;
  int64_t min = INT64_MIN;  // of a number
  int64_t max = INT64_MAX;
  std::string_view choices = {};  // of a string or list: "compact, delete"
  std::string_view documentation;
};
std::span<const ConfigDefinition> TopicConfigTable();
bool IsTopicConfig(std::string_view name);
// "[0, 100]" or "one of compact, delete", as messages and the page print it.
std::string RangeText(const ConfigDefinition& definition);

using ConfigMap = std::map<std::string, std::string>;

// The typed value of `own` over `defaults` over the built-in values. invalid_config lists every
// problem: unknown names (with the nearest known one), values that do not parse, ranges,
// contradictions.
StatusOr<TopicConfig> ParseTopicConfig(const ConfigMap& own, const ConfigMap& defaults);
std::vector<ConfigEntry> DescribeTopicConfig(const ConfigMap& own, const ConfigMap& defaults);

// OK, or invalid_topic: Kafka's rules (1 to 249 of [a-zA-Z0-9._-], not "." or "..").
Status CheckTopicName(std::string_view name);

}  // namespace millrace::broker
