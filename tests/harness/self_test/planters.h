#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "harness/check/report.h"
#include "harness/self_test/generator.h"

namespace millrace::check {

// Puts one anomaly, and nothing else, into a clean history.
struct Planter {
  std::string_view what;  // how it does that
  Anomaly anomaly;        // what must be reported, and nothing else
  // False: the history has no place for it.
  bool (*plant)(History& history, uint64_t seed);
};

// At least one for every anomaly.
std::span<const Planter> AllPlanters();

// An operation that takes longer is stuck; none of a clean history does.
inline constexpr int64_t kStuckAfterNs = 1'000'000'000'000;

}  // namespace millrace::check
