#include "coordinator/subscription.h"

#include <algorithm>

#include <fmt/format.h>
#include <re2/re2.h>

#include "base/errors.h"

namespace millrace::coordinator {
namespace {

RE2::Options Options() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kPatternBytes);
  return options;
}

}  // namespace

Status CheckPattern(std::string_view group, const std::string& pattern) {
  const RE2 program(pattern, Options());
  if (program.ok()) return absl::OkStatus();
  return MakeError(ErrorId::kInvalidArgument,
                   fmt::format("group \"{}\": the topic pattern \"{}\" is not RE2: {}", group,
                               pattern, program.error()));
}

std::vector<std::string> TopicsMatching(const std::string& pattern, const TopicsView& topics) {
  std::vector<std::string> names;
  const RE2 program(pattern, Options());
  if (!program.ok()) return names;
  topics.ForEach([&](std::string_view name, const TopicsView::Topic&) {
    if (RE2::FullMatch(re2::StringPiece(name.data(), name.size()), program))
      names.emplace_back(name);
  });
  std::ranges::sort(names);
  return names;
}

}  // namespace millrace::coordinator
