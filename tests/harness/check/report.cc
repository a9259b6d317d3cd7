#include "harness/check/report.h"

#include <utility>

namespace millrace::check {

constexpr size_t kMaxExamples = 8;

void Report::Add(Anomaly anomaly, std::string text) {
  Found& found = found_[static_cast<size_t>(anomaly)];
  ++found.count;
  if (found.examples.size() < kMaxExamples) found.examples.push_back(std::move(text));
}

uint64_t Report::total() const {
  uint64_t total = 0;
  for (const Found& found : found_) total += found.count;
  return total;
}

std::set<std::string_view> Report::names() const {
  std::set<std::string_view> names;
  for (const AnomalyInfo& info : kAnomalies) {
    if (count(info.anomaly) > 0) names.insert(info.name);
  }
  return names;
}

void Report::Print(std::ostream& out) const {
  for (const AnomalyInfo& info : kAnomalies) {
    const Found& found = found_[static_cast<size_t>(info.anomaly)];
    if (found.count == 0) continue;
    out << info.name << ": " << found.count << " (" << info.what << ")\n";
    for (const std::string& example : found.examples) out << "  " << example << "\n";
    if (found.count > found.examples.size()) out << "  ...\n";
  }
}

}  // namespace millrace::check
