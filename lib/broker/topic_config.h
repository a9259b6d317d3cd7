#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "log/log_config.h"
#include "millrace/status.h"
#include "record/batch.h"

namespace millrace::broker {

enum class ConfigSource { kTopic, kBrokerDefault, kBuiltIn };
std::string_view Name(ConfigSource source);

struct ConfigEntry {
  std::string name, value, default_value, documentation;
  ConfigSource source = ConfigSource::kBuiltIn;
  std::string type;   // "long", "list"... as Kafka's describe prints
  std::string range;  // "[0, ...]" in words
};

// A topic's configuration, typed. Made from Kafka's names by ParseTopicConfig.
struct TopicConfig {
  log::LogConfig log;
  bool compact = false;                           // [cleanup.policy]
  bool log_append_time = false;                   // [message.timestamp.type]
  int64_t timestamp_before_max_ms = INT64_MAX;    // [message.timestamp.before.max.ms]
  int64_t timestamp_after_max_ms = INT64_MAX;     // [message.timestamp.after.max.ms]
  std::optional<record::Codec> compression;       // [compression.type]; unset: "producer"
  int compression_level = 0;                      // [compression.<codec>.level]
  int64_t flush_messages = 1;                     // [flush.messages]; 1 here, a deviation
  std::optional<absl::Duration> flush_age;        // [flush.ms]
  int32_t min_insync_replicas = 1;                // [min.insync.replicas]
};

// The typed value of `own` over `defaults` over the built-in values. invalid_config lists every problem:
// unknown names (with the nearest known one), values that do not parse, ranges.
StatusOr<TopicConfig> ParseTopicConfig(const std::map<std::string, std::string>& own,
                                       const std::map<std::string, std::string>& defaults);
std::vector<ConfigEntry> DescribeTopicConfig(const std::map<std::string, std::string>& own,
                                             const std::map<std::string, std::string>& defaults);

// OK, or invalid_topic: Kafka's rules (1 to 249 of [a-zA-Z0-9._-], not "." or "..").
Status CheckTopicName(std::string_view name);

}  // namespace millrace::broker
