#include "cli/parse.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/context.h"

namespace millrace::cli {
namespace {

template <typename T>
std::optional<T> WholeNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct NumberAndUnit {
  int64_t number = 0;
  std::string_view unit;
};
std::optional<NumberAndUnit> Split(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = WholeNumber<int64_t>(text.substr(0, digits));
  if (!number) return std::nullopt;
  return NumberAndUnit{*number, text.substr(digits)};
}

std::optional<absl::Duration> DurationOf(std::string_view text) {
  static constexpr std::pair<std::string_view, int64_t> kUnitsMs[] = {
      {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  const auto parts = Split(text);
  if (!parts) return std::nullopt;
  for (const auto& [unit, ms] : kUnitsMs)
    if (parts->unit == unit) return absl::Milliseconds(ms) * parts->number;
  return std::nullopt;
}

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

}  // namespace

StatusOr<int64_t> ParseInteger(std::string_view what, std::string_view text) {
  if (const auto n = WholeNumber<int64_t>(text)) return *n;
  return UsageError(fmt::format("{}: '{}' is not a whole number", what, text));
}

StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  if (const auto duration = DurationOf(text)) return *duration;
  return UsageError(
      fmt::format("'{}' is not a duration: write a whole number and one of ms, s, m, h, d", text));
}

StatusOr<int64_t> ParseByteCount(std::string_view text) {
  static constexpr std::string_view kUnits = "kmgt";
  const Status wrong = UsageError(fmt::format(
      "'{}' is not a number of bytes: write a whole number, with k, m, g or t behind it "
      "for powers of 1024",
      text));
  const auto parts = Split(text);
  if (!parts) return wrong;
  std::string unit(parts->unit);
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  int shift = 0;
  if (!unit.empty() && unit != "b") {
    const size_t power = kUnits.find(unit[0]);
    if (power == kUnits.npos ||
        (unit.size() > 1 && unit.substr(1) != "ib" && unit.substr(1) != "b"))
      return wrong;
    shift = 10 * (static_cast<int>(power) + 1);
  }
  if (parts->number > (std::numeric_limits<int64_t>::max() >> shift)) return wrong;
  return parts->number << shift;
}

StatusOr<absl::Time> ParseTime(std::string_view text, absl::Time now) {
  if (text.starts_with('@')) {
    if (const auto ms = WholeNumber<int64_t>(text.substr(1))) return absl::FromUnixMillis(*ms);
  } else if (const auto ago = DurationOf(text)) {
    return now - *ago;
  } else {
    absl::Time time;
    std::string error;
    for (const char* format : {absl::RFC3339_full, "%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%d %H:%M:%E*S",
                               "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
      if (absl::ParseTime(format, std::string(text), absl::UTCTimeZone(), &time, &error))
        return time;
    }
  }
  return UsageError(fmt::format(
      "'{}' is not a time: write 2026-01-31, 2026-01-31T12:00:00Z, @MILLISECONDS since 1970, or "
      "15m (ms, s, m, h, d) for so long ago",
      text));
}

StatusOr<Compression> ParseCompression(std::string_view text) {
  static constexpr std::pair<std::string_view, Compression> kNames[] = {
      {"none", Compression::kNone},
      {"gzip", Compression::kGzip},
      {"snappy", Compression::kSnappy},
      {"lz4", Compression::kLz4},
      {"zstd", Compression::kZstd}};
  for (const auto& [name, value] : kNames)
    if (name == text) return value;
  return UsageError(
      fmt::format("'{}' is not a compression: one of none, gzip, snappy, lz4, zstd", text));
}

StatusOr<Acks> ParseAcks(std::string_view text) {
  if (text == "all" || text == "-1") return Acks::kAll;
  if (text == "1" || text == "leader") return Acks::kLeader;
  if (text == "0" || text == "none") return Acks::kNone;
  return UsageError(fmt::format("'{}' is not a number of acks: one of all, 1, 0", text));
}

StatusOr<std::string> Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char c = ++i < text.size() ? text[i] : '\0';
    switch (c) {
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case '0':
        out += '\0';
        break;
      case '\\':
        out += '\\';
        break;
      case 'x': {
        const auto high = i + 2 < text.size() ? HexDigit(text[i + 1]) : std::nullopt;
        const auto low = high ? HexDigit(text[i + 2]) : std::nullopt;
        if (!low) return UsageError(fmt::format("'{}': \\x wants two hexadecimal digits", text));
        out += static_cast<char>(*high * 16 + *low);
        i += 2;
        break;
      }
      default:
        return UsageError(
            fmt::format("'{}': a backslash goes before one of n, r, t, 0, x and itself", text));
    }
  }
  return out;
}

StatusOr<std::map<std::string, std::string>> ParseAssignments(
    const std::vector<std::string>& words) {
  std::map<std::string, std::string> out;
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == word.npos || equals == 0)
      return UsageError(fmt::format("'{}': wants NAME=VALUE", word));
    if (!out.emplace(word.substr(0, equals), word.substr(equals + 1)).second)
      return UsageError(fmt::format("{} is given twice", word.substr(0, equals)));
  }
  return out;
}

StatusOr<StartPoint> ParseStartPoint(std::string_view text, absl::Time now) {
  if (text == "beginning") return StartPoint{};
  if (text == "end") return StartPoint{.kind = StartPoint::Kind::kEnd, .offset = 0, .time = {}};
  if (const auto n = WholeNumber<int64_t>(text)) {
    if (*n == std::numeric_limits<int64_t>::min())
      return UsageError(fmt::format("'{}' is not an offset", text));
    if (*n < 0) return StartPoint{.kind = StartPoint::Kind::kTail, .offset = -*n, .time = {}};
    return StartPoint{.kind = StartPoint::Kind::kOffset, .offset = *n, .time = {}};
  }
  const StatusOr<absl::Time> time = ParseTime(text, now);
  if (time.ok()) return StartPoint{.kind = StartPoint::Kind::kTime, .offset = 0, .time = *time};
  return UsageError(
      fmt::format("'{}' is no place to begin: beginning, end, an offset, -N for the last N of each "
                  "partition, or "
                  "a time (2026-01-31, 2026-01-31T12:00:00Z, @MILLISECONDS, 15m for so long ago)",
                  text));
}

StatusOr<TopicSelection> ParseTopicSelection(std::string_view text) {
  TopicSelection selection;
  const size_t colon = text.find(':');
  selection.topic = text.substr(0, colon);
  if (colon == text.npos) return selection;
  std::string_view rest = text.substr(colon + 1);
  for (;;) {
    const size_t comma = rest.find(',');
    const auto n = WholeNumber<int32_t>(rest.substr(0, comma));
    if (!n || *n < 0)
      return UsageError(fmt::format("'{}': wants TOPIC or TOPIC:PARTITION,PARTITION...", text));
    selection.partitions.push_back(*n);
    if (comma == rest.npos) return selection;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace millrace::cli
