#include "broker/topic_config.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include <fmt/format.h>

#include "base/errors.h"
#include "broker/quoted.h"

namespace millrace::broker {
namespace {

constexpr size_t kMaxTopicNameBytes = 249;
constexpr size_t kMaxComparedBytes = 64;

const ConfigDefinition* FindDefinition(std::string_view name) {
  const auto table = TopicConfigTable();
  const auto found = std::ranges::find(table, name, &ConfigDefinition::name);
  return found == table.end() ? nullptr : &*found;
}

// How many characters must be put in, taken out or exchanged to make one text the other.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view NearestName(std::string_view name) {
  const auto table = TopicConfigTable();
  name = name.substr(0, kMaxComparedBytes);
  return std::ranges::min_element(table, {},
                                  [&](const ConfigDefinition& definition) {
                                    return EditDistance(name, definition.name);
                                  })
      ->name;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> SplitList(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t comma = text.find(',');
    parts.push_back(Trimmed(text.substr(0, comma)));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

template <typename T>
std::errc ParseWhole(std::string_view text, T* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  if (error != std::errc()) return error;
  return end == text.data() + text.size() ? std::errc() : std::errc::invalid_argument;
}

// What is wrong with `value`, or nothing.
std::string Problem(const ConfigDefinition& definition, std::string_view value) {
  if (definition.type == "list" || !definition.choices.empty()) {
    const auto choices = SplitList(definition.choices);
    const bool is_list = definition.type == "list";
    const auto given = is_list ? SplitList(value) : std::vector<std::string_view>{value};
    const bool known = std::ranges::all_of(given, [&](std::string_view part) {
      return std::ranges::find(choices, part) != choices.end();
    });
    return known ? "" : fmt::format("is not {}", RangeText(definition));
  }
  if (definition.type == "double") {
    double number = 0;
    if (ParseWhole(value, &number) != std::errc()) {
      return fmt::format("is not a number; allowed: {}", RangeText(definition));
    }
    const bool inside = number >= static_cast<double>(definition.min) &&
                        number <= static_cast<double>(definition.max);
    return inside ? "" : fmt::format("is outside of {}", RangeText(definition));
  }
  int64_t number = 0;
  const std::errc error = ParseWhole(value, &number);
  if (error == std::errc::invalid_argument) {
    return fmt::format("is not a whole number; allowed: {}", RangeText(definition));
  }
  const bool inside = error == std::errc() && number >= definition.min && number <= definition.max;
  return inside ? "" : fmt::format("is outside of {}", RangeText(definition));
}

void CollectProblems(const ConfigMap& configs, std::string_view origin,
                     std::vector<std::string>* problems) {
  for (const auto& [name, value] : configs) {
    const ConfigDefinition* definition = FindDefinition(name);
    if (definition == nullptr) {
      problems->push_back(fmt::format("{}{}: no such topic config; the nearest is {}", origin,
                                      Quoted(name), NearestName(name)));
      continue;
    }
    if (const std::string problem = Problem(*definition, value); !problem.empty()) {
      problems->push_back(fmt::format("{}{}: {} {}", origin, name, Quoted(value), problem));
    }
  }
}

// The values in force, by name; every one of them is known to parse.
class Values {
 public:
  Values(const ConfigMap& own, const ConfigMap& defaults) : own_(own), defaults_(defaults) {}

  std::string_view Text(std::string_view name) const {
    const std::string key(name);
    if (const auto it = own_.find(key); it != own_.end()) return it->second;
    if (const auto it = defaults_.find(key); it != defaults_.end()) return it->second;
    return FindDefinition(name)->default_value;
  }
  bool Given(const std::string& name) const {
    return own_.contains(name) || defaults_.contains(name);
  }
  int64_t Number(std::string_view name) const {
    int64_t number = 0;
    return ParseWhole(Text(name), &number) == std::errc() ? number : 0;  // all were checked
  }
  int32_t Int(std::string_view name) const { return static_cast<int32_t>(Number(name)); }
  // Unset where Kafka's word for "never" or "unlimited" stands.
  std::optional<int64_t> Unless(std::string_view name, int64_t unlimited) const {
    const int64_t number = Number(name);
    return number == unlimited ? std::nullopt : std::optional(number);
  }

 private:
  const ConfigMap& own_;
  const ConfigMap& defaults_;
};

absl::Duration Milliseconds(int64_t ms) {
  return ms == INT64_MAX ? absl::InfiniteDuration() : absl::Milliseconds(ms);
}

log::LogConfig MakeLogConfig(const Values& values, bool deletes) {
  log::LogConfig config;
  config.segment_bytes = values.Number("segment.bytes");
  config.segment_age = Milliseconds(values.Number("segment.ms"));
  config.index_interval_bytes = values.Int("index.interval.bytes");
  config.index_max_bytes = values.Int("segment.index.bytes");
  config.retention.reset();
  if (const auto ms = values.Unless("retention.ms", -1)) config.retention = Milliseconds(*ms);
  config.retention_bytes = values.Unless("retention.bytes", -1);
  config.delete_by_retention = deletes;
  config.max_message_bytes = static_cast<size_t>(values.Number("max.message.bytes"));
  config.file_delete_delay = Milliseconds(values.Number("file.delete.delay.ms"));
  return config;
}

void SetCompression(const Values& values, TopicConfig* config) {
  const std::string_view type = values.Text("compression.type");
  if (type == "producer") return;
  using enum record::Codec;
  config->compression = kNone;
  if (type == "snappy") config->compression = kSnappy;
  if (type == "gzip") {
    config->compression = kGzip;
    // Zero would be "no compression at all" to gzip and is the codec's default to us, as -1 is.
    config->compression_level = std::max(0, values.Int("compression.gzip.level"));
  }
  if (type == "lz4") {
    config->compression = kLz4;
    config->compression_level = values.Int("compression.lz4.level");
  }
  if (type == "zstd") {
    config->compression = kZstd;
    config->compression_level = values.Int("compression.zstd.level");
  }
}

}  // namespace

std::string_view Name(ConfigSource source) {
  switch (source) {
    case ConfigSource::kTopic:
      return "topic";
    case ConfigSource::kBrokerDefault:
      return "broker default";
    case ConfigSource::kBuiltIn:
      return "built-in";
  }
  return "?";
}

bool IsTopicConfig(std::string_view name) { return FindDefinition(name) != nullptr; }

StatusOr<TopicConfig> ParseTopicConfig(const ConfigMap& own, const ConfigMap& defaults) {
  std::vector<std::string> problems;
  CollectProblems(own, "", &problems);
  CollectProblems(defaults, "broker default ", &problems);
  const Values values(own, defaults);
  if (problems.empty()) {
    const int64_t least = values.Number("min.compaction.lag.ms");
    const int64_t most = values.Number("max.compaction.lag.ms");
    if (least > most) {
      problems.push_back(fmt::format(
          "min.compaction.lag.ms: {} is more than max.compaction.lag.ms, {}", least, most));
    }
  }
  if (!problems.empty()) {
    return MakeError(ErrorId::kInvalidConfig, fmt::format("{}", fmt::join(problems, "; ")));
  }

  TopicConfig config;
  const auto policies = SplitList(values.Text("cleanup.policy"));
  config.compact = std::ranges::find(policies, "compact") != policies.end();
  const bool deletes = std::ranges::find(policies, "delete") != policies.end();
  config.log = MakeLogConfig(values, deletes);
  config.log_append_time = values.Text("message.timestamp.type") == "LogAppendTime";
  config.timestamp_before_max_ms = values.Number("message.timestamp.before.max.ms");
  config.timestamp_after_max_ms = values.Number("message.timestamp.after.max.ms");
  SetCompression(values, &config);
  config.flush_messages = values.Number("flush.messages");
  config.flush_messages_given = values.Given("flush.messages");
  if (const auto ms = values.Unless("flush.ms", INT64_MAX)) config.flush_age = Milliseconds(*ms);
  config.min_insync_replicas = values.Int("min.insync.replicas");
  return config;
}

std::vector<ConfigEntry> DescribeTopicConfig(const ConfigMap& own, const ConfigMap& defaults) {
  std::vector<ConfigEntry> entries;
  for (const ConfigDefinition& definition : TopicConfigTable()) {
    ConfigEntry entry;
    entry.name = definition.name;
    entry.documentation = definition.documentation;
    entry.type = definition.type;
    entry.range = RangeText(definition);
    entry.value = definition.default_value;
    if (const auto it = defaults.find(entry.name); it != defaults.end()) {
      entry.value = it->second;
      entry.source = ConfigSource::kBrokerDefault;
    }
    entry.default_value = entry.value;
    if (const auto it = own.find(entry.name); it != own.end()) {
      entry.value = it->second;
      entry.source = ConfigSource::kTopic;
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

Status CheckTopicName(std::string_view name) {
  const auto refuse = [&](std::string_view why) {
    return MakeError(ErrorId::kInvalidTopic,
                     fmt::format("topic name {}: {}; allowed: 1 to {} of a-z, A-Z, 0-9, '.', '_' "
                                 "and '-', but not \".\" or \"..\"",
                                 Quoted(name), why, kMaxTopicNameBytes));
  };
  if (name.empty()) return refuse("is empty");
  if (name == "." || name == "..") return refuse("names a folder");
  if (name.size() > kMaxTopicNameBytes) return refuse(fmt::format("has {} bytes", name.size()));
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!allowed) {
      return refuse(fmt::format("byte {:#04x} at position {}", static_cast<unsigned char>(c), i));
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace::broker
