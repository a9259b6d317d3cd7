#include "client/topic_options.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/errors.h"

namespace millrace::client {
namespace {

std::string_view NameOf(CleanupPolicy policy) {
  switch (policy) {
    case CleanupPolicy::kDelete:
      return "delete";
    case CleanupPolicy::kCompact:
      return "compact";
    case CleanupPolicy::kCompactAndDelete:
      return "compact,delete";
  }
  return "delete";
}

}  // namespace

StatusOr<std::map<std::string, std::string>> ConfigOf(const TopicOptions& options) {
  std::map<std::string, std::string> config = options.config;
  std::vector<std::string> twice;
  const auto set = [&](const char* name, std::string value) {
    if (!config.emplace(name, std::move(value)).second) twice.emplace_back(name);
  };
  if (options.cleanup.has_value()) set("cleanup.policy", std::string(NameOf(*options.cleanup)));
  if (options.retention.has_value())
    set("retention.ms", *options.retention == absl::InfiniteDuration()
                            ? "-1"
                            : std::to_string(absl::ToInt64Milliseconds(*options.retention)));
  if (options.retention_bytes.has_value())
    set("retention.bytes", std::to_string(*options.retention_bytes));
  if (options.segment_bytes.has_value())
    set("segment.bytes", std::to_string(*options.segment_bytes));
  if (!twice.empty())
    return MakeError(
        ErrorId::kInvalidConfig,
        fmt::format("TopicOptions say {} twice, in a field and in config", fmt::join(twice, ", ")));
  return config;
}

}  // namespace millrace::client
