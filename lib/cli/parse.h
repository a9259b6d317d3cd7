#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "millrace/producer.h"
#include "millrace/status.h"

// Words of the command line. What does not parse is a usage error that says what would.
namespace millrace::cli {

StatusOr<int64_t> ParseInteger(std::string_view what, std::string_view text);
// "250ms", "90s", "15m", "12h", "7d".
StatusOr<absl::Duration> ParseDuration(std::string_view text);
// "4096", "64k", "64KiB", "1g": powers of 1024.
StatusOr<int64_t> ParseByteCount(std::string_view text);
// "2026-01-31", "2026-01-31T12:00:00Z" (no zone: UTC), "@1769860800000" (milliseconds since 1970),
// or "15m": so long before `now`.
StatusOr<absl::Time> ParseTime(std::string_view text, absl::Time now);
StatusOr<Compression> ParseCompression(std::string_view text);
StatusOr<Acks> ParseAcks(std::string_view text);

// \n \r \t \0 \\ and \xNN.
StatusOr<std::string> Unescape(std::string_view text);
// "k=v" words; the same key twice is an error.
StatusOr<std::map<std::string, std::string>> ParseAssignments(
    const std::vector<std::string>& words);

// Where `consume` begins.
struct StartPoint {
  enum class Kind { kBeginning, kEnd, kOffset, kTail, kTime } kind = Kind::kBeginning;
  int64_t offset = 0;  // kOffset; kTail: how many before the end
  absl::Time time;     // kTime
};
// "beginning", "end", an offset, "-N" (the last N of each partition), or a time (ParseTime).
StatusOr<StartPoint> ParseStartPoint(std::string_view text, absl::Time now);

// "orders" or "orders:0,3".
struct TopicSelection {
  std::string topic;
  std::vector<int32_t> partitions;  // empty: all
};
StatusOr<TopicSelection> ParseTopicSelection(std::string_view text);

}  // namespace millrace::cli
