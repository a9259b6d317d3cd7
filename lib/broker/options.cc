#include "broker/options.h"

#include <fmt/format.h>

#include "base/errors.h"

namespace millrace::broker {
namespace {

constexpr size_t kMaxPathBytes = 4000;  // of the kernel's 4096: the files' names need the rest
constexpr int kMaxThreads = 64;
constexpr int32_t kMaxPartitions = 100000;

}  // namespace

Status CheckOptions(const Options& options) {
  std::vector<std::string> problems;
  const auto check = [&](bool ok, std::string_view name, auto value, std::string_view allowed) {
    if (!ok) problems.push_back(fmt::format("{}: {}; allowed: {}", name, value, allowed));
  };
  check(options.directory.size() <= kMaxPathBytes, "directory",
        fmt::format("a path of {} bytes", options.directory.size()),
        fmt::format("at most {} bytes", kMaxPathBytes));
  check(options.directory.find('\0') == std::string::npos, "directory", "a path with a zero byte",
        "a path without one");
  check(options.flush_interval > absl::ZeroDuration() &&
            options.flush_interval < absl::InfiniteDuration(),
        "flush_interval", absl::FormatDuration(options.flush_interval), "more than 0, and finite");
  check(options.default_partitions >= 1 && options.default_partitions <= kMaxPartitions,
        "topic_defaults.partitions", options.default_partitions,
        fmt::format("[1, {}]", kMaxPartitions));
  check(options.offsets_partitions >= 1 && options.offsets_partitions <= kMaxPartitions,
        "offsets_partitions", options.offsets_partitions, fmt::format("[1, {}]", kMaxPartitions));
  check(options.max_total_bytes >= 0, "max_total_bytes", options.max_total_bytes,
        "0 (unlimited) and more");
  check(options.background_threads >= 0 && options.background_threads <= kMaxThreads,
        "background_threads", options.background_threads, fmt::format("[0, {}]", kMaxThreads));
  check(!(options.read_only && options.error_if_exists), "read_only", "with error_if_exists",
        "one of them, since only what exists can be read");
  check(!(options.read_only && options.directory.empty()), "read_only", "without a directory",
        "with a directory, since a memory broker is empty when it is opened");
  if (auto defaults = ParseTopicConfig({}, options.topic_defaults); !defaults.ok()) {
    const absl::string_view text = defaults.status().message();
    problems.push_back(
        fmt::format("topic_defaults: {}", std::string_view(text.data(), text.size())));
  }
  if (problems.empty()) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidConfig, fmt::format("{}", fmt::join(problems, "; ")));
}

}  // namespace millrace::broker
