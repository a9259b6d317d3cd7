#include "client/client_config.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/errors.h"
#include "broker/quoted.h"

namespace millrace::client {
namespace {

using Problem = std::optional<std::string>;  // "wanted ..."
using Parse = Problem (*)(std::string_view value, ClientConfig& out);

std::optional<int64_t> Integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <auto Member>
Problem Milliseconds(std::string_view value, ClientConfig& out) {
  const auto number = Integer(value);
  if (!number || *number < 0 || *number > INT32_MAX)
    return fmt::format("wanted milliseconds, 0 to {}", INT32_MAX);
  out.*Member = absl::Milliseconds(*number);
  return std::nullopt;
}

template <auto Member, int64_t kUnit = 1>
Problem Count(std::string_view value, ClientConfig& out) {
  const auto number = Integer(value);
  if (!number || *number < 1 || *number > INT32_MAX)
    return fmt::format("wanted a number, 1 to {}", INT32_MAX);
  out.*Member = static_cast<size_t>(*number * kUnit);
  return std::nullopt;
}

template <auto Member>
Problem Text(std::string_view value, ClientConfig& out) {
  out.*Member = std::string(value);
  return std::nullopt;
}

Problem Boolean(std::string_view value, std::optional<bool>& out) {
  if (value != "true" && value != "false") return "wanted true or false";
  out = value == "true";
  return std::nullopt;
}

template <typename T>
struct Choice {
  std::string_view name;
  T value;
};

template <typename T>
Problem OneOf(std::string_view value, std::span<const Choice<T>> choices, std::optional<T>& out) {
  std::vector<std::string_view> names;
  for (const Choice<T>& choice : choices) {
    if (choice.name == value) {
      out = choice.value;
      return std::nullopt;
    }
    names.push_back(choice.name);
  }
  return fmt::format("wanted one of {}", fmt::join(names, ", "));
}

constexpr Choice<Acks> kAcks[] = {
    {"all", Acks::kAll}, {"-1", Acks::kAll}, {"1", Acks::kLeader}, {"0", Acks::kNone}};
constexpr Choice<Compression> kCompression[] = {{"none", Compression::kNone},
                                                {"gzip", Compression::kGzip},
                                                {"snappy", Compression::kSnappy},
                                                {"lz4", Compression::kLz4},
                                                {"zstd", Compression::kZstd}};
constexpr Choice<StartFrom> kStartFrom[] = {
    {"earliest", StartFrom::kEarliest},  {"smallest", StartFrom::kEarliest},
    {"beginning", StartFrom::kEarliest}, {"latest", StartFrom::kLatest},
    {"largest", StartFrom::kLatest},     {"end", StartFrom::kLatest},
    {"none", StartFrom::kFail},          {"error", StartFrom::kFail}};
constexpr Choice<Isolation> kIsolation[] = {{"read_committed", Isolation::kReadCommitted},
                                            {"read_uncommitted", Isolation::kReadUncommitted}};

Problem ParseAcks(std::string_view value, ClientConfig& out) {
  return OneOf<Acks>(value, kAcks, out.acks);
}
Problem ParseCompression(std::string_view value, ClientConfig& out) {
  return OneOf<Compression>(value, kCompression, out.compression);
}
Problem ParseIdempotence(std::string_view value, ClientConfig& out) {
  return Boolean(value, out.idempotent);
}
Problem ParseAutoCommit(std::string_view value, ClientConfig& out) {
  std::optional<bool> automatic;
  if (Problem problem = Boolean(value, automatic)) return problem;
  out.commits = *automatic ? Commits::kOnNextPoll : Commits::kManual;
  return std::nullopt;
}

struct Property {
  std::string_view name;
  Parse parse;  // null: of a network client, no effect in process
};

constexpr Property kProperties[] = {
    {"acks", ParseAcks},
    {"request.required.acks", ParseAcks},
    {"auto.offset.reset",
     [](std::string_view value, ClientConfig& out) {
       return OneOf<StartFrom>(value, kStartFrom, out.start_from);
     }},
    {"batch.size", Count<&ClientConfig::batch_bytes>},
    {"bootstrap.servers", nullptr},
    {"broker.address.family", nullptr},
    {"buffer.memory", Count<&ClientConfig::max_buffered_bytes>},
    {"client.dns.lookup", nullptr},
    {"client.id", Text<&ClientConfig::client_id>},
    {"compression.codec", ParseCompression},
    {"compression.type", ParseCompression},
    {"connections.max.idle.ms", nullptr},
    {"delivery.timeout.ms", Milliseconds<&ClientConfig::delivery_timeout>},
    {"enable.auto.commit", ParseAutoCommit},
    {"enable.idempotence", ParseIdempotence},
    {"fetch.max.bytes", Count<&ClientConfig::max_poll_bytes>},
    {"fetch.max.wait.ms", nullptr},
    {"fetch.min.bytes", nullptr},
    {"group.id", Text<&ClientConfig::group>},
    {"group.instance.id", Text<&ClientConfig::group_instance_id>},
    {"group.protocol", nullptr},
    {"group.remote.assignor", Text<&ClientConfig::assignor>},
    {"heartbeat.interval.ms", nullptr},
    {"isolation.level",
     [](std::string_view value, ClientConfig& out) {
       return OneOf<Isolation>(value, kIsolation, out.isolation);
     }},
    {"linger.ms", Milliseconds<&ClientConfig::linger>},
    {"max.block.ms", Milliseconds<&ClientConfig::max_block>},
    {"max.in.flight.requests.per.connection", nullptr},
    {"max.partition.fetch.bytes", nullptr},
    {"max.poll.interval.ms", Milliseconds<&ClientConfig::max_poll_interval>},
    {"max.poll.records", Count<&ClientConfig::max_poll_records>},
    {"message.timeout.ms", Milliseconds<&ClientConfig::delivery_timeout>},
    {"metadata.broker.list", nullptr},
    {"metadata.max.age.ms", nullptr},
    {"queue.buffering.max.kbytes", Count<&ClientConfig::max_buffered_bytes, 1024>},
    {"queue.buffering.max.ms", Milliseconds<&ClientConfig::linger>},
    {"receive.buffer.bytes", nullptr},
    {"reconnect.backoff.max.ms", nullptr},
    {"reconnect.backoff.ms", nullptr},
    {"request.timeout.ms", nullptr},
    {"retries", nullptr},
    {"retry.backoff.max.ms", nullptr},
    {"retry.backoff.ms", nullptr},
    {"sasl.jaas.config", nullptr},
    {"sasl.mechanism", nullptr},
    {"sasl.mechanisms", nullptr},
    {"sasl.password", nullptr},
    {"sasl.username", nullptr},
    {"security.protocol", nullptr},
    {"send.buffer.bytes", nullptr},
    {"session.timeout.ms", nullptr},
    {"socket.timeout.ms", nullptr},
    {"ssl.ca.location", nullptr},
    {"ssl.certificate.location", nullptr},
    {"ssl.key.location", nullptr},
    {"ssl.key.password", nullptr},
    {"ssl.truststore.location", nullptr},
};

// Letters to insert, delete or change to get from one to the other (Levenshtein).
size_t Distance(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t changed = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string_view Nearest(std::string_view name) {
  // No known name is longer; what lies beyond cannot decide, and must not cost.
  name = name.substr(0, 64);
  return std::min_element(std::begin(kProperties), std::end(kProperties),
                          [&](const Property& a, const Property& b) {
                            return Distance(name, a.name) < Distance(name, b.name);
                          })
      ->name;
}

template <typename T>
void Take(const std::optional<T>& from, T& to) {
  if (from.has_value()) to = *from;
}

Status Report(std::string_view what, const std::vector<std::string>& problems) {
  if (problems.empty()) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidConfig, fmt::format("{}: {}", what, fmt::join(problems, "; ")));
}

void CheckBytes(std::vector<std::string>& problems, std::string_view name, size_t value,
                size_t least, size_t most) {
  if (value < least || value > most)
    problems.push_back(fmt::format("{} is {}, wanted {} to {}", name, value, least, most));
}

// Of an enum whose last value is `last`.
template <typename E>
void CheckChoice(std::vector<std::string>& problems, std::string_view name, E value, E last) {
  const auto number = static_cast<int>(value);
  if (number < 0 || number > static_cast<int>(last))
    problems.push_back(fmt::format("{} is {}, which is none of its values", name, number));
}

void CheckNotNegative(std::vector<std::string>& problems, std::string_view name,
                      absl::Duration value) {
  if (value < absl::ZeroDuration())
    problems.push_back(
        fmt::format("{} is {}, wanted zero or more", name, absl::FormatDuration(value)));
}

}  // namespace

void ClientConfig::ApplyTo(ProducerOptions& options) const {
  Take(acks, options.acks);
  Take(idempotent, options.idempotent);
  Take(linger, options.linger);
  Take(batch_bytes, options.batch_bytes);
  Take(max_buffered_bytes, options.max_buffered_bytes);
  Take(max_block, options.max_block);
  Take(delivery_timeout, options.delivery_timeout);
  Take(compression, options.compression);
}

void ClientConfig::ApplyTo(ConsumerOptions& options) const {
  Take(group, options.group);
  Take(group_instance_id, options.group_instance_id);
  Take(assignor, options.assignor);
  Take(commits, options.commits);
  Take(start_from, options.start_from);
  Take(isolation, options.isolation);
  Take(max_poll_records, options.max_poll_records);
  Take(max_poll_bytes, options.max_poll_bytes);
  Take(max_poll_interval, options.max_poll_interval);
}

StatusOr<ParsedConfig> ParseClientConfig(const std::map<std::string, std::string>& properties) {
  ParsedConfig parsed;
  std::vector<std::string> problems;
  for (const auto& [name, value] : properties) {
    const auto* property = std::find_if(std::begin(kProperties), std::end(kProperties),
                                        [&](const Property& p) { return p.name == name; });
    if (property == std::end(kProperties)) {
      parsed.warnings.push_back(
          fmt::format("ClientOptions::config: no property is called {}; the nearest is {}",
                      broker::Quoted(name), Nearest(name)));
      continue;
    }
    if (property->parse == nullptr) continue;
    if (const Problem problem = property->parse(value, parsed.config))
      problems.push_back(fmt::format("{} is {}, {}", name, broker::Quoted(value), *problem));
  }
  if (Status s = Report("ClientOptions::config", problems); !s.ok()) return s;
  return parsed;
}

Status AllProblems(std::initializer_list<Status> found) {
  std::vector<std::string_view> problems;
  for (const Status& status : found) {
    if (status.ok()) continue;
    if (ErrorIdOf(status) != ErrorId::kInvalidConfig) return status;  // no memory for them
    problems.emplace_back(status.message().data(), status.message().size());
  }
  if (problems.empty()) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidConfig, fmt::format("{}", fmt::join(problems, "; ")));
}

