#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/group_coordinator.h"

namespace millrace::coordinator {

// OK, or invalid_argument with RE2's words.
Status CheckPattern(std::string_view group, const std::string& pattern);

// The names of the topics that the pattern matches as a whole, sorted. None for a bad pattern. The
// program and its automata take at most kPatternBytes, for as long as the call.
std::vector<std::string> TopicsMatching(const std::string& pattern, const TopicsView& topics);

inline constexpr int64_t kPatternBytes = int64_t{1} << 20;

}  // namespace millrace::coordinator
