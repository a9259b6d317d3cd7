// Configuration from any text: of topics, of clients, and names. What parses means the same when it
// is given back as it is described; what does not is refused in a message of bounded length.
//
// Input: lines. The first byte of a line says whose property it is and how it is named: by a row of
// the table, or by what stands before the line's "=".
#include <algorithm>

#include "broker/metadata_snapshot.h"
#include "broker/topic_config.h"
#include "client/client_config.h"
#include "fuzz/fuzz.h"

namespace millrace::broker {
namespace {

using fuzz::Require;

struct Given {
  ConfigMap own, defaults;
  std::map<std::string, std::string> client;
};

void AddLine(std::string_view line, Given& given) {
  const auto selector = static_cast<uint8_t>(line.front());
  line.remove_prefix(1);
  const auto table = TopicConfigTable();
  const size_t row = selector / 3;
  const bool by_row = row < table.size();
  const size_t equals = by_row ? 0 : std::min(line.find('='), line.size());
  std::string name(by_row ? table[row].name : line.substr(0, equals));
  std::string value(line.substr(by_row ? 0 : std::min(equals + 1, line.size())));
  switch (selector % 3) {
    case 0:
      given.own[name] = value;
      break;
    case 1:
      given.defaults[name] = value;
      break;
    default:
      given.client[by_row ? std::string("linger.ms") : name] = value;
  }
}

Given Parse(std::string_view text) {
  Given given;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!line.empty()) AddLine(line, given);
  }
  return given;
}

bool Same(const TopicConfig& a, const TopicConfig& b) {
  return a.log == b.log && a.compact == b.compact && a.log_append_time == b.log_append_time &&
         a.timestamp_before_max_ms == b.timestamp_before_max_ms &&
         a.timestamp_after_max_ms == b.timestamp_after_max_ms && a.compression == b.compression &&
         a.compression_level == b.compression_level && a.flush_messages == b.flush_messages &&
         a.flush_age == b.flush_age && a.min_insync_replicas == b.min_insync_replicas;
}

void CheckRefusal(const Status& status, size_t properties) {
  // A name and a value are quoted by their beginnings alone.
  Require(status.message().size() <= 200 + properties * 1000);
}

void CheckTopic(const Given& given) {
  const auto config = ParseTopicConfig(given.own, given.defaults);
  const std::vector<ConfigEntry> described = DescribeTopicConfig(given.own, given.defaults);
  Require(described.size() == TopicConfigTable().size());
  if (!config.ok()) return CheckRefusal(config.status(), given.own.size() + given.defaults.size());
  Require(config->log.segment_bytes >= 128 && config->log.index_max_bytes >= 12);
  Require(config->flush_messages >= 1 && config->min_insync_replicas >= 1);
  Require(config->log.segment_age > absl::ZeroDuration());
  ConfigMap all;
  for (const ConfigEntry& entry : described) all[entry.name] = entry.value;
  const auto again = ParseTopicConfig(all, {});
  Require(again.ok() && Same(*config, *again));
}

void CheckClient(const Given& given) {
  const auto parsed = client::ParseClientConfig(given.client);
  if (!parsed.ok()) return CheckRefusal(parsed.status(), given.client.size());
  Require(parsed->warnings.size() <= given.client.size());
  ProducerOptions producer;
  parsed->config.ApplyTo(producer);
  client::Validate(producer).IgnoreError();  // fields that are right alone may not be together
  ConsumerOptions consumer;
  parsed->config.ApplyTo(consumer);
  client::Validate(consumer).IgnoreError();
}

void CheckNames(std::string_view text) {
  const Status topic = CheckTopicName(text);
  if (topic.ok()) {
    Require(!text.empty() && text.size() <= 249 && text.find('/') == std::string_view::npos &&
            text.find('\0') == std::string_view::npos && text != "..");
  } else {
    CheckRefusal(topic, 1);
  }
  if (const auto id = ParseSnapshotFileName(text)) Require(SnapshotFileName(*id) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::Text(fuzz::View(data, size));
  CheckNames(text);
  const Given given = Parse(text);
  CheckTopic(given);
  CheckClient(given);
  return 0;
}

}  // namespace millrace::broker