Status Validate(const ProducerOptions& options) {
  std::vector<std::string> problems;
  CheckBytes(problems, "batch_bytes", options.batch_bytes, 1, size_t{1} << 30);
  CheckBytes(problems, "max_buffered_bytes", options.max_buffered_bytes, 1024,
             std::numeric_limits<size_t>::max() / 2);
  CheckChoice(problems, "acks", options.acks, Acks::kAll);
  CheckChoice(problems, "compression", options.compression, Compression::kZstd);
  CheckNotNegative(problems, "linger", options.linger);
  CheckNotNegative(problems, "max_block", options.max_block);
  if (options.delivery_timeout <= options.linger)
    problems.push_back(fmt::format("delivery_timeout is {}, wanted more than linger ({})",
                                   absl::FormatDuration(options.delivery_timeout),
                                   absl::FormatDuration(options.linger)));
  return Report("ProducerOptions", problems);
}

Status Validate(const ConsumerOptions& options) {
  std::vector<std::string> problems;
  CheckBytes(problems, "max_poll_records", options.max_poll_records, 1,
             std::numeric_limits<size_t>::max());
  CheckBytes(problems, "max_poll_bytes", options.max_poll_bytes, 1,
             std::numeric_limits<size_t>::max());
  CheckBytes(problems, "max_pinned_bytes", options.max_pinned_bytes, 4096,
             std::numeric_limits<size_t>::max());
  CheckChoice(problems, "commits", options.commits, Commits::kMarked);
  CheckChoice(problems, "start_from", options.start_from, StartFrom::kFail);
  CheckChoice(problems, "isolation", options.isolation, Isolation::kReadCommitted);
  if (options.max_poll_interval <= absl::ZeroDuration())
    problems.push_back(fmt::format("max_poll_interval is {}, wanted more than zero",
                                   absl::FormatDuration(options.max_poll_interval)));
  if (options.group.empty() && !options.topics.empty())
    problems.emplace_back("topics are given but no group; name one, or use Assign");
  if (options.group.empty() && !options.group_instance_id.empty())
    problems.emplace_back("group_instance_id is given but no group");
  if (!options.assignor.empty() && options.assignor != "uniform" && options.assignor != "range")
    problems.push_back(
        fmt::format("assignor is {}, wanted uniform or range", broker::Quoted(options.assignor)));
  return Report("ConsumerOptions", problems);
}

}  // namespace millrace::client
